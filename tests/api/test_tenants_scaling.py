"""Auto Scaling, CloudWatch, SNS and EC2 Instance Connect answer another tenant's name or id exactly like an absent one.

The matrix is made from botocore's model, as EC2's is (`test_tenants.py`): all members of requests that name something.
"""

from datetime import timedelta

import pytest
from botocore.model import ListShape

from stead_controller.aws import operations
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol.codec import WireError
from stead_controller.aws.protocol.models import load_service
from stead_controller.catalog import ids
from stead_controller.clock import now
from stead_controller.db.tables import LifecycleAction, Subscription
from tests.api import base_requests, cloudwatch_requests, fleet_requests, scaling_requests, sns_requests
from tests.api.conftest import serving
from tests.api.identity import document, trust
from tests.api.other_accounts import answer, read_of_other_accounts, statements, unchanged
from tests.support import rows

operations.load()

# The members that name something, by the kind of it.
NAMES = {
    "ActivityIds": "activity",
    "AlarmName": "alarm",
    "AlarmNames": "alarm",
    "AutoScalingGroupName": "group",
    "AutoScalingGroupNames": "group",
    "ChildrenOfAlarmName": "alarm",
    "DashboardName": "dashboard",
    "DashboardNames": "dashboard",
    "IamInstanceProfile": "instance-profile",
    "ImageId": "image",
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "InstanceRefreshIds": "refresh",
    "KeyName": "key",
    "LaunchConfigurationName": "configuration",
    "LaunchConfigurationNames": "configuration",
    "LifecycleActionToken": "token",
    "ParentsOfAlarmName": "alarm",
    "PlacementGroup": "placement-group",
    "NotificationTargetARN": "topic",
    "ResourceARN": "arn",
    "ResourceArn": "topic",
    "RoleARN": "role",
    "SecurityGroups": "security-group",
    "SubscriptionArn": "subscription",
    "TargetArn": "topic",
    "Token": "subscription token",
    "TopicARN": "topic",
    "TopicArn": "topic",
    "VPCZoneIdentifier": "subnet",
}
# Under a name of the caller's own, so that another account's is no matter.
MADE = {
    ("CreateAutoScalingGroup", "AutoScalingGroupName"),
    ("CreateLaunchConfiguration", "LaunchConfigurationName"),
    ("PutCompositeAlarm", "AlarmName"),
    ("PutDashboard", "DashboardName"),
    ("PutMetricAlarm", "AlarmName"),
}
GOOD = {
    "AlarmRule": "ALARM(own)",
    "InstanceOSUser": "ec2-user",
    "SSHPublicKey": base_requests.SSH_KEY,
    "SerialPort": 0,
    "TagKeys": ["a"],
    "Tags": [{"Key": "a", "Value": "b"}],
}
# Refused as not supported, whatever the names are.
REFUSED = {
    ("CreateAutoScalingGroup", "InstanceId"),
    ("CreateLaunchConfiguration", "InstanceId"),
    ("TerminateInstanceInAutoScalingGroup", "AutoScalingGroupName"),
    ("TerminateInstanceInAutoScalingGroup", "InstanceIds"),
}
# Nothing is looked up of what a configuration names before a group has it.
LATER = {("CreateLaunchConfiguration", name) for name in ("IamInstanceProfile", "ImageId", "KeyName", "SecurityGroups")}
ALONE = {  # what may not stand beside it
    ("CreateAutoScalingGroup", "LaunchConfigurationName"): ("LaunchTemplate",),
    ("CreateAutoScalingGroup", "VPCZoneIdentifier"): ("AvailabilityZones",),
    ("CompleteLifecycleAction", "InstanceId"): ("LifecycleActionToken",),
    ("RecordLifecycleActionHeartbeat", "InstanceId"): ("LifecycleActionToken",),
    ("Publish", "TargetArn"): ("TopicArn",),
}
# Found by their ids, which nobody can guess, before it is seen whose they are.
FOUND_BY_ID = {"instance", "refresh", "subscription", "token", "beside an id"}
BESIDE_AN_ID = dict.fromkeys(
    [("autoscaling", "DeleteNotificationConfiguration", "TopicARN"), ("sns", "ConfirmSubscription", "TopicArn")],
    "beside an id",
)
# How the absent is refused; what lists it lists nothing, and what switches alarms leaves out those that are not there.
ABSENT_CODES = (
    "ValidationError",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "DashboardNotFoundError",
    "InvalidParameter",
    "NotFound",
    "EC2InstanceNotFoundException",
)


def matrix():
    for service, name in sorted(OPERATIONS):
        if service in {"autoscaling", "cloudwatch", "ec2-instance-connect", "sns"}:
            shape = load_service(service).operation(name).input_shape
            for member in shape.members if shape is not None else ():
                if member in NAMES and (name, member) not in MADE | REFUSED | LATER:
                    yield service, name, member


