"""Groups that publish to topics: launches, failed launches and ends, in Auto Scaling's JSON."""

import asyncio
import json
from datetime import timedelta

import pytest

from tests.api.test_spot_instances import room_for
from tests.support.receivers import subscribe
from tests.support.scaling import NAME, Groups

TOPIC = "arn:aws:sns:us-east-1:111111111111:groups"
EVENTS = ("LAUNCH", "LAUNCH_ERROR", "TERMINATE", "TERMINATE_ERROR")
TYPES = [f"autoscaling:EC2_INSTANCE_{one}" for one in EVENTS] + ["autoscaling:TEST_NOTIFICATION"]


@pytest.fixture
def sns(api):
    client = api.client(api.world.one, "sns")
    client.create_topic(Name="groups")
    return client


@pytest.fixture
def groups(api, sns):
    made = Groups(api)
    made.create()
    return made


def put(groups, *types, topic=TOPIC):
    groups.call(groups.client.put_notification_configuration, TopicARN=topic, NotificationTypes=types or TYPES)


def came(sending, receiver):
    """The subjects and the texts of what arrived by now, which is later than all that groups did."""
    asyncio.run(sending.run(120))
    fields = [one.fields for one in receiver.arrived if one.fields["Type"] == "Notification"]
    receiver.arrived.clear()
    return [(one["Subject"], json.loads(one["Message"])) for one in fields]


def test_a_group_tells_of_its_instances(groups, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    put(groups)
    [(subject, told)] = came(sending, receiver)
    arn = groups.shown()["AutoScalingGroupARN"]
    assert subject == f'Auto Scaling: test notification for group "{NAME}"'
    assert told["Event"] == "autoscaling:TEST_NOTIFICATION"
    assert (told["AutoScalingGroupARN"], told["AutoScalingGroupName"]) == (arn, NAME)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    assert came(sending, receiver) == []
    [instance_id] = groups.up()
    [(subject, told)] = came(sending, receiver)
    [activity] = groups.activities()
    assert subject == f'Auto Scaling: launch for group "{NAME}"'
    for name in ("Time", "StartTime", "EndTime"):
        assert told.pop(name).endswith("Z")
    assert told == {
        "Service": "AWS Auto Scaling",
        "AccountId": "111111111111",
        "Event": TYPES[0],
        "AutoScalingGroupName": NAME,
        "AutoScalingGroupARN": arn,
        "ActivityId": activity["ActivityId"],
        "RequestId": activity["ActivityId"],
        "Description": activity["Description"],
        "Cause": activity["Cause"],
        "StatusCode": "Successful",
        "StatusMessage": "",
        "Progress": 100,
        "EC2InstanceId": instance_id,
        "Details": json.loads(activity["Details"]),
    }
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert came(sending, receiver) == []
    groups.become("terminated", instance_id)
    [(subject, told)] = came(sending, receiver)
    assert subject == f'Auto Scaling: termination for group "{NAME}"'
    assert (told["Event"], told["EC2InstanceId"]) == (TYPES[2], instance_id)


def test_launches_that_fail_are_told(api, groups, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    put(groups, TYPES[1])
    came(sending, receiver)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    groups.become("terminated")
    [(subject, told)] = came(sending, receiver)
    assert subject == f'Auto Scaling: failed launch for group "{NAME}"'
    assert (told["Event"], told["StatusCode"]) == (TYPES[1], "Failed")
    assert told["StatusMessage"].startswith("Instance became unhealthy")
    room_for(api, 0)
    groups.now += timedelta(minutes=1)
    groups.run()
    [(_, told)] = came(sending, receiver)
    assert (told["StatusCode"], told["EC2InstanceId"]) == ("Failed", "")


def test_an_abandoned_launch_is_a_failed_one(groups, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    put(groups, TYPES[0], TYPES[1])
    came(sending, receiver)
    hook = {"LifecycleHookName": "h", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    groups.call(groups.client.put_lifecycle_hook, **hook)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.up()
    [instance_id] = groups.states()
    done = {"LifecycleHookName": "h", "InstanceId": instance_id, "LifecycleActionResult": "ABANDON"}
    groups.call(groups.client.complete_lifecycle_action, **done)
    groups.run()
    [(_, told)] = came(sending, receiver)
    assert (told["Event"], told["StatusCode"]) == (TYPES[1], "Cancelled")


def test_configurations_live(api, groups, sns):
    other = sns.create_topic(Name="other")["TopicArn"]
    put(groups)
    put(groups, TYPES[0], TYPES[0])
    put(groups, TYPES[2], TYPES[0], topic=other)
    groups.create(AutoScalingGroupName="second")
    asked = {"AutoScalingGroupName": "second", "TopicARN": TOPIC, "NotificationTypes": [TYPES[0]]}
    groups.client.put_notification_configuration(**asked)
    describe = groups.client.describe_notification_configurations
    wanted = [("second", TOPIC, TYPES[0]), (NAME, TOPIC, TYPES[0]), (NAME, other, TYPES[0]), (NAME, other, TYPES[2])]

    def shown(found):
        return [(one["AutoScalingGroupName"], one["TopicARN"], one["NotificationType"]) for one in found]

    pages = groups.client.get_paginator("describe_notification_configurations").paginate(
        PaginationConfig={"PageSize": 1}
    )
    assert shown(one for page in pages for one in page["NotificationConfigurations"]) == wanted
    assert shown(describe(AutoScalingGroupNames=["second", "x"])["NotificationConfigurations"]) == wanted[:1]
    assert groups.client.describe_auto_scaling_notification_types()["AutoScalingNotificationTypes"] == TYPES
    groups.call(groups.client.delete_notification_configuration, TopicARN=other)
    assert shown(describe(AutoScalingGroupNames=[NAME])["NotificationConfigurations"]) == wanted[1:2]
    delete = groups.client.delete_notification_configuration
    api.refused("ValidationError", delete, AutoScalingGroupName=NAME, TopicARN=other)
    groups.client.delete_auto_scaling_group(AutoScalingGroupName="second")
    groups.run()
    assert shown(describe()["NotificationConfigurations"]) == wanted[1:2]
    theirs = api.client(api.world.other, "autoscaling")
    assert theirs.describe_notification_configurations()["NotificationConfigurations"] == []


def test_configurations_that_cannot_be(api, groups, sns):
    put_one = groups.client.put_notification_configuration
    asked = {"AutoScalingGroupName": NAME, "TopicARN": TOPIC, "NotificationTypes": TYPES}
    for changed in (
        {"NotificationTypes": ["autoscaling:OTHER"]},
        {"TopicARN": TOPIC + "x"},
        {"TopicARN": "arn:aws:sns:us-east-1:222222222222:groups"},
        {"TopicARN": "arn:aws:sqs:us-east-1:111111111111:groups"},
        {"AutoScalingGroupName": "x"},
    ):
        api.refused("ValidationError", put_one, **asked | changed)
    for number in range(10):
        put(groups, topic=sns.create_topic(Name=f"t{number}")["TopicArn"])
    api.refused("LimitExceeded", put_one, **asked)
    put(groups, TYPES[0], topic=TOPIC.replace("groups", "t0"))


def test_a_topic_that_was_deleted_holds_nothing_up(groups, sns):
    put(groups)
    sns.delete_topic(TopicArn=TOPIC)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    assert len(groups.up()) == 1
