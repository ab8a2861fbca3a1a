"""Policies decide what users may do, through boto3: EC2's resource-level rights, its condition keys and its refusals."""

import json
import re
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, StructureShape

from stead_controller.aws import operations
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.authorization.native import native_gate
from stead_controller.aws.authorization.table import RULES
from stead_controller.aws.call import OPERATIONS, Call
from stead_controller.aws.protocol.models import load_service
from stead_controller.catalog import ids
from stead_controller.clock import now
from stead_controller.errors import NotAuthorized, SteadError
from stead_controller.request.caller import Caller
from stead_controller.resources.iam.policies_of_caller import policies_of
from stead_controller.resources.instances import launch_interfaces
from tests.api.identity import document, trust
from tests.api.other_accounts import read_of_other_accounts, statements
from tests.support import rows

ENCODED = "Encoded authorization failure message: "
operations.load()


def statement(action, resource="*", effect="Allow", **condition):
    made = {"Effect": effect, "Action": action, "Resource": resource}
    return made | ({"Condition": condition} if condition else {})


class User:
    """A user of the first tenant, and clients with its key."""

    def __init__(self, api, name="ada"):
        self.api, self.name = api, name
        self.iam = api.client(api.world.one, "iam")
        self.arn = self.iam.create_user(UserName=name)["User"]["Arn"]
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        self.key = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def client(self, service="ec2"):
        return self.api.endpoint.make_client(service, **self.key)

    def caller(self):
        """The user as it is known once its signature was checked."""
        user_id = self.iam.get_user(UserName=self.name)["User"]["UserId"]
        account_id = self.api.world.one.caller.account_id
        return Caller(account_id, self.arn, user_id, "AKIA", "user", None, user_id, self.arn, self.name)

    def may(self, *statements):
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self.iam.put_user_policy(UserName=self.name, PolicyName="p", PolicyDocument=document)


@pytest.fixture
def user(api):
    return User(api)


@pytest.fixture
def ec2(user):
    return user.client()


def refused(call, code="UnauthorizedOperation", **params):
    with pytest.raises(ClientError) as refusal:
        call(**params)
    error = refusal.value.response["Error"]
    assert error["Code"] == code, error
    return error["Message"]


def arn(api, kind, name):
    return f"arn:aws:ec2:us-east-1:{api.world.one.caller.account_id}:{kind}/{name}"


def test_a_refusal_says_who_what_and_why_and_can_be_decoded(api, user, ec2):
    instance_id = api.launch()
    before = api.dump()
    message = refused(ec2.terminate_instances, InstanceIds=[instance_id])
    said, _, encoded = message.partition(ENCODED)
    target = arn(api, "instance", instance_id)
    assert said == (
        f"You are not authorized to perform this operation. User: {user.arn} is not authorized to perform: "
        f"ec2:TerminateInstances on resource: {target} because no identity-based policy allows the "
        "ec2:TerminateInstances action. "
    )
    assert api.dump() == before
    decode = api.client(api.world.one, "sts").decode_authorization_message
    decoded = json.loads(decode(EncodedMessage=encoded)["DecodedMessage"])
    assert (decoded["allowed"], decoded["explicitDeny"]) == (False, False)
    assert decoded["context"]["principal"]["arn"] == user.arn
    assert (decoded["context"]["action"], decoded["context"]["resource"]) == ("ec2:TerminateInstances", target)
    for other, text in (
        (api.client(api.world.other, "sts"), encoded),
        (api.client(api.world.one, "sts"), "x" + encoded),
    ):
        refused(other.decode_authorization_message, "InvalidAuthorizationMessageException", EncodedMessage=text)
    assert "because no identity-based policy allows" in refused(
        user.client("sts").decode_authorization_message, "AccessDenied", EncodedMessage=encoded
    )


