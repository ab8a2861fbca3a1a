"""What EC2's matrix (`test_tenants.py`) leaves out: ids inside structures, and the other services."""

import hashlib
import itertools
import json
from base64 import b64encode

import pytest
from botocore.model import ListShape, StructureShape

from stead_controller.aws import operations
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol.models import load_service
from stead_controller.catalog import ids
from tests.api.conftest import serving
from tests.api.identity import trust
from tests.api.other_accounts import answer, answered_alike, statements
from tests.api.their_fleet import their_fleet
from tests.support import rows

operations.load()
POLICY = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}})

# IAM's parameters that name something that another account can have too, by the kind of it.
NAMES = {
    "AccessKeyId": "key",
    "GroupName": "group",
    "InstanceProfileName": "instance-profile",
    "OpenIDConnectProviderArn": "oidc-provider",
    "PermissionsBoundary": "policy",
    "PolicyArn": "policy",
    "PolicySourceArn": "user-arn",
    "RoleName": "role",
    "SerialNumber": "mfa",
    "UserName": "user",
}
# What is made under a name of the caller's own, so that another account's is no matter.
MADE = {
    ("CreateGroup", "GroupName"),
    ("CreateInstanceProfile", "InstanceProfileName"),
    ("CreateRole", "RoleName"),
    ("CreateUser", "UserName"),
}
# What is found by its user, who is named besides.
OF_A_USER = {
    ("DeactivateMFADevice", "SerialNumber"),
    ("DeleteAccessKey", "AccessKeyId"),
    ("UpdateAccessKey", "AccessKeyId"),
}
GOOD = {
    "AuthenticationCode1": "123456",
    "AuthenticationCode2": "123457",
    "ActionNames": ["ec2:RunInstances"],
    "AssumeRolePolicyDocument": trust(),
    "ClientID": "x",
    "Password": "Pass-word-1234!",
    "PolicyDocument": POLICY,
    "PolicyName": "own",
    "Status": "Inactive",
    "TagKeys": ["a"],
    "Tags": [{"Key": "a", "Value": "b"}],
    "ThumbprintList": ["a" * 40],
    "VersionId": "v1",
}


def iam_matrix():
    for service, name in sorted(OPERATIONS):
        if service == "iam":
            shape = load_service("iam").operation(name).input_shape
            for member in shape.members if shape is not None else ():
                if member in NAMES and (name, member) not in MADE:
                    yield name, member


@pytest.fixture(scope="module")
def api(tmp_path_factory, api_database):
    """One endpoint for all: a refused call changes nothing, as each test checks."""
    with serving(tmp_path_factory.mktemp("elsewhere"), *api_database) as served:
        yield served


def entities(api, tenant, name):
    """A user with a key, a group, a role, a profile, a policy, a device and an issuer; how parameters name each."""
    iam = api.client(tenant, "iam")
    user = iam.create_user(UserName=name)["User"]
    iam.create_group(GroupName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust())
    iam.create_instance_profile(InstanceProfileName=name)
    url = f"https://issuer.example.com/{name}"
    return {
        "group": name,
        "instance-profile": name,
        "mfa": iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]["SerialNumber"],
        "key": iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"],
        "oidc-provider": iam.create_open_id_connect_provider(Url=url, ClientIDList=["x"])["OpenIDConnectProviderArn"],
        "policy": iam.create_policy(PolicyName=name, PolicyDocument=POLICY)["Policy"]["Arn"],
        "role": name,
        "user": name,
        "user-arn": user["Arn"],
    }


@pytest.fixture(scope="module")
def own(api):
    return entities(api, api.world.one, "own")


@pytest.fixture(scope="module")
def theirs(api):
    return entities(api, api.world.other, "theirs")


def absent_like(name):
    """A name of the same form that nobody has."""
    if name.startswith("AKIA"):
        return "AKIA" + "A" * 16
    return name.replace("theirs", "nobody")