@pytest.fixture(scope="module")
def api(tmp_path_factory, api_database):
    """One endpoint for all: no call of the matrix changes anything."""
    with serving(tmp_path_factory.mktemp("scaling"), *api_database) as served:
        yield served


@pytest.fixture(scope="module")
def own(api):
    return {
        **fleet_requests.build(api),
        **scaling_requests.build(api),
        **cloudwatch_requests.build(api),
        **sns_requests.build(api),
    }


@pytest.fixture(scope="module")
def theirs(api, own):
    """What the other tenant has, by kind: what it can name, by the same name as nothing of the caller's."""
    world, ec2 = api.world.other, api.other
    scaling, watching = api.client(world, "autoscaling"), api.client(world, "cloudwatch")
    data = {"ImageId": api.world.image_id, "InstanceType": "t3.nano"}
    template = {"LaunchTemplateName": "theirs", "Version": "1"}
    made = ec2.create_launch_template(LaunchTemplateName="theirs", LaunchTemplateData=data)["LaunchTemplate"]
    instance_id = api.launch(world, number=75)
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="theirs",
        LaunchTemplate=template,
        MinSize=0,
        MaxSize=3,
        AvailabilityZones=["us-east-1a"],
        Tags=[{"Key": "a", "Value": "b", "PropagateAtLaunch": True}],
    )
    scaling.create_launch_configuration(LaunchConfigurationName="theirs", **data)
    scaling.attach_instances(AutoScalingGroupName="theirs", InstanceIds=[instance_id])
    refresh = scaling.start_instance_refresh(
        AutoScalingGroupName="theirs", DesiredConfiguration={"LaunchTemplate": template}
    )
    [activity] = scaling.describe_scaling_activities()["Activities"]
    watching.put_metric_alarm(**cloudwatch_requests.ALARM | {"AlarmName": "theirs", "Dimensions": []})
    watching.put_dashboard(DashboardName="theirs", DashboardBody=cloudwatch_requests.BODY)
    ec2.create_placement_group(GroupName="theirs", Strategy="cluster")
    ec2.create_key_pair(KeyName="theirs", KeyType="ed25519")
    iam = api.client(world, "iam")
    iam.create_instance_profile(InstanceProfileName="theirs")
    arn = f"arn:aws:cloudwatch:us-east-1:{world.caller.account_id}:alarm:"
    sns = api.client(world, "sns")
    topic = sns.create_topic(Name="theirs")["TopicArn"]
    api.run(subscribed, world, topic)
    trusted = trust({"Service": "autoscaling.amazonaws.com"})
    role = iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    iam.put_role_policy(RoleName="theirs", PolicyName="p", PolicyDocument=document("sns:*"))
    return {
        "activity": (activity["ActivityId"], scaling_requests.TOKEN),
        "arn": (f"{arn}theirs", f"{arn}nobody"),
        "image": (api.run(add_image, world), ids.new_id("image")),
        "instance": (instance_id, ids.new_id("instance")),
        "refresh": (refresh["InstanceRefreshId"], scaling_requests.TOKEN),
        "role": (role, role.replace("theirs", "nobody")),
        "subscription": (f"{topic}:77777777-2222-3333-4444-555555555555", f"{topic}:{scaling_requests.TOKEN}"),
        "subscription token": ("b" * 128, "c" * 128),
        "topic": (topic, topic.replace("theirs", "nobody")),
        "security-group": (world.group_id, ids.new_id("security-group")),
        "subnet": (world.subnet_ids[0], ids.new_id("subnet")),
        "template": (made["LaunchTemplateId"], ids.new_id("launch-template")),
        "token": (api.run(add_action, instance_id), "99999999-2222-3333-4444-555555555555"),
    }


def add_image(tx, tenant):
    image = rows.image(account_id=tenant.caller.account_id, public=False)
    tx.session.add(image)
    return image.id


def subscribed(tx, tenant, topic):
    """A confirmed subscription to a topic."""
    row = Subscription(id="77777777-2222-3333-4444-555555555555", account_id=tenant.caller.account_id, topic="theirs")
    row.protocol, row.endpoint, row.principal, row.token = "https", "https://their.example/", topic, "b" * 128
    row.raw, row.state, row.locked, row.authenticated = False, "confirmed", False, False
    row.token_until = row.created = now()
    row.tries = row.queued = 0
    tx.session.add(row)
    return row


def add_action(tx, instance_id):
    token, at = "88888888-2222-3333-4444-555555555555", now() + timedelta(hours=1)
    given = {"heartbeat": 60, "default_result": "ABANDON", "result": None, "until": at, "latest": at}
    tx.session.add(LifecycleAction(token=token, instance_id=instance_id, hook="theirs", **given))
    return token


