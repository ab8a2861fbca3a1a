"""Lifecycle hooks that publish to topics: what is told of each way that an instance goes, and with which role."""

import asyncio
import json

import pytest

from tests.api.identity import document, refused, trust, who_may
from tests.support.receivers import subscribe
from tests.support.scaling import NAME, Groups

ACCOUNT = "111111111111"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:hooks"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/tells"
UP, DOWN = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"


TRUST = trust({"Service": "autoscaling.amazonaws.com"})


def publishes(effect="Allow", topic=TOPIC):
    return document("sns:Publish", effect=effect, resource=topic)


@pytest.fixture
def iam(api):
    """IAM with the role that publishes to the topic."""
    client = api.client(api.world.one, "iam")
    client.create_role(RoleName="tells", AssumeRolePolicyDocument=TRUST)
    client.put_role_policy(RoleName="tells", PolicyName="p", PolicyDocument=publishes())
    return client


@pytest.fixture
def groups(api, iam):
    api.client(api.world.one, "sns").create_topic(Name="hooks")
    made = Groups(api)
    made.create()
    return made


@pytest.fixture
def came(api, groups, sending, receiver):
    """What tells the subjects and the texts that arrived by now, which is later than all that groups did."""
    subscribe(api.client(api.world.one, "sns"), sending, receiver, TOPIC)

    def told():
        asyncio.run(sending.run(120))
        fields = [one.fields for one in receiver.arrived if one.fields["Type"] == "Notification"]
        receiver.arrived.clear()
        return [(one["Subject"], json.loads(one["Message"])) for one in fields]

    return told


def put(groups, name, transition, **changes):
    asked = {"LifecycleHookName": name, "LifecycleTransition": transition, "HeartbeatTimeout": 7200}
    groups.call(groups.client.put_lifecycle_hook, **asked | {"NotificationTargetARN": TOPIC, "RoleARN": ROLE} | changes)


def complete(groups, told):
    groups.call(
        groups.client.complete_lifecycle_action,
        LifecycleHookName=told["LifecycleHookName"],
        LifecycleActionToken=told["LifecycleActionToken"],
        LifecycleActionResult="CONTINUE",
    )
    groups.run()


def ways(found):
    return [(told["LifecycleTransition"], told["Origin"], told["Destination"]) for _, told in found]


def test_a_hook_is_tested_and_tells_of_launches_and_ends(groups, came):
    put(groups, "up", UP, NotificationMetadata="of the launch")
    [(subject, told)] = came()
    assert subject == f'Auto Scaling: test notification for group "{NAME}"'
    assert told["Event"] == "autoscaling:TEST_NOTIFICATION"
    assert told["AutoScalingGroupARN"] == groups.shown()["AutoScalingGroupARN"]
    put(groups, "down", DOWN)
    put(groups, "quiet", UP, NotificationTargetARN="")
    came()
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    assert groups.up() == []
    [one] = groups.states()
    [(subject, told)] = came()
    assert subject == f"Auto Scaling:  Lifecycle action 'LAUNCHING' for instance {one} in progress."
    [quiet, token] = [told["LifecycleActionToken"], told.pop("LifecycleActionToken")]
    assert quiet == token
    assert told.pop("Time").endswith("Z")
    assert told.pop("RequestId")
    assert told == {
        "Origin": "EC2",
        "Destination": "AutoScalingGroup",
        "Service": "AWS Auto Scaling",
        "AccountId": ACCOUNT,
        "AutoScalingGroupName": NAME,
        "LifecycleHookName": "up",
        "LifecycleTransition": UP,
        "EC2InstanceId": one,
        "NotificationMetadata": "of the launch",
    }
    complete(groups, told | {"LifecycleActionToken": token})
    done = {"LifecycleHookName": "quiet", "InstanceId": one, "LifecycleActionResult": "CONTINUE"}
    groups.call(groups.client.complete_lifecycle_action, **done)
    groups.run()
    assert groups.states() == {one: "InService"}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    [(subject, told)] = came()
    assert subject == f"Auto Scaling:  Lifecycle action 'TERMINATING' for instance {one} in progress."
    assert (told["LifecycleHookName"], "NotificationMetadata" in told) == ("down", False)
    assert ways([(subject, told)]) == [(DOWN, "AutoScalingGroup", "EC2")]
    complete(groups, told)
    assert groups.states() == {one: "Terminating"}


def test_an_instance_that_a_user_ends_is_told_of(groups, came):
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    [one] = groups.up()
    put(groups, "down", DOWN)
    came()
    groups.client.terminate_instance_in_auto_scaling_group(InstanceId=one, ShouldDecrementDesiredCapacity=True)
    assert ways(came()) == [(DOWN, "AutoScalingGroup", "EC2")]


def test_the_ways_through_a_warm_pool_are_told_apart(groups, came):
    groups.call(groups.client.put_warm_pool, MaxGroupPreparedCapacity=1, InstanceReusePolicy={"ReuseOnScaleIn": True})
    put(groups, "up", UP)
    put(groups, "down", DOWN)
    came()
    groups.run()
    [one] = groups.warm()
    groups.become("running", one)
    seen = came()
    complete(groups, seen[0][1])
    groups.become("stopped", one)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    groups.become("running", one)
    seen += came()
    complete(groups, seen[1][1])
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    seen += came()
    complete(groups, seen[2][1])
    groups.become("stopped", one)
    groups.call(groups.client.put_warm_pool, MaxGroupPreparedCapacity=0)
    groups.run()
    seen += came()
    assert ways(seen) == [
        (UP, "EC2", "WarmPool"),
        (UP, "WarmPool", "AutoScalingGroup"),
        (DOWN, "AutoScalingGroup", "WarmPool"),
        (DOWN, "WarmPool", "EC2"),
    ]