@pytest.mark.parametrize(("operation", "member"), sorted(iam_matrix()))
def test_iam_answers_anothers_name_like_an_absent_one(api, own, theirs, operation, member):
    shape = load_service("iam").operation(operation).input_shape
    needed = {name: own[NAMES[name]] if name in NAMES else GOOD.get(name, "x") for name in shape.required_members}
    if (operation, member) in {("CreateRole", "PermissionsBoundary"), ("CreateUser", "PermissionsBoundary")}:
        needed |= dict.fromkeys(needed.keys() & {"RoleName", "UserName"}, "new")
    if "Password" in shape.members:
        needed["Password"] = GOOD["Password"]
    if (operation, member) in OF_A_USER:
        needed["UserName"] = own["user"]
    value = theirs[NAMES[member]]
    wire = answered_alike(api, "iam", operation, lambda name: needed | {member: name}, (value, absent_like(value)))
    # The simulator takes no ARN of another account at all.
    assert wire.code == ("InvalidInput" if member == "PolicySourceArn" else "NoSuchEntity"), wire


def test_a_role_that_does_not_trust_the_caller_is_not_assumed(api, own, theirs):
    """Another's role that does not trust the caller, and one that is not there, are the same."""
    iam = api.client(api.world.one, "iam")
    iam.put_user_policy(UserName="own", PolicyName="p", PolicyDocument=POLICY.replace("ec2:*", "sts:*"))
    key = iam.create_access_key(UserName="own")["AccessKey"]
    sts = api.long_term(key["AccessKeyId"], key["SecretAccessKey"], "sts")
    account = api.world.other.caller.account_id
    said = []
    for name in ("theirs", "nobody", "theirs", "nobody"):
        with statements(api) as ran, pytest.raises(sts.exceptions.ClientError) as refusal:
            sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/{name}", RoleSessionName="ss")
        error = refusal.value.response["Error"]
        assert error["Code"] == "AccessDenied"
        said.append((error["Message"].replace(name, "X"), [statement for statement, _ in ran]))
    assert said[2] == said[3]  # what the caller may do is remembered by the second time
    assert said[0][0] == said[2][0]


BLOCK = bytes(512 * 1024)
SNAPSHOTS = {
    "CompleteSnapshot": {"ChangedBlocksCount": 1},
    "GetSnapshotBlock": {"BlockIndex": 0, "BlockToken": "t"},
    "ListChangedBlocks": {},
    "ListSnapshotBlocks": {},
    "PutSnapshotBlock": {
        "BlockIndex": 0,
        "BlockData": BLOCK,
        "DataLength": len(BLOCK),
        "Checksum": b64encode(hashlib.sha256(BLOCK).digest()).decode(),
        "ChecksumAlgorithm": "SHA256",
    },
    "StartSnapshot": {"VolumeSize": 1},
}
EBS = [
    (name, member)
    for service, name in sorted(OPERATIONS)
    if service == "ebs"
    for member in load_service("ebs").operation(name).input_shape.members
    if member.endswith("SnapshotId")
]


@pytest.fixture(scope="module")
def snapshots(api):
    """The other tenant's snapshot, one of the caller's own, and an id that nobody has."""

    def add(tx):
        made = [rows.snapshot(tenant.caller.account_id) for tenant in (api.world.other, api.world.one)]
        tx.session.add_all(made)
        return [row.id for row in made]

    return *api.run(add), ids.new_id("snapshot")


@pytest.mark.parametrize(("operation", "member"), EBS)
def test_the_ebs_direct_apis_do_so_too(api, snapshots, operation, member):
    other, mine, absent = snapshots
    params = dict(SNAPSHOTS[operation])
    if operation == "ListChangedBlocks":
        params |= {"FirstSnapshotId": mine, "SecondSnapshotId": mine}
    wire = answered_alike(api, "ebs", operation, lambda name: params | {member: name}, (other, absent))
    assert wire.code == "ResourceNotFoundException", wire


