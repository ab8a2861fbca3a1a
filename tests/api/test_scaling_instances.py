"""Instances of groups as users move them: ended, protected, attached, detached, in standby; hooks they wait for."""

from datetime import timedelta

import pytest

from tests.api.test_spot_instances import described
from tests.support.scaling import NAME, Groups

SHRINK = {"ShouldDecrementDesiredCapacity": True}
KEEP = {"ShouldDecrementDesiredCapacity": False}


@pytest.fixture
def groups(api):
    return Groups(api)


def test_an_instance_that_is_ended_is_replaced_unless_the_group_shrinks(api, groups):
    groups.create(DesiredCapacity=2, MinSize=1)
    first, second = groups.up()
    terminate = groups.client.terminate_instance_in_auto_scaling_group
    api.ec2.modify_instance_attribute(InstanceId=first, DisableApiTermination={"Value": True})
    activity = terminate(InstanceId=first, **KEEP)["Activity"]
    assert activity["Description"] == f"Terminating EC2 instance: {first}"
    assert f"instance {first} was taken out of service in response to a user request." in activity["Cause"]
    assert described(api, first)["State"]["Name"] == "shutting-down"
    api.refused("ValidationError", terminate, InstanceId=first, **KEEP)
    [third] = set(groups.up()) - {second}
    assert groups.shown()["DesiredCapacity"] == 2
    terminate(InstanceId=third, **SHRINK)
    assert groups.up() == [second]
    assert groups.shown()["DesiredCapacity"] == 1
    assert "min size" in api.refused("ValidationError", terminate, InstanceId=second, **SHRINK)
    other = api.client(api.world.other, "autoscaling").terminate_instance_in_auto_scaling_group
    assert "No managed instance found" in api.refused("ValidationError", other, InstanceId=second, **KEEP)


def test_a_protected_instance_does_not_end_when_the_group_shrinks(api, groups):
    groups.create(DesiredCapacity=2, NewInstancesProtectedFromScaleIn=True)
    first, second = groups.up()
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert set(groups.states()) == {first, second}
    groups.call(groups.client.set_instance_protection, InstanceIds=[second], ProtectedFromScaleIn=False)
    groups.run()
    assert groups.states() == {first: "InService", second: "Terminating"}
    protect = groups.client.set_instance_protection
    api.refused("ValidationError", protect, AutoScalingGroupName=NAME, InstanceIds=[second], ProtectedFromScaleIn=True)


def test_instances_are_attached_and_detached(api, groups):
    groups.create(MaxSize=1)
    own, more = api.launch(number=41), api.launch(number=42)
    stopped = api.launch(number=43, state="stopped")
    attach, detach = groups.client.attach_instances, groups.client.detach_instances
    api.refused("ValidationError", attach, AutoScalingGroupName=NAME, InstanceIds=[stopped])
    api.refused("ValidationError", attach, AutoScalingGroupName=NAME, InstanceIds=["i-00000000000000000"])
    api.refused("ValidationError", attach, AutoScalingGroupName=NAME, InstanceIds=[])
    groups.call(attach, InstanceIds=[own])
    assert "max-size=1" in api.refused("ValidationError", attach, AutoScalingGroupName=NAME, InstanceIds=[more])
    groups.call(groups.client.update_auto_scaling_group, MaxSize=4)
    assert "already part" in api.refused("ValidationError", attach, AutoScalingGroupName=NAME, InstanceIds=[own])
    assert groups.shown()["DesiredCapacity"] == 1
    groups.run()
    assert groups.states() == {own: "InService"}
    [told] = groups.activities()
    assert told["Cause"].endswith(
        f"instance {own} was attached in response to a user request, increasing the capacity from 0 to 1."
    )
    [done] = groups.call(detach, InstanceIds=[own], **SHRINK)["Activities"]
    assert (done["Description"], done["StatusCode"]) == (f"Detaching EC2 instance: {own}", "Successful")
    groups.run()
    assert groups.states() == {}
    assert described(api, own)["State"]["Name"] == "running"
    assert "not part of" in api.refused(
        "ValidationError", detach, AutoScalingGroupName=NAME, InstanceIds=[own], **SHRINK
    )
    groups.call(attach, InstanceIds=[own])
    groups.call(detach, InstanceIds=[own], **KEEP)
    groups.run()
    assert own not in groups.states()
    assert len(groups.states()) == 1