def test_what_returns_from_standby_is_launched_again(groups, came):
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    [one] = groups.up()
    put(groups, "up", UP)
    came()
    groups.call(groups.client.enter_standby, InstanceIds=[one], ShouldDecrementDesiredCapacity=True)
    groups.call(groups.client.exit_standby, InstanceIds=[one])
    groups.run()
    assert ways(came()) == [(UP, "EC2", "AutoScalingGroup")]


def test_a_hook_is_shown_changed_and_made_with_its_group(groups, came):
    hook = {"LifecycleHookName": "up", "LifecycleTransition": UP, "NotificationTargetARN": TOPIC, "RoleARN": ROLE}
    groups.create(AutoScalingGroupName="other", LifecycleHookSpecificationList=[hook])
    assert [told["AutoScalingGroupName"] for _, told in came()] == ["other"]
    named = {"AutoScalingGroupName": "other", "LifecycleHookName": "up"}

    def shown():
        [found] = groups.client.describe_lifecycle_hooks(AutoScalingGroupName="other")["LifecycleHooks"]
        return found.get("NotificationTargetARN"), found.get("RoleARN")

    change = groups.client.put_lifecycle_hook
    change(**named, HeartbeatTimeout=60)
    assert came() == []  # nothing that concerns the topic was changed
    assert shown() == (TOPIC, ROLE)
    change(**named, RoleARN=ROLE)
    change(**named, NotificationTargetARN=TOPIC)
    assert len(came()) == 2
    change(**named, NotificationTargetARN="")
    assert shown() == (None, None)
    assert came() == []


def test_what_cannot_be_published_to_is_refused(api, groups, iam):
    asked = {"AutoScalingGroupName": NAME, "LifecycleHookName": "up", "LifecycleTransition": UP}
    change = groups.client.put_lifecycle_hook
    good = {"NotificationTargetARN": TOPIC, "RoleARN": ROLE}

    def told(**target):
        return api.refused("ValidationError", change, **asked, **target)

    assert "RoleARN" in told(NotificationTargetARN=TOPIC)
    assert "NotificationTargetARN" in told(RoleARN=ROLE)
    unable = f"Unable to publish test message to notification target {TOPIC}x using IAM role {ROLE}. Please check"
    assert told(**good | {"NotificationTargetARN": TOPIC + "x"}).startswith(unable)
    iam.put_role_policy(RoleName="tells", PolicyName="p", PolicyDocument=publishes(topic="*"))
    for target in (TOPIC.replace("sns", "sqs"), TOPIC.replace("1" * 12, "2" * 12)):
        assert "Unable" in told(**good | {"NotificationTargetARN": target})
    assert "is invalid" in told(**good | {"RoleARN": ROLE.replace("role", "user")})
    assert "Unable" in told(**good | {"RoleARN": "tells"})
    assert "Unable" in told(**good | {"RoleARN": ROLE + "x"})
    their = api.client(api.world.other, "iam")
    their.create_role(RoleName="tells", AssumeRolePolicyDocument=TRUST)
    their.put_role_policy(RoleName="tells", PolicyName="p", PolicyDocument=publishes())
    assert "Unable" in told(**good | {"RoleARN": their.get_role(RoleName="tells")["Role"]["Arn"]})
    iam.update_assume_role_policy(RoleName="tells", PolicyDocument=trust())
    assert "Unable" in told(**good)
    iam.update_assume_role_policy(RoleName="tells", PolicyDocument=TRUST)
    iam.put_role_policy(RoleName="tells", PolicyName="p", PolicyDocument=publishes(topic=TOPIC + "x"))
    assert "Unable" in told(**good)
    iam.put_role_policy(RoleName="tells", PolicyName="p", PolicyDocument=publishes())
    iam.put_role_permissions_boundary(RoleName="tells", PermissionsBoundary="arn:aws:iam::aws:policy/AWSDenyAll")
    assert "Unable" in told(**good)
    iam.delete_role_permissions_boundary(RoleName="tells")
    change(**asked, **good)


def test_a_role_or_a_topic_that_is_gone_holds_nothing_up(api, groups, iam, came):
    put(groups, "up", UP)
    came()
    iam.put_role_policy(RoleName="tells", PolicyName="q", PolicyDocument=publishes("Deny"))
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.up()
    assert list(groups.states().values()) == ["Pending:Wait"]
    assert came() == []
    iam.delete_role_policy(RoleName="tells", PolicyName="q")
    api.client(api.world.one, "sns").delete_topic(TopicArn=TOPIC)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=2)
    groups.up()
    assert list(groups.states().values()) == ["Pending:Wait"] * 2
    assert came() == []


def test_who_puts_such_a_hook_needs_the_right_to_pass_its_role(api, groups, iam):
    client = who_may(api, iam, "scaler", "autoscaling:*", "ec2:RunInstances")("autoscaling")
    hook = {"LifecycleHookName": "up", "LifecycleTransition": UP, "NotificationTargetARN": TOPIC, "RoleARN": ROLE}
    named = {"AutoScalingGroupName": NAME}
    assert "iam:PassRole" in refused("AccessDenied", client.put_lifecycle_hook, **named, **hook)
    groups.client = client
    made = {"AutoScalingGroupName": "other", "LifecycleHookSpecificationList": [hook]}
    with pytest.raises(client.exceptions.ClientError, match="iam:PassRole"):
        groups.create(**made)
    passed = document("autoscaling:*", "ec2:RunInstances", "iam:PassRole")
    iam.put_user_policy(UserName="scaler", PolicyName="assume", PolicyDocument=passed)
    client.put_lifecycle_hook(**named, **hook)
    groups.create(**made)