def test_an_explicit_deny_is_named(api, user, ec2):
    user.may(
        statement("ec2:*"),
        statement("ec2:Stop*", effect="Deny", StringEquals={"ec2:ResourceTag/Env": "live"}) | {"Sid": "Live"},
    )
    live, idle = api.launch(), api.launch(number=1)
    api.ec2.create_tags(Resources=[live], Tags=[{"Key": "Env", "Value": "live"}])
    ec2.stop_instances(InstanceIds=[idle])
    message = refused(ec2.stop_instances, InstanceIds=[live])
    assert "with an explicit deny in an identity-based policy" in message
    decode = api.client(api.world.one, "sts").decode_authorization_message
    decoded = json.loads(decode(EncodedMessage=message.partition(ENCODED)[2])["DecodedMessage"])
    assert decoded["explicitDeny"]
    assert [one["statementId"] for one in decoded["matchedStatements"]["items"]] == ["Live"]
    assert {"key": "ec2:resourcetag/env", "values": {"items": [{"value": "live"}]}} in decoded["context"]["conditions"][
        "items"
    ]


def test_reading_is_for_all_resources_or_none(user, ec2):
    user.may(statement("ec2:Describe*"))
    assert ec2.describe_instances()["Reservations"] == []
    user.may(statement("ec2:Describe*", "arn:aws:ec2:*:*:instance/*"))
    message = refused(ec2.describe_instances)
    assert "perform: ec2:DescribeInstances because no identity-based policy" in message


def test_a_tag_of_the_resource_decides_and_every_id_of_a_call_counts(api, user, ec2):
    user.may(statement("ec2:RebootInstances", StringEquals={"aws:ResourceTag/Owner": "${aws:username}"}))
    mine, anybodys = api.launch(), api.launch(number=1)
    api.ec2.create_tags(Resources=[mine], Tags=[{"Key": "owner", "Value": "ada"}])
    ec2.reboot_instances(InstanceIds=[mine])
    refused(ec2.reboot_instances, InstanceIds=[mine, anybodys])


def test_a_refusal_shows_nothing_of_another_tenants_resources(api, user, ec2):
    theirs, absent = api.launch(api.world.other), ids.new_id("instance")
    api.other.create_tags(Resources=[theirs], Tags=[{"Key": "Env", "Value": "live"}])
    user.may(
        statement("ec2:StopInstances", StringNotEquals={"aws:ResourceTag/Env": "live"}),
        statement("ec2:TerminateInstances", StringEquals={"aws:ResourceTag/Env": "live"}),
    )
    caller = user.caller()
    for name in ("StopInstances", "TerminateInstances", "CreateTags", "AttachVolume"):
        decoded = []
        for one in (theirs, absent):
            params = {"InstanceIds": [one], "Resources": [one], "InstanceId": one, "VolumeId": "vol-00000000000000000"}
            with statements(api) as ran:
                api.run(authorized, api, caller, OPERATIONS["ec2", name], params)
            assert read_of_other_accounts(api, one, ran) == []
            decoded.append([statement for statement, _ in ran])
        assert decoded[0] == decoded[1], name
        assert decoded[0]
    for call, code in (
        (ec2.stop_instances, "InvalidInstanceID.NotFound"),
        (ec2.terminate_instances, "UnauthorizedOperation"),
    ):
        answers = [
            refused(call, code, InstanceIds=[one]).partition(ENCODED)[0].replace(one, "ID") for one in (theirs, absent)
        ]
        assert answers[0] == answers[1]


def test_a_dry_run_is_refused_before_it_runs(api, user, ec2):
    instance_id = api.launch()
    refused(ec2.stop_instances, InstanceIds=[instance_id], DryRun=True)
    user.may(statement("ec2:StopInstances"))
    refused(ec2.stop_instances, "DryRunOperation", InstanceIds=[instance_id], DryRun=True)


LAUNCH = ["image/*", "subnet/*", "security-group/*", "network-interface/*", "volume/*", "key-pair/*"]


def launch_rights(*more):
    arns = [f"arn:aws:ec2:us-east-1:*:{one}" for one in LAUNCH]
    return [statement("ec2:RunInstances", arns), *more]


def run(ec2, api, **params):
    return ec2.run_instances(ImageId=api.world.image_id, MinCount=1, MaxCount=1, **params)