def test_an_instance_in_standby_is_neither_counted_nor_replaced(api, groups):
    groups.create(DesiredCapacity=2)
    first, second = groups.up()
    enter, leave = groups.client.enter_standby, groups.client.exit_standby
    [told] = groups.call(enter, InstanceIds=[first], **SHRINK)["Activities"]
    assert told["Cause"].endswith(
        f"instance {first} was moved to standby in response to a user request, shrinking the capacity from 2 to 1."
    )
    api.refused("ValidationError", enter, AutoScalingGroupName=NAME, InstanceIds=[first], **SHRINK)
    groups.become("running", first, answers="no")
    groups.now += timedelta(hours=1)
    groups.become("stopped", first)
    assert groups.states() == {first: "Standby", second: "InService"}
    groups.become("running", first, answers="yes")
    groups.call(leave, InstanceIds=[first])
    api.refused("ValidationError", leave, AutoScalingGroupName=NAME, InstanceIds=[second])
    groups.run()
    assert groups.states() == {first: "InService", second: "InService"}
    groups.call(enter, InstanceIds=[first], **KEEP)
    groups.run()
    assert len(groups.states()) == 3
    groups.call(groups.client.update_auto_scaling_group, MaxSize=2)
    assert "max-size=2" in api.refused("ValidationError", leave, AutoScalingGroupName=NAME, InstanceIds=[first])
    groups.become("terminated", first)
    assert first not in groups.states()


def test_suspended_processes_do_nothing_until_they_are_resumed(api, groups):
    groups.create(DesiredCapacity=1)
    groups.call(groups.client.suspend_processes, ScalingProcesses=["Launch"])
    groups.run()
    assert groups.states() == {}
    [shown] = groups.shown()["SuspendedProcesses"]
    assert shown["ProcessName"] == "Launch"
    assert shown["SuspensionReason"].startswith("User suspended at ")
    groups.call(groups.client.resume_processes)
    [one] = groups.up()
    for processes in (["HealthCheck"], ["ReplaceUnhealthy"], ["Terminate"]):
        groups.call(groups.client.suspend_processes, ScalingProcesses=processes)
        groups.become("stopped", one)
        assert groups.states() == {one: "InService"}
        groups.client.set_instance_health(InstanceId=one, HealthStatus="Healthy")
        groups.become("running", one)
        groups.call(groups.client.resume_processes, ScalingProcesses=processes)
    groups.call(groups.client.suspend_processes)
    assert len(groups.shown()["SuspendedProcesses"]) == 9
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert groups.states() == {one: "InService"}
    api.refused(
        "ValidationError", groups.client.suspend_processes, AutoScalingGroupName=NAME, ScalingProcesses=["Sleep"]
    )