def lifecycle_parameters():
    for service, name in sorted(OPERATIONS):
        members = load_service(service).operation(name).input_shape.members if service == "dlm" else {}
        yield from ((name, member) for member in members if member in ("PolicyId", "PolicyIds", "ResourceArn"))


@pytest.mark.parametrize(("operation", "member"), list(lifecycle_parameters()))
def test_lifecycle_policies_too(api, operation, member):
    dlm = api.client(api.world.other, "dlm")
    known = dlm.get_lifecycle_policies()["Policies"]
    details = {
        "ResourceTypes": ["VOLUME"],
        "TargetTags": [{"Key": "a", "Value": "b"}],
        "Schedules": [
            {"Name": "s", "CreateRule": {"Interval": 12, "IntervalUnit": "HOURS"}, "RetainRule": {"Count": 1}}
        ],
    }
    account = api.world.other.caller.account_id
    policy_id = (
        known[0]["PolicyId"]
        if known
        else dlm.create_lifecycle_policy(
            ExecutionRoleArn=f"arn:aws:iam::{account}:role/r", Description="d", State="ENABLED", PolicyDetails=details
        )["PolicyId"]
    )
    absent = ids.new_id("lifecycle-policy")
    arns = [f"arn:aws:dlm:us-east-1:{account}:policy/{one}" for one in (policy_id, absent)]
    names = tuple(arns) if member == "ResourceArn" else (policy_id, absent)
    params = {"Tags": {"a": "b"}, "TagKeys": ["a"]} if "ag" in operation else {}
    known_members = load_service("dlm").operation(operation).input_shape.members
    params = {name: value for name, value in params.items() if name in known_members}
    listed = isinstance(known_members[member], ListShape)
    wire = answered_alike(api, "dlm", operation, lambda name: params | {member: [name] if listed else name}, names)
    assert wire.code == "ResourceNotFoundException", wire


INGRESS = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1}


def nested(api):
    """Ids inside structures: the operation, the kind, and the request that names one."""
    group = {"GroupId": api.world.one.group_id}
    inside = {
        "security-group": lambda one: {"UserIdGroupPairs": [{"GroupId": one}]},
        "prefix-list": lambda one: {"PrefixListIds": [{"PrefixListId": one}]},
    }
    yield from nested_in_launches(api)
    yield "CreateSnapshots", "instance", lambda one: {"InstanceSpecification": {"InstanceId": one}}
    window = api.ec2.create_instance_event_window(Name="w", CronExpression="* 1-9 * * 2")["InstanceEventWindow"]
    for kind, member in (("instance", "InstanceIds"), ("dedicated-host", "DedicatedHostIds")):
        yield (
            "AssociateInstanceEventWindow",
            kind,
            lambda one, member=member: {
                "InstanceEventWindowId": window["InstanceEventWindowId"],
                "AssociationTarget": {member: [one]},
            },
        )
    device = {"DeviceName": "/dev/sda1"}
    image = {"Name": "image", "RootDeviceName": "/dev/sda1"}
    yield (
        "RegisterImage",
        "snapshot",
        lambda one: image | {"BlockDeviceMappings": [device | {"Ebs": {"SnapshotId": one}}]},
    )
    for way, (kind, peer) in itertools.product(("Ingress", "Egress"), inside.items()):
        yield (
            f"AuthorizeSecurityGroup{way}",
            kind,
            lambda one, peer=peer: group | {"IpPermissions": [INGRESS | peer(one)]},
        )
    rule = INGRESS | {"CidrIpv4": "10.0.0.0/8"}
    yield (
        "ModifySecurityGroupRules",
        "security-group-rule",
        lambda one: group | {"SecurityGroupRules": [{"SecurityGroupRuleId": one, "SecurityGroupRule": rule}]},
    )
    yield (
        "UpdateSecurityGroupRuleDescriptionsIngress",
        "security-group-rule",
        lambda one: group | {"SecurityGroupRuleDescriptions": [{"SecurityGroupRuleId": one, "Description": "d"}]},
    )