def test_tenancy_and_market_are_what_an_instance_will_have(api, user, ec2):
    """Another market is asked for in vain: it is refused only when the caller was found to be allowed."""
    instance = "arn:aws:ec2:us-east-1:*:instance/*"
    for will_be, asked in (
        ({"ec2:Tenancy": "dedicated"}, {"Placement": {"Tenancy": "dedicated"}}),
        ({"ec2:InstanceMarketType": "on-demand"}, {"InstanceMarketOptions": {"MarketType": "capacity-block"}}),
    ):
        deny = statement("ec2:RunInstances", instance, "Deny", StringEquals=will_be)
        user.may(*launch_rights(statement("ec2:RunInstances", instance)), deny)
        assert "with an explicit deny" in refused(lambda asked=asked: run(ec2, api, **asked))


def test_a_launch_needs_rights_on_all_that_it_uses_and_makes(api, user, ec2):
    instance = "arn:aws:ec2:us-east-1:*:instance/*"
    user.may(*launch_rights(statement("ec2:RunInstances", instance, StringEquals={"ec2:InstanceType": "t3.micro"})))
    assert len(run(ec2, api, InstanceType="t3.micro")["Instances"]) == 1
    assert "ec2:RunInstances on resource: arn:aws:ec2:us-east-1:" in refused(
        lambda: run(ec2, api, InstanceType="t3.small")
    )
    # The default subnet is one that policies see, though the request does not name it.
    vpc = arn(api, "vpc", api.world.one.vpc_id)
    deny = statement("ec2:RunInstances", "arn:aws:ec2:*:*:subnet/*", "Deny", ArnEquals={"ec2:Vpc": vpc})
    user.may(*launch_rights(statement("ec2:RunInstances", instance)), deny)
    assert f"on resource: {arn(api, 'subnet', '')}" in refused(lambda: run(ec2, api))
    # So are the volumes of the image, which are not encrypted.
    deny = statement("ec2:RunInstances", "arn:aws:ec2:*:*:volume/*", "Deny", Bool={"ec2:Encrypted": "false"})
    user.may(*launch_rights(statement("ec2:RunInstances", instance)), deny)
    assert f"on resource: {arn(api, 'volume', '*')} with an explicit deny" in refused(lambda: run(ec2, api))
    api.ec2.enable_ebs_encryption_by_default()
    assert run(ec2, api)["Instances"]


def test_what_a_launch_uses_is_chosen_once(api, user, ec2):
    """To decide whether a user may, and for the launch itself; root is not asked, and its launch chooses."""
    user.may(statement("ec2:*"))
    with patch.object(launch_interfaces, "plan", wraps=launch_interfaces.plan) as plan:
        for client, times in ((ec2, 1), (api.ec2, 2)):
            assert run(client, api)["Instances"]
            assert plan.call_count == times


def test_what_an_attribute_becomes_decides(api, user, ec2):
    instance_id = api.launch()
    deny = [
        statement("ec2:*", "*", "Deny", StringEquals={"ec2:Add/group": "all"}),
        statement(
            "ec2:*", "*", "Deny", StringNotEquals={"ec2:Add/userId": ["111122223333"]}, Null={"ec2:Add/userId": "false"}
        ),
        statement("ec2:ModifyInstanceAttribute", "*", "Deny", Bool={"ec2:Attribute/DisableApiStop": "false"}),
    ]
    user.may(statement("ec2:*"), *deny)
    snapshot = api.run(own_snapshot, api)
    change = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}
    refused(ec2.modify_snapshot_attribute, **change, CreateVolumePermission={"Add": [{"Group": "all"}]})
    refused(ec2.modify_snapshot_attribute, **change, OperationType="add", GroupNames=["all"])
    refused(ec2.modify_snapshot_attribute, **change, CreateVolumePermission={"Add": [{"UserId": "444455556666"}]})
    ec2.modify_snapshot_attribute(**change, CreateVolumePermission={"Add": [{"UserId": "111122223333"}]})
    ec2.modify_instance_attribute(InstanceId=instance_id, DisableApiStop={"Value": True})
    refused(ec2.modify_instance_attribute, InstanceId=instance_id, DisableApiStop={"Value": False})
    refused(ec2.modify_instance_attribute, InstanceId=instance_id, Attribute="disableApiStop", Value="false")