def test_a_health_that_is_set_respects_the_grace_period(groups):
    groups.create(DesiredCapacity=1, HealthCheckGracePeriod=3600)
    [one] = groups.up()
    groups.client.set_instance_health(InstanceId=one, HealthStatus="Unhealthy")
    assert groups.shown()["Instances"][0]["HealthStatus"] == "Healthy"
    groups.client.set_instance_health(InstanceId=one, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    assert groups.shown()["Instances"][0]["HealthStatus"] == "Unhealthy"


def put_hook(groups, name, transition, **changes):
    transition = f"autoscaling:EC2_INSTANCE_{transition}"
    groups.call(groups.client.put_lifecycle_hook, LifecycleHookName=name, LifecycleTransition=transition, **changes)


def complete(groups, name, instance_id, result="CONTINUE"):
    groups.call(
        groups.client.complete_lifecycle_action,
        LifecycleHookName=name,
        InstanceId=instance_id,
        LifecycleActionResult=result,
    )
    groups.run()


def test_a_group_that_is_deleted_by_force_waits_for_no_hooks(api, groups):
    """As in EC2, which deletes outstanding lifecycle actions then; nobody could complete them either."""
    groups.create(DesiredCapacity=2)
    put_hook(groups, "down", "TERMINATING", HeartbeatTimeout=7200)
    first, second = groups.up()
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    assert sorted(groups.states().values()) == ["InService", "Terminating:Wait"]
    groups.call(groups.client.delete_auto_scaling_group, ForceDelete=True)
    groups.run()
    assert groups.states() == {first: "Terminating", second: "Terminating"}
    assert {described(api, one)["State"]["Name"] for one in (first, second)} == {"shutting-down"}
    groups.become("terminated")
    assert groups.client.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_an_instance_waits_for_hooks_when_it_is_launched_and_when_it_ends(api, groups):
    groups.create(DesiredCapacity=1)
    put_hook(groups, "up", "LAUNCHING", HeartbeatTimeout=60)
    put_hook(groups, "down", "TERMINATING", HeartbeatTimeout=60, DefaultResult="CONTINUE")
    [shown, _] = groups.call(groups.client.describe_lifecycle_hooks)["LifecycleHooks"]
    assert (shown["LifecycleHookName"], shown["GlobalTimeout"], shown["DefaultResult"]) == ("down", 6000, "CONTINUE")
    assert groups.up() == []
    [one] = groups.states()
    assert groups.states() == {one: "Pending:Wait"}
    assert groups.activities()[0]["StatusCode"] == "MidLifecycleAction"
    complete(groups, "up", one)
    assert groups.states() == {one: "InService"}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert groups.states() == {one: "Terminating:Wait"}
    assert described(api, one)["State"]["Name"] == "running"
    beat = groups.client.record_lifecycle_action_heartbeat
    groups.now += timedelta(seconds=50)
    groups.run()
    assert groups.states() == {one: "Terminating:Wait"}
    groups.now += timedelta(seconds=50)
    groups.run()
    assert described(api, one)["State"]["Name"] == "shutting-down"
    message = api.refused("ValidationError", beat, AutoScalingGroupName=NAME, LifecycleHookName="down", InstanceId=one)
    assert "No active Lifecycle Action found" in message
    groups.become("terminated")
    assert groups.states() == {}


def test_an_abandoned_launch_ends_and_another_one_is_tried(api, groups):
    groups.create(DesiredCapacity=1)
    put_hook(groups, "up", "LAUNCHING")
    groups.up()
    [one] = groups.states()
    complete(groups, "up", one, "ABANDON")
    assert groups.states()[one] == "Terminating"
    [cancelled] = [told for told in groups.activities() if told["StatusCode"] == "Cancelled"]
    assert cancelled["Description"] == f"Launching a new EC2 instance: {one}"
    assert len(groups.states()) == 2
    groups.up()
    [other] = set(groups.states()) - {one}
    groups.call(groups.client.delete_lifecycle_hook, LifecycleHookName="up")
    groups.run()
    assert groups.states()[other] == "InService"
    assert "No Lifecycle Hook found" in api.refused(
        "ValidationError",
        groups.client.delete_lifecycle_hook,
        AutoScalingGroupName=NAME,
        LifecycleHookName="up",
    )


def test_a_heartbeat_makes_a_wait_longer(groups):
    groups.create(DesiredCapacity=1)
    put_hook(groups, "up", "LAUNCHING", HeartbeatTimeout=7200)
    groups.up()
    [one] = groups.states()
    groups.now += timedelta(seconds=7190)
    groups.call(groups.client.record_lifecycle_action_heartbeat, LifecycleHookName="up", InstanceId=one)
    groups.run()
    assert groups.states() == {one: "Pending:Wait"}
    groups.now += timedelta(seconds=7210)  # the result by default is ABANDON
    groups.run()
    assert groups.states()[one] == "Terminating"


def test_hooks_have_limits(api, groups):
    groups.create()
    put = groups.client.put_lifecycle_hook
    named = {"AutoScalingGroupName": NAME, "LifecycleHookName": "a"}
    launching = {**named, "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    api.refused("ValidationError", put, **named)
    api.refused("ValidationError", put, **{**named, "LifecycleTransition": "sleeping"})
    api.refused("ValidationError", put, **launching, HeartbeatTimeout=29)
    api.refused("ValidationError", put, **launching, HeartbeatTimeout=7201)
    api.refused("ValidationError", put, **launching, DefaultResult="WAIT")


def test_tags_of_groups_are_set_found_and_deleted(api, groups):
    groups.create(Tags=[{"Key": "a", "Value": "1", "PropagateAtLaunch": True}])
    groups.create(AutoScalingGroupName="other")
    of_group = {"ResourceId": NAME, "ResourceType": "auto-scaling-group"}
    groups.client.create_or_update_tags(Tags=[{**of_group, "Key": "b", "Value": "2", "PropagateAtLaunch": False}])
    pages = groups.client.get_paginator("describe_tags").paginate(PaginationConfig={"PageSize": 1})
    shown = [tag for page in pages for tag in page["Tags"]]
    assert [(tag["Key"], tag["Value"], tag["PropagateAtLaunch"]) for tag in shown] == [
        ("a", "1", True),
        ("b", "2", False),
    ]

    def keys(name, *values):
        filters = [{"Name": name, "Values": list(values)}]
        return [tag["Key"] for tag in groups.client.describe_tags(Filters=filters)["Tags"]]

    assert keys("key", "a") == ["a"]
    assert keys("value", "2") == ["b"]
    assert keys("propagate-at-launch", "true") == ["a"]
    assert keys("auto-scaling-group", "other") == []
    assert "Allowed Filter types" in api.refused(
        "ValidationError", groups.client.describe_tags, Filters=[{"Name": "x", "Values": ["y"]}]
    )

    def named(name, *values):
        filters = [{"Name": name, "Values": list(values)}]
        found = groups.client.describe_auto_scaling_groups(Filters=filters)["AutoScalingGroups"]
        return [one["AutoScalingGroupName"] for one in found]

    assert named("tag-key", "a") == named("tag:b", "2") == named("tag-value", "1") == [NAME]
    assert named("tag:b", "1") == []
    groups.client.delete_tags(Tags=[{**of_group, "Key": "a"}])
    assert keys("auto-scaling-group", NAME) == ["b"]
    api.refused(
        "ValidationError", groups.client.create_or_update_tags, Tags=[{**of_group, "Key": "aws:x", "Value": "y"}]
    )
    theirs = api.client(api.world.other, "autoscaling")
    assert theirs.describe_tags()["Tags"] == []
    api.refused("ValidationError", theirs.create_or_update_tags, Tags=[{**of_group, "Key": "c", "Value": "y"}])


def test_groups_instances_and_activities_come_in_pages(api, groups):
    for name in ("a", "b", "c"):
        groups.create(AutoScalingGroupName=name, DesiredCapacity=1)
    groups.run()

    def listed(operation, key, size=2):
        pages = list(groups.client.get_paginator(operation).paginate(PaginationConfig={"PageSize": size}))
        assert len(pages) == 2
        return [one for page in pages for one in page[key]]

    assert [one["AutoScalingGroupName"] for one in listed("describe_auto_scaling_groups", "AutoScalingGroups")] == [
        "a",
        "b",
        "c",
    ]
    instances = listed("describe_auto_scaling_instances", "AutoScalingInstances")
    assert {one["AutoScalingGroupName"] for one in instances} == {"a", "b", "c"}
    assert len({one["ActivityId"] for one in listed("describe_scaling_activities", "Activities")}) == 3
    [only] = groups.client.describe_auto_scaling_instances(InstanceIds=[instances[0]["InstanceId"]])[
        "AutoScalingInstances"
    ]
    assert only == instances[0]
    theirs = api.client(api.world.other, "autoscaling")
    assert theirs.describe_auto_scaling_instances()["AutoScalingInstances"] == []
    assert theirs.describe_scaling_activities()["Activities"] == []
    assert theirs.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    limits = groups.client.describe_account_limits()
    assert (limits["MaxNumberOfAutoScalingGroups"], limits["NumberOfAutoScalingGroups"]) == (500, 3)


@pytest.mark.parametrize("by_user", [True, False])
def test_the_launch_of_an_instance_that_ends_before_it_serves_is_over(groups, by_user):
    groups.create(DesiredCapacity=1)
    groups.run()
    [one] = groups.states()
    if by_user:
        asked = {"InstanceId": one, "ShouldDecrementDesiredCapacity": True}
        groups.client.terminate_instance_in_auto_scaling_group(**asked)
    else:
        groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    groups.become("terminated", one)
    told = groups.activities()
    assert [each["StatusCode"] for each in told] == ["Successful", "Cancelled"]
    groups.client.delete_auto_scaling_group(AutoScalingGroupName=NAME)
