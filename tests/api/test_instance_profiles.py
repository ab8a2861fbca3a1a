"""Roles of instances through boto3, and what their hosts are sent of them."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import (
    CloudFact,
    HostResource,
    IamInstanceProfile,
    IamRole,
    Instance,
    InstanceProfileAssociation,
)
from stead_controller.desired.changes import Reader
from stead_controller.desired.messages.role import with_secret
from stead_controller.hosts import reports
from stead_controller.request import session_tokens
from stead_controller.resources.iam import instance_credentials
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.api.identity import trust, who_may
from tests.api.test_instance_attributes import report, sent_revision
from tests.api.test_ipv6_only_subnets import ipv6_blocks, make_ipv6_only
from tests.support import rows

ACCOUNT = "111111111111"
ARN = f"arn:aws:iam::{ACCOUNT}:instance-profile/fleet/Servers"


@pytest.fixture
def profiles(api):
    """Two roles in instance profiles, one profile without a role, and one of the other tenant."""

    def add(tx):
        tx.session.add(CloudFact(name="epoch", value="epoch-1"))
        tx.session.add_all([rows.role(ACCOUNT, "web"), rows.role(ACCOUNT, "batch")])
        tx.session.flush()
        tx.session.add_all(
            [
                rows.instance_profile(ACCOUNT, "Servers", rows.role(ACCOUNT, "web").id),
                rows.instance_profile(ACCOUNT, "Batch", rows.role(ACCOUNT, "batch").id),
                rows.instance_profile(ACCOUNT, "Empty", None),
                rows.instance_profile("222222222222", "Theirs", None),
            ]
        )

    api.run(add)


def launch(api, **params):
    answer = api.ec2.run_instances(
        ImageId=api.world.image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1, **params
    )
    return answer["Instances"][0]


def sent(api, instance_id):
    """The machine as it is sent to its host, with the secret key."""
    sealer = api.world.cloud.sealer

    def read(tx):
        addition = partial(
            with_secret,
            open_session=partial(session_tokens.open_token, sealer),
            mint_twin=partial(instance_credentials.without_token, sealer),
        )
        reader = Reader(tx, _additions=[addition])
        update = reader.everything(tx.session.get_one(Instance, instance_id).host_id)
        return next(one.machine for one in update.message.state.resources if one.id == instance_id)

    return api.run(read)


def as_guest(api, machine, service, *, by_token=True):
    """A client with the credentials that a guest gets, which asks with a token or without."""
    role = machine.metadata.role if by_token else machine.metadata.role.without_token
    return api.session(
        {
            "AccessKeyId": role.access_key_id,
            "SecretAccessKey": role.secret_access_key,
            "SessionToken": role.session_token,
        },
        service,
    )


def test_a_launched_instance_has_its_role(api, profiles):
    shown = launch(api, IamInstanceProfile={"Name": "Servers"})
    instance_id = shown["InstanceId"]
    assert shown["IamInstanceProfile"]["Arn"] == ARN
    machine = sent(api, instance_id)
    role = machine.metadata.role
    assert (role.profile_arn, role.role_name, role.code) == (ARN, "web", "Success")
    assert timedelta(hours=5) < datetime.fromtimestamp(role.expires, UTC) - datetime.now(UTC) <= timedelta(hours=6)
    who = as_guest(api, machine, "sts").get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/web/{instance_id}"
    policies = api.client(api.world.one, "iam")
    policies.attach_role_policy(RoleName="web", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess")
    guest = as_guest(api, machine, "ec2")
    assert guest.describe_instances()["Reservations"]
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        guest.terminate_instances(InstanceIds=[instance_id])


def test_a_policy_knows_the_instance_that_credentials_are_of(api, profiles):
    """Of two instances with the same role one may; nor may who only names a session as the instance does."""
    one, two = (launch(api, IamInstanceProfile={"Name": "Servers"})["InstanceId"] for _ in range(2))
    iam = api.client(api.world.one, "iam")
    arn = f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{one}"
    statement = {"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*"}
    statement["Condition"] = {"ArnEquals": {"ec2:SourceInstanceARN": arn}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="web", PolicyName="one", PolicyDocument=policy)
    assert as_guest(api, sent(api, one), "ec2").describe_vpcs()["Vpcs"]
    both = trust({"AWS": ACCOUNT, "Service": "ec2.amazonaws.com"})
    iam.update_assume_role_policy(RoleName="web", PolicyDocument=both)
    sts = who_may(api, iam, "ada", "sts:AssumeRole")("sts")
    named = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/web", RoleSessionName=one)["Credentials"]
    for client in (as_guest(api, sent(api, two), "ec2"), api.session(named)):
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            client.describe_vpcs()


def test_secret_keys_are_not_stored(api, profiles):
    instance_id = launch(api, IamInstanceProfile={"Arn": ARN})["InstanceId"]
    secret = sent(api, instance_id).metadata.role.secret_access_key
    assert len(secret) == 40
    dumped = repr(api.dump())
    assert secret not in dumped

    def body(tx):
        return next(
            row.body
            for row in tx.session.query(HostResource)
            if row.resource_id == instance_id and row.kind == pb.KIND_MACHINE
        )

    stored = pb.Resource.FromString(api.run(body)).machine.metadata.role
    assert (stored.role_name, stored.secret_access_key) == ("web", "")


def test_policies_know_by_which_imds_credentials_were_given_and_where(api, profiles):
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html (require roles to use IMDSv2 credentials)."""
    first, second = (launch(api, IamInstanceProfile={"Name": "Servers"}) for _ in range(2))
    iam = api.client(api.world.one, "iam")

    def may(**condition):
        statements = [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": condition}]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName="web", PolicyName="p", PolicyDocument=document)

    def allowed(shown, **way):
        try:
            return bool(
                as_guest(api, sent(api, shown["InstanceId"]), "ec2", **way).describe_instances()["Reservations"]
            )
        except ClientError as refusal:
            return refusal.response["Error"]["Code"] != "UnauthorizedOperation"

    may(NumericGreaterThanEquals={"ec2:RoleDelivery": "2.0"})
    assert [allowed(first), allowed(first, by_token=False)] == [True, False]
    may(StringEquals={"aws:Ec2InstanceSourceVpc": first["VpcId"]})
    assert allowed(first)
    may(IpAddress={"aws:Ec2InstanceSourcePrivateIPv4": second["PrivateIpAddress"]})
    assert [allowed(first), allowed(second)] == [False, True]
    native = launch(
        api, IamInstanceProfile={"Name": "Servers"}, SubnetId=make_ipv6_only(api, ipv6_blocks(api)[0])["SubnetId"]
    )
    may(Null={"aws:Ec2InstanceSourcePrivateIPv4": "true"})
    assert [allowed(first), allowed(native)] == [False, True]


def test_a_policy_knows_the_instance_profile_that_an_instance_has(api, profiles):
    servers, batch, none = (
        launch(api, **more)["InstanceId"]
        for more in ({"IamInstanceProfile": {"Name": "Servers"}}, {"IamInstanceProfile": {"Name": "Batch"}}, {})
    )
    iam = api.client(api.world.one, "iam")
    ec2 = who_may(api, iam, "ada", "ec2:TerminateInstances")("ec2")
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"ArnEquals": {"ec2:InstanceProfile": ARN}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    iam.put_user_policy(UserName="ada", PolicyName="q", PolicyDocument=policy)
    api.refused("UnauthorizedOperation", ec2.terminate_instances, InstanceIds=[batch, servers])
    ec2.terminate_instances(InstanceIds=[batch, none])


def test_who_must_show_a_token_has_no_other_credentials(api, profiles):
    profile = {"IamInstanceProfile": {"Name": "Servers"}}
    shown = launch(api, **profile, MetadataOptions={"HttpTokens": "required"})
    assert not sent(api, shown["InstanceId"]).metadata.role.HasField("without_token")
    api.ec2.modify_instance_metadata_options(InstanceId=shown["InstanceId"], HttpTokens="optional")
    machine = sent(api, shown["InstanceId"])
    twin = machine.metadata.role.without_token
    assert twin.access_key_id != machine.metadata.role.access_key_id
    assert twin.secret_access_key not in repr(api.dump())
    who = as_guest(api, machine, "sts", by_token=False).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/web/{shown['InstanceId']}"


def states(api, **asked):
    """The states of associations by instance."""
    every = api.ec2.describe_iam_instance_profile_associations(**asked)["IamInstanceProfileAssociations"]
    return {one["InstanceId"]: one["State"] for one in every}


def test_an_instance_that_ends_is_given_no_profile(api, profiles):
    for number, state in enumerate(("shutting-down", "terminated")):
        instance_id = api.launch(number=number, state=state)
        associate = api.ec2.associate_iam_instance_profile
        profile = {"Name": "Servers"}
        api.refused("IncorrectInstanceState", associate, InstanceId=instance_id, IamInstanceProfile=profile)


def test_association_of_an_instance_that_is_off(api, profiles):
    """Disassociated and associated it may be; EC2 calls no association of it active, so none is replaced."""
    instance_id = api.launch(state="stopped")
    made = api.ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": "Servers"})
    association_id = made["IamInstanceProfileAssociation"]["AssociationId"]
    assert states(api) == {instance_id: "associated"}
    replace = api.ec2.replace_iam_instance_profile_association
    said = api.refused("IncorrectState", replace, AssociationId=association_id, IamInstanceProfile={"Name": "Batch"})
    assert said == f"The association {association_id} is not the active association"
    api.refused("InvalidParameterValue", replace, AssociationId=instance_id, IamInstanceProfile={"Name": "Batch"})
    api.ec2.disassociate_iam_instance_profile(AssociationId=association_id)
    api.ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": "Batch"})
    assert states(api) == {instance_id: "associated"}


def test_association_while_it_runs(api, profiles):
    instance_id = launch(api)["InstanceId"]
    assert not sent(api, instance_id).metadata.HasField("role")
    before = sent_revision(api, instance_id)
    made = api.ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": "Servers"})
    made = made["IamInstanceProfileAssociation"]
    assert (made["State"], made["IamInstanceProfile"]["Arn"], made["InstanceId"]) == ("associating", ARN, instance_id)
    report(api, instance_id, before)  # of what it was sent before
    assert states(api) == {instance_id: "associating"}
    report(api, instance_id)
    assert states(api) == {instance_id: "associated"}
    assert sent(api, instance_id).metadata.role.role_name == "web"
    api.refused(
        "IncorrectState",
        api.ec2.associate_iam_instance_profile,
        InstanceId=instance_id,
        IamInstanceProfile={"Name": "Batch"},
    )
    before = sent(api, instance_id).metadata.role
    other = api.ec2.replace_iam_instance_profile_association(
        AssociationId=made["AssociationId"], IamInstanceProfile={"Name": "Batch"}
    )["IamInstanceProfileAssociation"]
    assert other["AssociationId"] != made["AssociationId"]
    assert sent(api, instance_id).metadata.role.role_name == "batch"
    assert sent(api, instance_id).metadata.role.access_key_id != before.access_key_id
    ended = api.ec2.disassociate_iam_instance_profile(AssociationId=other["AssociationId"])
    assert ended["IamInstanceProfileAssociation"]["State"] == "disassociating"
    assert not sent(api, instance_id).metadata.HasField("role")
    assert api.ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"] == []
    api.refused(
        "InvalidAssociationID.NotFound",
        api.ec2.disassociate_iam_instance_profile,
        AssociationId=other["AssociationId"],
    )


def test_they_are_described_and_filtered(api, profiles):
    web, batch = (launch(api, IamInstanceProfile={"Name": name})["InstanceId"] for name in ("Servers", "Batch"))
    launch(api)
    describe = api.ec2.describe_iam_instance_profile_associations
    assert states(api) == {web: "associating", batch: "associating"}
    report(api, web)
    assert states(api) == {web: "associated", batch: "associating"}
    for state, instance_id in (("associated", web), ("associating", batch)):
        assert states(api, Filters=[{"Name": "state", "Values": [state]}]) == {instance_id: state}
    asked = [{"Name": "instance-id", "Values": [web]}]
    [one] = describe(Filters=asked)["IamInstanceProfileAssociations"]
    assert one["IamInstanceProfile"]["Arn"] == ARN
    assert describe(AssociationIds=[one["AssociationId"]])["IamInstanceProfileAssociations"] == [one]
    page = describe(MaxResults=5)
    assert "NextToken" not in page
    profile_id = one["IamInstanceProfile"]["Id"]
    for name, value in (("arn", ARN), ("id", profile_id), ("name", "Servers")):
        found = api.ec2.describe_instances(Filters=[{"Name": f"iam-instance-profile.{name}", "Values": [value]}])
        assert [each["Instances"][0]["InstanceId"] for each in found["Reservations"]] == [web]
        assert found["Reservations"][0]["Instances"][0]["IamInstanceProfile"] == {"Arn": ARN, "Id": profile_id}


@pytest.mark.parametrize(
    ("code", "profile"),
    [
        ("InvalidParameterValue", {"Name": "Nobody"}),
        ("InvalidParameterValue", {"Name": "servers"}),
        ("InvalidParameterValue", {"Name": "Theirs"}),
        ("InvalidParameterValue", {"Arn": ARN.replace("/fleet", "")}),
        ("InvalidParameterValue", {"Arn": "arn:aws:iam::222222222222:instance-profile/fleet/Theirs"}),
        ("InvalidParameterCombination", {"Name": "Servers", "Arn": ARN}),
    ],
)
def test_bad_profiles(api, profiles, code, profile):
    running = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    api.refused(code, api.ec2.run_instances, **running, IamInstanceProfile=profile)
    instance_id = api.launch()
    api.refused(code, api.ec2.associate_iam_instance_profile, InstanceId=instance_id, IamInstanceProfile=profile)


def test_an_instance_that_is_off_has_no_credentials(api, profiles):
    instance_id = launch(api, IamInstanceProfile={"Name": "Servers"})["InstanceId"]
    first = sent(api, instance_id).metadata.role.access_key_id
    api.set_running(instance_id)
    api.ec2.stop_instances(InstanceIds=[instance_id])
    assert not sent(api, instance_id).metadata.HasField("role")
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "stopped"))
    api.ec2.start_instances(InstanceIds=[instance_id])
    again = sent(api, instance_id).metadata.role.access_key_id
    assert again not in ("", first)


