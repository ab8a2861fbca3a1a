"""Warm pools of Auto Scaling groups: how they fill, give, take back and end, and what is refused."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Instance, Volume
from stead_controller.errors import InvalidParameter
from stead_controller.resources.scaling import group_metrics, warm_pools
from stead_controller.resources.scaling.warm_pools import PoolRequest
from stead_proto.v1 import desired_pb2 as pb
from tests.api.test_hibernation import asked
from tests.api.test_instance_attributes import sent
from tests.api.test_spot_instances import described, room_for
from tests.support.scaling import NAME, Groups


@pytest.fixture
def groups(api):
    return Groups(api)


def _put(groups, **changes):
    groups.call(groups.client.put_warm_pool, **changes)


def _filled(groups, count, state="Stopped"):
    """Let a pool fill, and return the ids of its instances."""
    groups.run()
    groups.become("running", *(one for one, at in groups.warm().items() if at == "Warmed:Pending"))
    if state == "Stopped":
        assert set(groups.warm().values()) == {"Warmed:Pending:Proceed"}
        groups.become("stopped", *groups.warm())
    assert list(groups.warm().values()) == [f"Warmed:{state}"] * count
    return sorted(groups.warm())


def _state(api, instance_id):
    return described(api, instance_id)["State"]["Name"]


def test_a_pool_fills_and_serves_what_the_group_needs(api, groups):
    groups.create(DesiredCapacity=1)
    [serving] = groups.up()
    _put(groups)
    shown = groups.call(groups.client.describe_warm_pool)["WarmPoolConfiguration"]
    assert shown == {"MinSize": 0, "PoolState": "Stopped"}
    groups.run()
    assert list(groups.warm().values()) == ["Warmed:Pending"] * 3
    warm = _filled(groups, 3)
    first = groups.call(groups.client.describe_warm_pool, MaxRecords=2)
    rest = groups.call(groups.client.describe_warm_pool, MaxRecords=2, NextToken=first["NextToken"])
    assert [[one["InstanceId"] for one in page["Instances"]] for page in (first, rest)] == [warm[:2], warm[2:]]
    assert "NextToken" not in rest
    assert groups.states() == {serving: "InService"}
    assert groups.shown()["WarmPoolSize"] == 3
    assert groups.shown()["WarmPoolConfiguration"]["PoolState"] == "Stopped"
    instances = groups.client.describe_auto_scaling_instances(InstanceIds=[warm[0]])["AutoScalingInstances"]
    assert [one["LifecycleState"] for one in instances] == ["Warmed:Stopped"]
    told = groups.activities()[0]
    assert told["Description"] == f"Launching a new EC2 instance into warm pool: {told['Description'].split()[-1]}"
    assert told["StatusCode"] == "Successful"
    filled = [one["Cause"] for one in groups.activities() if "into warm pool" in one["Description"]]
    assert [cause.rpartition("warm pool capacity ")[2] for cause in filled] == ["from 0 to 3."] * 3

    groups.call(groups.client.set_desired_capacity, DesiredCapacity=2)
    groups.run()
    [taken] = set(groups.states()) - {serving}
    assert taken in warm
    assert groups.states()[taken] == "Pending"
    assert _state(api, taken) == "pending"
    assert len(groups.warm()) == 2  # as many as are missing to the maximum
    groups.become("running", taken)
    assert groups.states()[taken] == "InService"
    told = groups.activities()[0]
    assert told["Description"] == f"Launching a new EC2 instance from warm pool: {taken}"
    assert "increasing the capacity from 1 to 2." in told["Cause"]
    assert told["StatusCode"] == "Successful"
    assert api.run(lambda tx: tx.session.query(Instance).count()) == 4


def test_a_pool_that_is_empty_lets_the_group_launch(groups):
    groups.create(DesiredCapacity=0)
    _put(groups, MaxGroupPreparedCapacity=1)
    [warm] = _filled(groups, 1)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=3)
    groups.run()
    assert len(groups.states()) == 3
    assert warm in groups.states()
    assert groups.warm() == {}


def test_a_pool_that_is_emptied_while_it_fills_can_be_deleted(groups):
    """The launch of an instance that ends before it is ready is over as well."""
    groups.create(DesiredCapacity=0)
    _put(groups, MaxGroupPreparedCapacity=1)
    groups.run()
    [made] = groups.warm()
    groups.become("running", made)
    _put(groups, MaxGroupPreparedCapacity=0)
    groups.run()
    groups.become("terminated", made)
    ended, launched = groups.activities()[:2]
    assert (ended["StatusCode"], launched["StatusCode"]) == ("Successful", "Cancelled")
    assert launched["StatusMessage"] == "The instance was terminated before this was over."
    groups.call(groups.client.delete_warm_pool)
    assert "WarmPoolConfiguration" not in groups.shown()


def test_what_shrinks_returns_where_it_is_reused(api, groups):
    groups.create(DesiredCapacity=2)
    first, second = groups.up()
    _put(groups, MaxGroupPreparedCapacity=2, InstanceReusePolicy={"ReuseOnScaleIn": True})
    groups.run()
    assert groups.warm() == {}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    [back] = groups.warm()
    assert groups.warm() == {back: "Warmed:Pending:Proceed"}
    assert _state(api, back) == "stopping"
    assert groups.activities()[0]["Description"] == f"Returning EC2 instance to warm pool: {back}"
    groups.become("stopped", back)
    assert groups.warm() == {back: "Warmed:Stopped"}
    assert set(groups.states()) == {first, second} - {back}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=2)
    groups.run()
    groups.become("running", back)
    assert set(groups.states().values()) == {"InService"}
    assert set(groups.states()) == {first, second}
    groups.call(groups.client.put_warm_pool, InstanceReusePolicy={"ReuseOnScaleIn": False})
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    assert list(groups.states().values()).count("Terminating") == 1


def test_hooks_run_on_the_way_in_and_out(api, groups):
    groups.create(DesiredCapacity=0)
    for verb in ("LAUNCHING", "TERMINATING"):
        groups.call(
            groups.client.put_lifecycle_hook,
            LifecycleHookName=verb,
            LifecycleTransition=f"autoscaling:EC2_INSTANCE_{verb}",
            HeartbeatTimeout=60,
        )
    _put(groups, MaxGroupPreparedCapacity=1, InstanceReusePolicy={"ReuseOnScaleIn": True})
    groups.run()
    [one] = groups.warm()

    def complete(hook, result="CONTINUE"):
        done = {"LifecycleHookName": hook, "InstanceId": one, "LifecycleActionResult": result}
        groups.call(groups.client.complete_lifecycle_action, **done)
        groups.run()

    groups.become("running", one)
    assert groups.warm() == {one: "Warmed:Pending:Wait"}
    assert groups.activities()[0]["StatusCode"] == "MidLifecycleAction"
    assert _state(api, one) == "running"
    complete("LAUNCHING")
    assert groups.warm() == {one: "Warmed:Pending:Proceed"}
    groups.become("stopped", one)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    groups.become("running", one)
    assert groups.states() == {one: "Pending:Wait"}
    complete("LAUNCHING")
    assert groups.states() == {one: "InService"}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert groups.warm() == {one: "Warmed:Pending:Wait"}
    assert _state(api, one) == "running"
    complete("TERMINATING")
    assert groups.warm() == {one: "Warmed:Pending:Proceed"}
    groups.become("stopped", one)
    assert groups.warm() == {one: "Warmed:Stopped"}
    _put(groups, MaxGroupPreparedCapacity=0)
    groups.run()
    assert groups.warm() == {one: "Warmed:Terminating:Wait"}
    complete("TERMINATING")
    assert groups.warm() == {one: "Warmed:Terminating"}
    groups.become("terminated", one)
    assert groups.warm() == {}


def test_an_abandoned_hook_ends_what_comes_into_the_pool(groups):
    groups.create(DesiredCapacity=0)
    groups.call(
        groups.client.put_lifecycle_hook,
        LifecycleHookName="x",
        LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING",
        HeartbeatTimeout=60,
    )
    _put(groups, MinSize=1, MaxGroupPreparedCapacity=0)
    groups.run()
    groups.become("running", *groups.warm())
    [one] = groups.warm()
    groups.now += timedelta(seconds=61)
    groups.run()
    assert groups.warm()[one] == "Warmed:Terminating"


def test_a_running_pool_is_not_stopped_and_serves_at_once(api, groups):
    groups.create(DesiredCapacity=0)
    _put(groups, PoolState="Running", MaxGroupPreparedCapacity=2)
    one, two = _filled(groups, 2, "Running")
    assert {_state(api, each) for each in (one, two)} == {"running"}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    [serving] = groups.states()
    assert groups.states() == {serving: "InService"}


def test_what_is_sick_in_the_pool_is_replaced(api, groups):
    groups.create(DesiredCapacity=0)
    _put(groups, MaxGroupPreparedCapacity=3)
    ended, told, started = _filled(groups, 3)
    groups.become("terminated", ended)
    assert ended not in groups.warm()
    groups.client.set_instance_health(InstanceId=told, HealthStatus="Unhealthy")
    groups.run()
    assert groups.warm()[told] == "Warmed:Terminating"
    groups.become("running", started)  # somebody starts it
    assert groups.warm()[started] == "Warmed:Pending:Proceed"
    assert _state(api, started) == "stopping"
    assert sorted(groups.warm().values()) == [
        "Warmed:Pending", "Warmed:Pending", "Warmed:Pending:Proceed", "Warmed:Terminating",
    ]  # fmt: skip
    groups.become("stopped", started)
    assert groups.warm()[started] == "Warmed:Stopped"


def test_a_pool_is_deleted_alone_and_with_its_group(api, groups):
    groups.create(DesiredCapacity=0)
    _put(groups, MaxGroupPreparedCapacity=1)
    [one] = _filled(groups, 1)
    assert "still in the warm pool" in api.refused(
        "ResourceInUse", groups.client.delete_warm_pool, AutoScalingGroupName=NAME
    )
    api.refused("ResourceInUse", groups.client.delete_auto_scaling_group, AutoScalingGroupName=NAME)
    groups.call(groups.client.delete_warm_pool, ForceDelete=True)
    assert groups.call(groups.client.describe_warm_pool)["WarmPoolConfiguration"]["Status"] == "PendingDelete"
    assert "pending delete" in api.refused("ValidationError", groups.client.put_warm_pool, AutoScalingGroupName=NAME)
    groups.run()
    assert groups.warm() == {one: "Warmed:Terminating"}
    assert groups.activities()[0]["Description"] == f"Terminating EC2 instance: {one}"
    assert groups.activities()[0]["Cause"].endswith("in response to the deletion of the warm pool.")
    groups.become("terminated", one)
    assert "WarmPoolConfiguration" not in groups.call(groups.client.describe_warm_pool)
    assert "WarmPoolSize" not in groups.shown()
    assert "No warm pool" in api.refused("ValidationError", groups.client.delete_warm_pool, AutoScalingGroupName=NAME)
    _put(groups, MaxGroupPreparedCapacity=1)
    [other] = _filled(groups, 1)
    groups.call(groups.client.delete_auto_scaling_group, ForceDelete=True)
    groups.run()
    assert len(groups.client.describe_auto_scaling_groups()["AutoScalingGroups"]) == 1
    groups.become("terminated", other)
    assert groups.client.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_what_no_pool_can_have_is_refused(api, groups):
    groups.create(DesiredCapacity=0)
    assert "Hibernated" in api.refused(
        "ValidationError", groups.client.put_warm_pool, AutoScalingGroupName=NAME, PoolState="Hibernated"
    )
    for request in (PoolRequest(min_size=-1), PoolRequest(max_prepared=-2)):  # which boto3 would not send
        with pytest.raises(InvalidParameter):
            api.run(warm_pools.put, api.world.one.caller, NAME, request, groups.now)
    assert "Frozen" in api.refused(
        "ValidationError", groups.client.put_warm_pool, AutoScalingGroupName=NAME, PoolState="Frozen"
    )
    _put(groups, MaxGroupPreparedCapacity=1)
    [one] = _filled(groups, 1)
    end = groups.client.terminate_instance_in_auto_scaling_group
    assert "warm pool" in api.refused("ValidationError", end, InstanceId=one, ShouldDecrementDesiredCapacity=False)
    protect = groups.client.set_instance_protection
    named = {"AutoScalingGroupName": NAME, "InstanceIds": [one], "ProtectedFromScaleIn": True}
    assert "warm pool" in api.refused("ValidationError", protect, **named)
    mixed = {"LaunchTemplate": {"LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "1"}}}
    update = groups.client.update_auto_scaling_group
    told = api.refused("ValidationError", update, AutoScalingGroupName=NAME, MixedInstancesPolicy=mixed)
    assert "MixedInstancesPolicy" in told
    groups.call(groups.client.start_instance_refresh)
    assert "refresh" in api.refused("InstanceRefreshInProgress", groups.client.put_warm_pool, AutoScalingGroupName=NAME)
    spot = {
        "ImageId": api.world.image_id,
        "InstanceType": "stead.tiny",
        "InstanceMarketOptions": {"MarketType": "spot"},
    }
    api.ec2.create_launch_template(LaunchTemplateName="spot", LaunchTemplateData=spot)
    groups.create(AutoScalingGroupName="spot", LaunchTemplate={"LaunchTemplateName": "spot"})
    put = groups.client.put_warm_pool
    assert "Spot" in api.refused("ValidationError", put, AutoScalingGroupName="spot")


def test_a_refresh_replaces_the_pool_after_the_group(groups):
    groups.create(DesiredCapacity=1)
    [old] = groups.up()
    _put(groups, MaxGroupPreparedCapacity=2)
    [warm] = _filled(groups, 1)
    groups.call(groups.client.start_instance_refresh)
    groups.run()
    groups.become("terminated", old)
    [new] = groups.up()
    assert new not in (old, warm)
    [shown] = groups.call(groups.client.describe_instance_refreshes)["InstanceRefreshes"]
    assert shown["ProgressDetails"]["LivePoolProgress"] == {"PercentageComplete": 100, "InstancesToUpdate": 0}
    groups.run()
    assert groups.warm()[warm] == "Warmed:Terminating"
    groups.become("terminated", warm)
    [other] = groups.warm()
    groups.become("running", other)
    groups.become("stopped", other)
    groups.run()
    [shown] = groups.call(groups.client.describe_instance_refreshes)["InstanceRefreshes"]
    assert shown["Status"] == "Successful"
    assert shown["ProgressDetails"]["WarmPoolProgress"] == {"PercentageComplete": 100, "InstancesToUpdate": 0}


def test_an_instance_reads_where_it_goes(api, groups):
    def aims(instance_id):
        return sent(api, pb.KIND_MACHINE, instance_id).machine.metadata.target_lifecycle_state

    groups.create(DesiredCapacity=1)
    [one] = groups.up()
    assert aims(one) == "InService"
    named = {"InstanceIds": [one], "ShouldDecrementDesiredCapacity": True}
    groups.call(groups.client.enter_standby, **named)
    assert aims(one) == "Standby"
    groups.call(groups.client.exit_standby, InstanceIds=[one])
    assert aims(one) == "InService"
    groups.run()
    _put(groups, MaxGroupPreparedCapacity=1, InstanceReusePolicy={"ReuseOnScaleIn": True})
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert aims(one) == "Warmed:Stopped"
    groups.become("stopped", one)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    assert aims(one) == "InService"
    groups.become("running", one)
    _put(groups, PoolState="Running", MinSize=1)
    groups.run()
    [warm] = groups.warm()
    assert aims(warm) == "Warmed:Running"
    groups.call(
        groups.client.put_lifecycle_hook,
        LifecycleHookName="x",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
    )
    _put(groups, MinSize=0)
    groups.run()
    assert aims(warm) == "Warmed:Terminated"
    groups.call(groups.client.detach_instances, **named)
    assert aims(one) == "Detached"
    groups.call(groups.client.attach_instances, InstanceIds=[one])
    assert aims(one) == "InService"
    groups.client.terminate_instance_in_auto_scaling_group(InstanceId=one, ShouldDecrementDesiredCapacity=True)
    assert aims(one) == "Terminated"


def test_a_hibernated_pool_hibernates_what_it_can(api, groups):
    data = asked(api)
    for name in ("MinCount", "MaxCount"):
        del data[name]
    api.ec2.create_launch_template(LaunchTemplateName="sleepy", LaunchTemplateData=data)
    groups.create(DesiredCapacity=0, LaunchTemplate={"LaunchTemplateName": "sleepy"})
    _put(groups, PoolState="Hibernated", MaxGroupPreparedCapacity=1)
    groups.run()
    [one] = groups.warm()
    groups.become("running", one)
    assert groups.warm() == {one: "Warmed:Pending:Proceed"}
    assert api.run(lambda tx: tx.session.get_one(Instance, one).hibernate_stop)
    groups.become("stopped", one)
    assert groups.warm() == {one: "Warmed:Hibernated"}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    assert groups.states() == {one: "Pending"}
    groups.become("running", one)
    _put(groups, InstanceReusePolicy={"ReuseOnScaleIn": True})
    api.run(
        lambda tx: setattr(tx.session.get_one(Instance, one), "hibernation", False)
    )  # as without room for its memory
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert _state(api, one) == "stopping"
    assert not api.run(lambda tx: tx.session.get_one(Instance, one).hibernate_stop)


def test_a_stopped_pool_hibernates_nothing(api, groups):
    data = asked(api)
    for name in ("MinCount", "MaxCount"):
        del data[name]
    api.ec2.create_launch_template(LaunchTemplateName="sleepy", LaunchTemplateData=data)
    groups.create(DesiredCapacity=0, LaunchTemplate={"LaunchTemplateName": "sleepy"})
    _put(groups, MaxGroupPreparedCapacity=1)
    groups.run()
    [one] = groups.warm()
    groups.become("running", one)
    assert groups.warm() == {one: "Warmed:Pending:Proceed"}
    assert not api.run(lambda tx: tx.session.get_one(Instance, one).hibernate_stop)


def test_what_is_in_the_pool_is_not_measured_closely(api, groups):
    def closely():
        return [bool(one.measured_closely) for one in api.run(lambda tx: tx.session.query(Instance).all())]

    groups.create(DesiredCapacity=1)
    metric = {"PredefinedMetricType": "ASGAverageCPUUtilizationHighResolution"}
    tracking = {"PredefinedMetricSpecification": metric, "TargetValue": 50.0}
    groups.call(
        groups.client.put_scaling_policy,
        PolicyName="p",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration=tracking,
    )
    [one] = groups.up()
    _put(groups, MaxGroupPreparedCapacity=1, InstanceReusePolicy={"ReuseOnScaleIn": True})
    assert closely() == [True]
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
    groups.run()
    assert closely() == [False]
    groups.become("stopped", one)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    assert closely() == [True]


def test_what_has_no_room_to_start_is_launched_elsewhere(api, groups):
    groups.create(DesiredCapacity=0)
    _put(groups, MaxGroupPreparedCapacity=1)
    [one] = _filled(groups, 1)
    api.run(lambda tx: setattr(tx.session.get_one(Instance, one), "root_device_name", "/dev/none"))
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    [other] = groups.states()
    assert other != one
    assert groups.states() == {other: "Pending"}
    shown = sent(api, pb.KIND_MACHINE, one).machine
    assert (shown.power, shown.metadata.target_lifecycle_state) == (pb.POWER_STOPPED, "Warmed:Stopped")


def test_a_pool_that_cannot_be_filled_backs_off_and_does_not_hold_up_the_group(api, groups):
    room_for(api, 1)
    groups.create(DesiredCapacity=0)
    _put(groups, MinSize=2, MaxGroupPreparedCapacity=0)
    groups.run()
    assert len(groups.warm()) == 1
    [failed] = [one for one in groups.activities() if one["StatusCode"] == "Failed"]
    assert failed["Description"].startswith("Launching a new EC2 instance into warm pool.  Status Reason: ")
    room_for(api, 100)
    groups.run()
    assert len(groups.warm()) == 1  # not before its time
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    assert len(groups.states()) == 1
    groups.now += timedelta(seconds=6)
    groups.run()
    assert len(groups.warm()) == 2


def test_metrics_tell_of_the_pool(api, groups):
    groups.create(DesiredCapacity=1)
    groups.call(groups.client.enable_metrics_collection, Granularity="1Minute")

    def measured():
        data, _ = api.run(group_metrics.measure, groups.now)
        return {one.identity.name: one.maximum for one in data}

    assert not [name for name in measured() if "WarmPool" in name]
    groups.up()
    _put(groups, MinSize=1, MaxGroupPreparedCapacity=3)
    ready, other = _filled(groups, 2)
    groups.become("terminated", other)
    found = measured()
    assert {name: value for name, value in found.items() if "WarmPool" in name} == {
        "WarmPoolMinSize": 1,
        "WarmPoolDesiredCapacity": 2,
        "WarmPoolWarmedCapacity": 1,
        "WarmPoolPendingCapacity": 1,
        "WarmPoolTerminatingCapacity": 0,
        "WarmPoolTotalCapacity": 2,
        "GroupAndWarmPoolDesiredCapacity": 3,
        "GroupAndWarmPoolTotalCapacity": 3,
    }
    assert (found["GroupTotalInstances"], found["GroupPendingInstances"]) == (1, 0)
    _put(groups, MinSize=0, MaxGroupPreparedCapacity=1)
    groups.run()
    assert groups.warm()[ready] == "Warmed:Terminating"
    assert measured()["WarmPoolTerminatingCapacity"] == 2


def test_what_has_lost_its_volume_is_replaced(api, groups):
    groups.create(DesiredCapacity=0)
    _put(groups, MaxGroupPreparedCapacity=1)
    [one] = _filled(groups, 1)
    lost = update(Volume).where(Volume.instance_id == one).values(lost_since=groups.now)
    api.run(lambda tx: tx.session.execute(lost))
    groups.run()
    assert groups.warm() == {one: "Warmed:Stopped"}
    groups.now += timedelta(seconds=61)
    groups.run()
    assert groups.warm()[one] == "Warmed:Terminating"
    [told] = [each for each in groups.activities() if each["Description"].startswith("Terminating")]
    assert told["Cause"].endswith("in response to EBS volume health check failure.")