def test_what_metadata_options_become_decides(api, user, ec2):
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html (work with instance metadata)."""
    instance_id = api.launch()
    tokens = {
        "StringNotEquals": {"ec2:Attribute/HttpTokens": "required"},
        "Null": {"ec2:Attribute/HttpTokens": "false"},
    }
    options, defaults = ec2.modify_instance_metadata_options, ec2.modify_instance_metadata_defaults
    hops = {"NumericGreaterThan": {"ec2:Attribute/HttpPutResponseHopLimit": "3"}}
    actions = ["ec2:ModifyInstanceMetadataOptions", "ec2:ModifyInstanceMetadataDefaults"]
    user.may(statement("ec2:*"), statement(actions, "*", "Deny", **tokens), statement(actions, "*", "Deny", **hops))
    for change in ({"HttpTokens": "optional"}, {"HttpPutResponseHopLimit": 4}):
        refused(options, InstanceId=instance_id, **change)
        refused(defaults, **change)
    options(InstanceId=instance_id, HttpTokens="required", HttpPutResponseHopLimit=3)
    options(InstanceId=instance_id, HttpEndpoint="disabled")
    defaults(HttpTokens="required")


def test_what_metadata_options_a_launch_asks_for_decides(api, user, ec2):
    """The other two of EC2's examples: tokens must be asked for, and three hops are the most."""
    new = "arn:aws:ec2:*:*:instance/*"
    deny = [
        statement("ec2:RunInstances", new, "Deny", StringNotEquals={"ec2:MetadataHttpTokens": "required"}),
        statement("ec2:RunInstances", new, "Deny", NumericGreaterThan={"ec2:MetadataHttpPutResponseHopLimit": "3"}),
    ]
    user.may(statement("ec2:*"), *deny)
    tokens = {"HttpTokens": "required"}
    for options in ({}, {"HttpTokens": "optional"}, {**tokens, "HttpPutResponseHopLimit": 4}):
        refused(lambda params=options: run(ec2, api, MetadataOptions=params))
    [required] = run(ec2, api, MetadataOptions={**tokens, "HttpPutResponseHopLimit": 3})["Instances"]
    [optional] = run(api.ec2, api)["Instances"]
    # Of an instance that is there, they are what it has.
    user.may(statement("ec2:TerminateInstances", new, StringEquals={"ec2:MetadataHttpTokens": "required"}))
    refused(ec2.terminate_instances, InstanceIds=[optional["InstanceId"]])
    ec2.terminate_instances(InstanceIds=[required["InstanceId"]])


def own_snapshot(tx, api):
    """A snapshot of the first tenant."""
    row = rows.snapshot(api.world.one.caller.account_id)
    tx.session.add(row)
    return row.id


def test_a_role_is_passed_only_by_who_may_pass_it(api, user, ec2):
    user.iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust())
    for name in ("web", "empty"):
        user.iam.create_instance_profile(InstanceProfileName=name)
    user.iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")
    role = user.iam.get_role(RoleName="web")["Role"]["Arn"]
    instance_id = api.launch()
    associate = {"InstanceId": instance_id, "IamInstanceProfile": {"Name": "web"}}
    user.may(statement("ec2:*"))
    said = f"perform: iam:PassRole on resource: {role} because"
    assert said in refused(lambda: run(ec2, api, IamInstanceProfile={"Name": "web"}))
    assert said in refused(ec2.associate_iam_instance_profile, **associate)
    for elsewhere in (
        {"StringEquals": {"iam:PassedToService": "dlm.amazonaws.com"}},
        {"ArnLike": {"iam:AssociatedResourceArn": "arn:aws:ec2:*:*:instance/i-none*"}},
    ):
        user.may(statement("ec2:*"), statement("iam:PassRole", role, **elsewhere))
        assert said in refused(ec2.associate_iam_instance_profile, **associate)
    user.may(
        statement("ec2:*"),
        statement("iam:PassRole", role, ArnLike={"iam:AssociatedResourceArn": "arn:aws:ec2:us-east-1:*:instance/*"}),
    )
    assert run(ec2, api, IamInstanceProfile={"Name": "web"})["Instances"]
    user.may(
        statement("ec2:*"), statement("iam:PassRole", role, StringEquals={"iam:PassedToService": "ec2.amazonaws.com"})
    )
    association = ec2.associate_iam_instance_profile(**associate)["IamInstanceProfileAssociation"]
    assert run(ec2, api, IamInstanceProfile={"Name": "web"})["Instances"][0]["IamInstanceProfile"]
    user.may(statement("ec2:*"), statement("iam:AddRoleToInstanceProfile"))
    user_iam = user.client("iam")
    assert said in refused(
        user_iam.add_role_to_instance_profile, "AccessDenied", InstanceProfileName="empty", RoleName="web"
    )
    replace = {"AssociationId": association["AssociationId"], "IamInstanceProfile": {"Name": "web"}}
    assert said in refused(ec2.replace_iam_instance_profile_association, **replace)
    ec2.disassociate_iam_instance_profile(AssociationId=association["AssociationId"])