def renew(api, now):
    api.run(lambda tx: instance_credentials.renew_due(tx, api.world.cloud, now, 100))


def due(api, now):
    return api.run(lambda tx: instance_credentials.DUE.is_met(tx, now))


def test_credentials_are_made_anew_long_before_they_end(api, profiles):
    instance_id = launch(api, IamInstanceProfile={"Name": "Servers"})["InstanceId"]
    first = sent(api, instance_id).metadata.role
    now = datetime.now(UTC)
    assert not due(api, now + timedelta(hours=2, minutes=40))
    later = now + timedelta(hours=3)
    assert due(api, later)
    renew(api, later)
    assert not due(api, later)
    second = sent(api, instance_id).metadata.role
    assert second.expires - first.expires >= 10_000
    assert second.access_key_id != first.access_key_id
    assert as_guest(api, sent(api, instance_id), "sts").get_caller_identity()


def test_a_stopped_instance_is_due_no_more(api, profiles):
    instance_id = launch(api, IamInstanceProfile={"Name": "Servers"})["InstanceId"]
    api.set_running(instance_id)
    api.ec2.stop_instances(InstanceIds=[instance_id])
    later = datetime.now(UTC) + timedelta(hours=3)
    renew(api, later)
    assert not due(api, later + timedelta(days=1))
    stored = api.run(lambda tx: tx.session.query(InstanceProfileAssociation).one())
    assert (stored.role_name, stored.access_key_id, stored.session_token, stored.expires) == ("", "", "", None)
    api.run(lambda tx: instance_credentials.profile_changed(tx, stored.profile_id))
    assert not due(api, later + timedelta(days=1))