def good(api, own, service, operation, member):
    """A good request of the caller's own, without the member."""
    tables = [scaling_requests, cloudwatch_requests, sns_requests]
    shape = load_service(service).operation(operation).input_shape
    values = {name: value for table in tables for name, value in table.VALUES.items()}
    of = {name: value for table in tables for name, value in table.VALUES_OF.items()}
    needed = {name: of.get((operation, name), values.get(name, GOOD.get(name))) for name in shape.required_members}
    for table in tables:
        needed |= table.BASES.get(f"{service}:{operation}", table.BASES.get(operation, {}))
    for name in ALONE.get((operation, member), ()):
        needed.pop(name, None)
    named = own | {"image": api.world.image_id, "own_image": api.world.image_id, "subnet": api.world.one.subnet_ids[0]}
    return base_requests.filled(needed, named)


def answered_alike(api, called, request, kind, names):
    """Check that both are answered alike, by the same work, without a change: by a refusal that names them, or nothing."""
    seen = []
    for name in names:
        with unchanged(api), statements(api) as ran:
            found = answer(api, *called, request(name))
        if kind not in FOUND_BY_ID:
            assert read_of_other_accounts(api, name, ran) == []
        seen.append((repr(found).replace(name, "X"), [statement for statement, _ in ran]))
    assert seen[0] == seen[1]
    if isinstance(found, WireError):
        assert found.code in ABSENT_CODES
        assert "X" in seen[0][0] or called[0] == "sns", found
    else:
        assert not any(found.values())


@pytest.mark.parametrize("asked", list(matrix()), ids="-".join)
def test_anothers_name_is_answered_like_an_absent_one(api, own, theirs, asked):
    service, operation, member = asked
    listed = isinstance(load_service(service).operation(operation).input_shape.members[member], ListShape)
    kind = BESIDE_AN_ID.get(asked, NAMES[member])
    request = good(api, own, service, operation, member)
    names = theirs.get(NAMES[member], ("theirs", "nobody"))
    answered_alike(api, (service, operation), lambda name: request | {member: [name] if listed else name}, kind, names)


def nested():
    """Names inside structures: the operation, what names one, and its kind."""
    for by in ("LaunchTemplateId", "LaunchTemplateName"):
        kind = "template" if by == "LaunchTemplateId" else "template name"

        def template(name, by=by):
            return {by: name, "Version": "1"}

        def mixed(name, template=template):
            return {"MixedInstancesPolicy": {"LaunchTemplate": {"LaunchTemplateSpecification": template(name)}}}

        yield "CreateAutoScalingGroup", kind, lambda name, template=template: {"LaunchTemplate": template(name)}
        yield "UpdateAutoScalingGroup", kind, lambda name, template=template: {"LaunchTemplate": template(name)}
        yield "CreateAutoScalingGroup", kind, mixed
        yield "UpdateAutoScalingGroup", kind, mixed
        for wanted in (mixed, lambda name, template=template: {"LaunchTemplate": template(name)}):
            yield "StartInstanceRefresh", kind, lambda name, wanted=wanted: {"DesiredConfiguration": wanted(name)}
    tag = {"ResourceType": "auto-scaling-group", "Key": "a"}
    for operation in ("CreateOrUpdateTags", "DeleteTags"):
        yield operation, "group", lambda name: {"Tags": [tag | {"ResourceId": name}]}
    yield "PutCompositeAlarm", "alarm", lambda name: {"AlarmRule": f"ALARM({name})"}


def test_names_inside_structures_are_no_way_in(api, own, theirs):
    for operation, kind, member in nested():
        service = "cloudwatch" if operation == "PutCompositeAlarm" else "autoscaling"
        request = good(api, own, service, operation, "")
        if "MixedInstancesPolicy" in member(""):
            request.pop("LaunchTemplate", None)
        names = theirs.get(kind, ("theirs", "nobody"))
        answered_alike(
            api, (service, operation), lambda name, of=request, member=member: of | member(name), kind, names
        )


@pytest.mark.parametrize(("operation", "member"), sorted(LATER))
def test_what_a_configuration_names_is_looked_up_for_a_group(api, own, theirs, operation, member):
    kind, scaling = NAMES[member], api.client(api.world.one, "autoscaling")
    names = theirs.get(kind, ("theirs", "nobody"))
    for number, name in enumerate(names):
        request = good(api, own, "autoscaling", operation, member) | {"LaunchConfigurationName": f"{member}-{number}"}
        scaling.create_launch_configuration(**request | {member: [name] if member == "SecurityGroups" else name})
    said = []
    for number, name in enumerate(names):
        request = good(api, own, "autoscaling", "CreateAutoScalingGroup", "LaunchConfigurationName")
        with unchanged(api):
            wire = answer(
                api,
                "autoscaling",
                "CreateAutoScalingGroup",
                request | {"LaunchConfigurationName": f"{member}-{number}"},
            )
        assert wire.code == "ValidationError"
        said.append(wire.message.replace(name, "X"))
    assert said[0] == said[1]
    assert "X" in said[0]