def nested_in_launches(api):
    """Ids inside a launch's structures."""
    launch = {"ImageId": api.world.image_id, "InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 1}
    subnet_id = api.world.one.subnet_ids[0]
    members = {
        "subnet": lambda one: {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": one}]},
        "security-group": lambda one: {
            "NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": subnet_id, "Groups": [one]}]
        },
        "network-interface": lambda one: {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": one}]},
        "snapshot": lambda one: {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": one}}]},
        "instance-profile": lambda one: {"IamInstanceProfile": {"Name": one}},
    }
    for kind, member in members.items():
        yield "RunInstances", kind, lambda one, member=member: launch | member(one)
        specification = {"ImageId": api.world.image_id, "InstanceType": "t3.nano"}
        yield (
            "RequestSpotInstances",
            kind,
            lambda one, member=member, said=specification: {"LaunchSpecification": said | member(one)},
        )
    targets = {
        "dedicated-host": lambda one: {"Placement": {"Tenancy": "host", "HostId": one}},
        "placement-group": lambda one: {"Placement": {"GroupId": one}},
        "capacity-reservation": lambda one: {
            "CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": one}}
        },
        "launch-template": lambda one: {"LaunchTemplate": {"LaunchTemplateId": one}},
    }
    for kind, member in targets.items():
        yield "RunInstances", kind, lambda one, member=member: launch | member(one)
    capacity = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}

    def fleet(template_id):
        specification = {"LaunchTemplateId": template_id, "Version": "1"}
        return {
            "Type": "instant",
            "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": specification}],
            "TargetCapacitySpecification": capacity,
        }

    yield "CreateFleet", "launch-template", fleet


def test_ids_inside_structures_are_no_way_in(api, theirs, snapshots):
    api.launch(api.world.other)
    (instance,) = (one for all_of in api.other.describe_instances()["Reservations"] for one in all_of["Instances"])
    rules = api.other.describe_security_group_rules()["SecurityGroupRules"]
    listed = api.other.create_managed_prefix_list(PrefixListName="n", AddressFamily="IPv4", MaxEntries=1)
    other = their_fleet(api) | {
        "instance": instance["InstanceId"],
        "instance-profile": "theirs",
        "network-interface": api.other.create_network_interface(SubnetId=api.world.other.subnet_ids[0])[
            "NetworkInterface"
        ]["NetworkInterfaceId"],
        "prefix-list": listed["PrefixList"]["PrefixListId"],
        "security-group": api.world.other.group_id,
        "security-group-rule": next(rule["SecurityGroupRuleId"] for rule in rules if not rule["IsEgress"]),
        "snapshot": snapshots[0],
        "subnet": api.world.other.subnet_ids[0],
    }
    for operation, kind, request in nested(api):
        absent = "nobody" if kind == "instance-profile" else ids.new_id(kind)
        wire = answered_alike(api, "ec2", operation, request, (other[kind], absent))
        assert wire.code.endswith(("NotFound", ".Unknown")) or kind == "instance-profile", (operation, kind, wire)


def test_what_lists_shows_nothing_of_others(api, own, theirs):
    """Every operation without required parameters, of any service, and not one word of the other tenant."""
    words = [api.world.other.caller.account_id, "theirs", theirs["key"], api.world.other.vpc_id]
    for service, name in sorted(OPERATIONS):
        shape = load_service(service).operation(name).input_shape
        reads = not OPERATIONS[service, name].writes
        if not reads or name == "GetSessionToken" or (isinstance(shape, StructureShape) and shape.required_members):
            continue
        answers = repr(answer(api, service, name, {}))
        assert [word for word in words if word in answers] == [], (service, name)