def test_hosts_are_sent_changes_of_the_role(api, profiles):
    instance_id = launch(api, IamInstanceProfile={"Name": "Servers"})["InstanceId"]
    now = datetime.now(UTC)

    def change(change):
        api.run(change)
        assert due(api, now)
        renew(api, now)
        return sent(api, instance_id).metadata.role

    def distrust(tx):
        role = tx.session.query(IamRole).filter_by(name="web").one()
        role.trust_policy = rows.trust({"Service": "lambda.amazonaws.com"})
        instance_credentials.role_changed(tx, role.id)

    role = change(distrust)
    assert (role.code, role.role_name, role.access_key_id) == ("AssumeRoleUnauthorizedAccess", "web", "")

    def take_out(tx):
        profile = tx.session.query(IamInstanceProfile).filter_by(name="Servers").one()
        profile.role_id = None
        instance_credentials.profile_changed(tx, profile.id)

    role = change(take_out)
    assert (role.code, role.role_name) == ("Success", "")

    def delete(tx):
        profile = tx.session.query(IamInstanceProfile).filter_by(name="Servers").one()
        instance_credentials.profile_changed(tx, profile.id)
        tx.session.delete(profile)

    role = change(delete)
    assert (role.code, role.role_name, role.profile_arn) == ("InstanceProfileNotFound", "", ARN)