def test_what_an_instance_is_decides(api, user, ec2):
    instance_id = api.launch()
    user.iam.create_instance_profile(InstanceProfileName="web")
    api.ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": "web"})
    for may, condition in (
        (True, {"ArnLike": {"ec2:InstanceProfile": "arn:aws:iam::*:instance-profile/web"}}),
        (False, {"ArnLike": {"ec2:InstanceProfile": "arn:aws:iam::*:instance-profile/db"}}),
        (True, {"StringEquals": {"ec2:InstanceAutoRecovery": "default", "ec2:InstanceMetadataTags": "disabled"}}),
        (False, {"StringNotEquals": {"ec2:InstanceID": instance_id}}),
    ):
        user.may(statement("ec2:RebootInstances", **condition))
        if may:
            ec2.reboot_instances(InstanceIds=[instance_id])
        else:
            refused(ec2.reboot_instances, InstanceIds=[instance_id])
    other = api.launch(number=1)
    user.may(statement("ec2:RebootInstances", Null={"ec2:InstanceProfile": "true"}))
    ec2.reboot_instances(InstanceIds=[other])
    refused(ec2.reboot_instances, InstanceIds=[other, instance_id])


def test_tags_on_create_need_create_tags(api, user, ec2):
    instance = "arn:aws:ec2:us-east-1:*:instance/*"
    tagged = {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Team", "Value": "a"}]}]}
    may_run = statement("ec2:RunInstances", instance, StringEquals={"aws:RequestTag/Team": "a"})
    user.may(*launch_rights(may_run))
    refused(lambda: run(ec2, api))
    assert "perform: ec2:CreateTags on resource" in refused(lambda: run(ec2, api, **tagged))
    on_create = statement("ec2:CreateTags", instance, StringEquals={"ec2:CreateAction": "RunInstances"})
    only = on_create | {"Condition": on_create["Condition"] | {"ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}}}
    user.may(*launch_rights(may_run, only))
    (made,) = run(ec2, api, **tagged)["Instances"]
    assert made["Tags"] == [{"Key": "Team", "Value": "a"}]
    refused(ec2.create_tags, Resources=[made["InstanceId"]], Tags=[{"Key": "Team", "Value": "b"}])
    tagged["TagSpecifications"][0]["Tags"].append({"Key": "Cost", "Value": "0"})
    refused(lambda: run(ec2, api, **tagged))


def test_what_a_request_names_by_something_else_is_found(api, user, ec2):
    address = api.ec2.allocate_address()
    group_id = api.ec2.create_security_group(GroupName="web", Description="d")["GroupId"]
    denied = [arn(api, "elastic-ip", address["AllocationId"]), arn(api, "security-group", group_id)]
    user.may(statement("ec2:*"), statement("ec2:*", denied, "Deny"))
    refused(ec2.release_address, AllocationId=address["AllocationId"])
    refused(ec2.delete_security_group, GroupName="web")
    refused(ec2.associate_address, PublicIp=address["PublicIp"], InstanceId=api.launch())


def test_groups_boundaries_and_conditions_of_the_request(api, user, ec2):
    iam = user.iam
    iam.create_group(GroupName="readers")
    iam.add_user_to_group(GroupName="readers", UserName="ada")
    refused(ec2.describe_vpcs)
    iam.attach_group_policy(GroupName="readers", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess")
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1
    document = {"Version": "2012-10-17", "Statement": [statement("s3:*")]}
    boundary = iam.create_policy(PolicyName="b", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="ada", PermissionsBoundary=boundary)
    assert "because no permissions boundary allows" in refused(ec2.describe_vpcs)
    iam.delete_user_permissions_boundary(UserName="ada")
    for allowed, condition in (
        (True, {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}),
        (False, {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}),
        (False, {"Bool": {"aws:SecureTransport": "true"}}),
        (True, {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}),
        (
            True,
            {"StringEquals": {"aws:PrincipalArn": user.arn, "ec2:Region": "us-east-1", "aws:PrincipalType": "User"}},
        ),
        (False, {"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        (True, {"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}),
    ):
        iam.detach_group_policy(
            GroupName="readers", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess"
        ) if allowed and "IpAddress" in condition else None
        user.may(statement("ec2:DescribeVpcs", **condition))
        assert ec2.describe_vpcs()["Vpcs"] if allowed else refused(ec2.describe_vpcs), condition
    user.may(statement("ec2:DescribeVpcs", StringEquals={"aws:PrincipalTag/Team": "a"}))
    refused(ec2.describe_vpcs)
    iam.tag_user(UserName="ada", Tags=[{"Key": "Team", "Value": "a"}])
    assert ec2.describe_vpcs()["Vpcs"]


def test_a_federated_session_has_what_both_its_user_and_its_policy_allow(api, user):
    user.may(statement(["ec2:DescribeVpcs", "ec2:DescribeSubnets", "sts:GetFederationToken"]))
    policy = {"Version": "2012-10-17", "Statement": [statement(["ec2:DescribeVpcs", "ec2:DescribeImages"])]}
    sts = user.client("sts")
    session = sts.get_federation_token(Name="fed", Policy=json.dumps(policy))["Credentials"]
    ec2 = api.session(session)
    assert ec2.describe_vpcs()["Vpcs"]
    refused(api.session(session, "iam").list_users, "InvalidClientTokenId")
    refused(api.session(sts.get_session_token()["Credentials"], "iam").list_users, "InvalidClientTokenId")
    assert "because no session policy allows" in refused(ec2.describe_subnets)
    assert "because no identity-based policy allows" in refused(ec2.describe_images)
    assert "no session policy allows" in refused(
        api.session(sts.get_federation_token(Name="fed")["Credentials"]).describe_vpcs
    )


def test_iam_is_guarded_by_path_tag_and_boundary(api, user):
    iam = user.client("iam")
    own = "arn:aws:iam::*:user/${aws:username}"
    user.may(
        statement(["iam:*AccessKey*", "iam:GetUser"], own), statement("iam:CreateUser", "arn:aws:iam::*:user/team/*")
    )
    assert iam.get_user()["User"]["UserName"] == "ada"
    assert len(iam.list_access_keys(UserName="ada")["AccessKeyMetadata"]) == 1
    message = refused(iam.create_user, "AccessDenied", UserName="eve")
    assert re.fullmatch(
        r"User: \S+ is not authorized to perform: iam:CreateUser on resource: \S+:user/eve because .*", message
    )
    iam.create_user(UserName="eve", Path="/team/")
    refused(iam.create_access_key, "AccessDenied", UserName="eve")
    refused(iam.put_user_policy, "AccessDenied", UserName="ada", PolicyName="p", PolicyDocument="{}")


@pytest.mark.parametrize(
    ("operation", "tagging", "params"),
    [
        ("create_user", "TagUser", {"UserName": "x"}),
        ("create_role", "TagRole", {"RoleName": "x", "AssumeRolePolicyDocument": trust()}),
        ("create_instance_profile", "TagInstanceProfile", {"InstanceProfileName": "x"}),
        ("create_policy", "TagPolicy", {"PolicyName": "x", "PolicyDocument": document("ec2:*")}),
        ("create_open_id_connect_provider", "TagOpenIDConnectProvider", {"Url": "https://x.example"}),
        ("create_virtual_mfa_device", "TagMFADevice", {"VirtualMFADeviceName": "x"}),
    ],
)
def test_who_makes_something_with_tags_must_be_allowed_to_tag_it(user, operation, tagging, params):
    """Tags of users and roles are what other policies go by."""
    make = getattr(user.client("iam"), operation)
    user.may(statement("iam:Create*"))
    tags = [{"Key": "team", "Value": "web"}]
    assert f"perform: iam:{tagging} on resource: " in refused(make, "AccessDenied", **params, Tags=tags)
    user.may(statement("iam:Create*"), statement(f"iam:{tagging}", StringEquals={"aws:RequestTag/team": "web"}))
    refused(make, "AccessDenied", **params, Tags=[{"Key": "team", "Value": "db"}])
    make(**params, Tags=tags)


def test_who_renames_needs_the_right_to_the_new_name_too(api, user):
    """Else who may change some users could make one of them what it is not by its name and path."""
    iam = user.client("iam")
    user.may(
        statement(["iam:UpdateUser", "iam:UpdateGroup"], ["arn:aws:iam::*:user/dev/*", "arn:aws:iam::*:group/d-*"])
    )
    user.iam.create_user(UserName="eve", Path="/dev/")
    user.iam.create_group(GroupName="d-one")
    iam.update_user(UserName="eve", NewUserName="bob")
    assert ":user/ops/bob because" in refused(iam.update_user, "AccessDenied", UserName="bob", NewPath="/ops/")
    assert ":user/eve because" in refused(
        iam.update_user, "AccessDenied", UserName="bob", NewUserName="eve", NewPath="/"
    )
    iam.update_user(UserName="bob", NewPath="/dev/x/")
    assert user.iam.get_user(UserName="bob")["User"]["Path"] == "/dev/x/"
    iam.update_group(GroupName="d-one", NewGroupName="d-two")
    assert ":group/admins because" in refused(
        iam.update_group, "AccessDenied", GroupName="d-two", NewGroupName="admins"
    )
    refused(iam.update_user, "AccessDenied", UserName="ada", NewPath="/dev/")


def test_a_tag_does_not_pass_for_one_whose_key_differs_by_case(api, user, ec2):
    user.may(statement("ec2:CreateTags", StringEquals={"aws:RequestTag/team": "web"}))
    instance_id = api.launch()
    good, bad = {"Key": "team", "Value": "web"}, {"Key": "team", "Value": "root"}
    ec2.create_tags(Resources=[instance_id], Tags=[good])
    for tags in ([bad, {"Key": "TEAM", "Value": "web"}], [{"Key": "TEAM", "Value": "web"}, bad]):
        refused(ec2.create_tags, Resources=[instance_id], Tags=tags)
    ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "TEAM", "Value": "root"}, good])


def test_a_right_to_one_resource_shows_no_other(api, user):
    """A wrong path in an ARN, or no name of a user, is no way to what somebody else has."""
    iam = user.client("iam")
    asked = {"ActionNames": ["ec2:RunInstances"]}
    decoy = user.arn.replace("user/", "user/decoy/")
    user.may(statement(["iam:SimulatePrincipalPolicy", "iam:GetContextKeysForPrincipalPolicy"], decoy))
    refused(iam.simulate_principal_policy, "NoSuchEntity", PolicySourceArn=decoy, **asked)
    refused(iam.get_context_keys_for_principal_policy, "NoSuchEntity", PolicySourceArn=decoy)
    refused(iam.simulate_principal_policy, "AccessDenied", PolicySourceArn=user.arn, **asked)
    user.may(statement("iam:GetMFADevice", "arn:aws:iam::*:user/${aws:username}"))
    serial = user.iam.create_virtual_mfa_device(VirtualMFADeviceName="m")["VirtualMFADevice"]["SerialNumber"]
    refused(iam.get_mfa_device, "NoSuchEntity", SerialNumber=serial)
    assert user.iam.get_mfa_device(SerialNumber=serial)["SerialNumber"] == serial


def authorized(tx, api, caller, operation, params):
    """The message with which a call is refused, None when it is allowed."""
    call = Call(caller, tx, api.world.cloud, "r", now(), "127.0.0.1", "")
    try:
        PolicyAuthorizer(policies_of).authorize(call, operation, params)
    except NotAuthorized as refusal:
        return refusal.message
    return None


def sample(shape, depth=0):
    """Something that has the shape of a parameter, with all its members two levels down."""
    if isinstance(shape, StructureShape):
        return {name: sample(member, depth + 1) for name, member in shape.members.items()} if depth < 3 else {}
    if isinstance(shape, ListShape):
        return [sample(shape.member, depth + 1)]
    if isinstance(shape, MapShape):
        return {"a": "b"}
    simple = {"integer": 1, "long": 1, "boolean": False, "timestamp": now(), "blob": b"x", "double": 1.0, "float": 1.0}
    return simple.get(shape.type_name, "a-0123456789abcdef0")


@pytest.mark.parametrize("how", ["nothing", "all members"])
def test_who_has_no_policies_may_call_nothing(api, user, how):
    caller = user.caller()

    def walk(tx):
        allowed, said = [], []
        for service, name in sorted(OPERATIONS):
            shape = load_service(service).operation(name).input_shape
            params = sample(shape) if shape is not None and how != "nothing" else {}
            refusal = authorized(tx, api, caller, OPERATIONS[service, name], params)
            if refusal is None:
                allowed.append((service, name))
            else:
                said.append((RULES[service, name].action or name, refusal))
        return allowed, said

    allowed, said = api.run(walk)
    assert set(allowed) == {key for key, rule in RULES.items() if rule.free and key in OPERATIONS}
    assert [text for name, text in said if user.arn not in text or (name not in text and "PassRole" not in text)] == []


def test_the_native_api_is_no_way_around(api, user):
    gate = native_gate(PolicyAuthorizer(policies_of), api.world.cloud, now)
    caller = user.caller()
    instance_id = api.launch()

    def ask(operation, **params):
        api.run(gate, caller, operation, params, source_ip="192.0.2.1")

    with pytest.raises(NotAuthorized):
        ask("StopInstances", InstanceIds=[instance_id])
    user.may(
        statement("ec2:StopInstances", arn(api, "instance", instance_id), IpAddress={"aws:SourceIp": "192.0.2.0/24"})
    )
    gate = native_gate(PolicyAuthorizer(policies_of), api.world.cloud, now)
    ask("StopInstances", InstanceIds=[instance_id])
    with pytest.raises(NotAuthorized):
        ask("DescribeInstances")
    with pytest.raises(SteadError):
        ask("RunInstances", ImageId=api.world.image_id, MinCount=1, MaxCount=1)


def test_who_imports_from_a_bucket_must_be_allowed_to_read_it(api, user, ec2):
    user.may(statement("ec2:*"))
    disk = {"Format": "RAW", "UserBucket": {"S3Bucket": "mine", "S3Key": "a/disk"}}
    place = {"S3Bucket": "mine", "S3Prefix": "out/"}
    export = {"ImageId": api.world.image_id, "DiskImageFormat": "RAW", "S3ExportLocation": place}
    for call, params in (
        (ec2.import_image, {"DiskContainers": [disk]}),
        (ec2.import_snapshot, {"DiskContainer": disk}),
    ):
        assert "s3:GetObject on resource: arn:aws:s3:::mine/a/disk" in refused(call, **params)
        user.may(statement("ec2:*"), statement("s3:GetObject", "arn:aws:s3:::mine/a/*"))
        refused(call, "InvalidS3Bucket", **params)  # allowed, but not there
        user.may(statement("ec2:*"))
    assert "s3:PutObject on resource: arn:aws:s3:::mine/out/*" in refused(ec2.export_image, **export)
    user.may(statement("ec2:*"), statement("s3:PutObject", "arn:aws:s3:::mine/*"))
    refused(ec2.export_image, "InvalidS3Bucket", **export)