def test_sessions_of_a_role_are_revoked(api, profiles):
    machine = sent(api, launch(api, IamInstanceProfile={"Name": "Servers"})["InstanceId"])

    def revoke(tx):
        role = tx.session.query(IamRole).filter_by(name="web").one()
        role.sessions_revoked_before = datetime.now(UTC) + timedelta(seconds=1)

    api.run(revoke)
    with pytest.raises(ClientError) as refusal:
        as_guest(api, machine, "sts").get_caller_identity()
    assert refusal.value.response["Error"]["Code"] == "InvalidClientTokenId"


def test_another_tenants_association_is_absent(api, profiles):
    launch(api, IamInstanceProfile={"Name": "Servers"})
    association_id = api.run(lambda tx: tx.session.query(InstanceProfileAssociation).one().id)
    absent = f"iip-assoc-0{'0' * 16}"
    texts = {
        api.refused(
            "InvalidAssociationID.NotFound", api.other.disassociate_iam_instance_profile, AssociationId=one
        ).replace(one, "ID")
        for one in (association_id, absent)
    }
    assert len(texts) == 1
    assert api.other.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"] == []


def test_a_terminated_instance_has_none(api, profiles):
    instance_id = launch(api, IamInstanceProfile={"Name": "Servers"})["InstanceId"]
    api.ec2.terminate_instances(InstanceIds=[instance_id])
    gone = host_pb2.ResourceStatus(kind=pb.KIND_MACHINE, id=instance_id, condition=host_pb2.CONDITION_ABSENT)
    api.run(reports.apply_progress, [(api.world.host_id, [gone])], rows.NOW)
    assert api.run(lambda tx: tx.session.query(InstanceProfileAssociation).count()) == 0
    [found] = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    assert found["Instances"][0]["State"]["Name"] == "terminated"
    assert "IamInstanceProfile" not in found["Instances"][0]
    assert api.ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"] == []
