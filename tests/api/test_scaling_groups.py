"""Auto Scaling groups: how they are made, grow, shrink and are deleted, and what their activities tell."""

import re
from datetime import timedelta

import pytest

from stead_controller.db.tables import Instance, ScalingGroup
from tests.api.test_spot_instances import described, room_for
from tests.support import rows
from tests.support.scaling import NAME, Groups


@pytest.fixture
def groups(api):
    return Groups(api)


def test_a_group_grows_to_its_desired_capacity_and_back_to_nothing(api, groups):
    groups.create(
        DesiredCapacity=2,
        Tags=[
            {"Key": "Name", "Value": "web", "PropagateAtLaunch": True},
            {"Key": "own", "Value": "x", "PropagateAtLaunch": False},
        ],
    )
    assert groups.states() == {}
    groups.run()
    first, second = groups.states()
    assert set(groups.states().values()) == {"Pending"}
    assert {one["StatusCode"] for one in groups.activities()} == {"PreInService"}
    groups.run()
    assert len(groups.states()) == 2
    groups.become("running")
    assert set(groups.states().values()) == {"InService"}
    tags = {tag["Key"]: tag["Value"] for tag in described(api, first)["Tags"]}
    assert tags["Name"] == "web"
    assert tags["aws:autoscaling:groupName"] == NAME
    assert "own" not in tags
    assert tags["aws:ec2launchtemplate:version"] == "1"

    told = groups.activities()
    assert {one["Description"] for one in told} == {f"Launching a new EC2 instance: {one}" for one in (first, second)}
    assert {one["StatusCode"] for one in told} == {"Successful"}
    assert {one["Progress"] for one in told} == {100}
    causes = sorted(re.sub(r"\d{4}-[^ ]+Z", "T", one["Cause"]) for one in told)
    begun = "At T a user request created an AutoScalingGroup changing the desired capacity from 0 to 2.  "
    grown = "At T an instance was started in response to a difference between desired and actual capacity, increasing"
    assert causes == [f"{begun}{grown} the capacity from 0 to 2."] * 2

    groups.call(groups.client.update_auto_scaling_group, MaxSize=0, MinSize=0)
    assert groups.shown()["DesiredCapacity"] == 0
    groups.run()
    assert set(groups.states().values()) == {"Terminating"}
    assert {described(api, one)["State"]["Name"] for one in (first, second)} == {"shutting-down"}
    latest = groups.activities()[0]
    assert re.sub(r"\d{4}-[^ ]+Z", "T", latest["Cause"]).startswith(
        "At T a user request update of AutoScalingGroup constraints to min: 0, max: 0, desired: 0 changing the desired "
        "capacity from 2 to 0.  At T an instance was taken out of service in response to a difference between desired "
        "and actual capacity, shrinking the capacity from 2 to 0.  At T instance "
    )
    assert all(f" instance {one} was selected for termination." in latest["Cause"] for one in (first, second))
    assert latest["StatusCode"] == "InProgress"
    groups.become("terminated")
    assert groups.states() == {}
    assert {one["StatusCode"] for one in groups.activities()} == {"Successful"}
    assert api.run(lambda tx: tx.session.query(ScalingGroup.due).one()) == (None,)


def test_what_a_template_lacks_or_the_sizes_exclude_is_refused(api, groups):
    create = groups.create
    assert "does not exist" in api.refused(
        "ValidationError", create, LaunchTemplate={"LaunchTemplateName": "absent", "Version": "1"}
    )
    assert "version" in api.refused(
        "ValidationError", create, LaunchTemplate={"LaunchTemplateName": "web", "Version": "9"}
    )
    assert "must contain either LaunchTemplate" in api.refused("ValidationError", create, LaunchTemplate=None)
    assert "Max bound, 1" in api.refused("ValidationError", create, MinSize=2, MaxSize=1)
    assert "negative" in api.refused("ValidationError", create, MinSize=-1)
    assert "Desired capacity:5" in api.refused("ValidationError", create, DesiredCapacity=5)
    assert "At least one" in api.refused("ValidationError", create, AvailabilityZones=None)
    assert "us-east-1q" in api.refused("ValidationError", create, AvailabilityZones=["us-east-1q"])
    assert "subnet-1" in api.refused("ValidationError", create, VPCZoneIdentifier="subnet-1", AvailabilityZones=None)
    assert "Random" in api.refused("ValidationError", create, TerminationPolicies=["Random"])
    assert "ELB" in api.refused("ValidationError", create, HealthCheckType="ELB")
    assert "TargetGroupARNs" in api.refused("UnsupportedOperation", create, TargetGroupARNs=["arn:aws:x"])
    create()
    assert "already exists" in api.refused("AlreadyExists", create)
    api.refused("ValidationError", groups.client.set_desired_capacity, AutoScalingGroupName="no", DesiredCapacity=0)
    above = api.refused(
        "ValidationError", groups.client.set_desired_capacity, AutoScalingGroupName=NAME, DesiredCapacity=5
    )
    assert above == "New SetDesiredCapacity value 5 is above max value 4 for the AutoScalingGroup."


def test_a_killed_loop_launches_no_instance_twice(api, groups, monkeypatch):
    """The transaction of a step ends with an error at each of its statements, and is then done again."""
    groups.create(DesiredCapacity=3)
    real = api.database.run
    calls = 0

    async def killed(function, **options):
        nonlocal calls
        calls += 1
        if options.get("writes", True) and calls % 3:

            def cut(tx):
                function(tx)
                raise KeyboardInterrupt

            return await real(cut, **options)
        return await real(function, **options)

    monkeypatch.setattr(api.database, "run", killed)
    for _ in range(12):
        try:
            groups.run()
        except KeyboardInterrupt:
            assert api.run(lambda tx: tx.session.query(Instance).count()) in (0, 3)
    monkeypatch.undo()
    groups.run()
    assert len(groups.states()) == 3
    assert api.run(lambda tx: tx.session.query(Instance).count()) == 3


def test_a_launch_without_room_fails_with_its_reason_and_backs_off(api, groups):
    room_for(api, 1)
    groups.create(DesiredCapacity=3)
    groups.run()
    assert len(groups.states()) == 1
    [failed] = [one for one in groups.activities() if one["StatusCode"] == "Failed"]
    assert failed["StatusMessage"].endswith("Launching EC2 instance failed.")
    assert failed["Description"].startswith("Launching a new EC2 instance.  Status Reason: ")
    room_for(api, 100)
    groups.run()
    assert len(groups.states()) == 1  # not before its time
    groups.now += timedelta(seconds=6)
    groups.run()
    assert len(groups.states()) == 3


def test_an_instance_that_ended_stopped_or_is_said_to_be_unhealthy_is_replaced(api, groups):
    groups.create(DesiredCapacity=3)
    ended, stopped, sick = groups.up()
    groups.become("terminated", ended)
    assert set(groups.up()) >= {stopped, sick}
    groups.become("stopped", stopped)
    assert len(groups.up()) == 3
    groups.client.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    assert {"Unhealthy"} == {one["HealthStatus"] for one in groups.shown()["Instances"] if one["InstanceId"] == sick}
    replaced = set(groups.up())
    assert len(replaced) == 3
    assert not replaced & {ended, stopped, sick}
    causes = " ".join(one["Cause"] for one in groups.activities())
    assert "in response to an EC2 health check indicating it has been terminated or stopped." in causes
    assert "in response to a user health-check." in causes
    assert "an instance was launched in response to an unhealthy instance needing to be replaced." in causes


def test_an_instance_of_a_failing_status_check_is_replaced_when_it_lasts(api, groups):
    groups.create(DesiredCapacity=1, HealthCheckGracePeriod=300)
    [sick] = groups.up()
    groups.become("running", sick, answers="no")
    groups.now += timedelta(seconds=299)
    groups.run()
    assert list(groups.states()) == [sick]
    groups.become("running", sick, answers="yes")
    groups.now += timedelta(seconds=2)
    groups.become("running", sick, answers="no")
    assert groups.states() == {sick: "InService"}
    groups.now += timedelta(seconds=61)
    groups.run()
    assert groups.states()[sick] == "Terminating"
    assert len(groups.up()) == 1
    assert "status checks failure" in " ".join(one["Cause"] for one in groups.activities())


def test_a_group_is_deleted_with_its_instances_only_by_force(api, groups):
    groups.create(DesiredCapacity=1)
    [one] = groups.up()
    delete = groups.client.delete_auto_scaling_group
    api.refused("ResourceInUse", delete, AutoScalingGroupName=NAME)
    groups.call(groups.client.set_instance_protection, InstanceIds=[one], ProtectedFromScaleIn=True)
    groups.call(delete, ForceDelete=True)
    assert groups.shown()["Status"] == "Delete in progress"
    api.refused("ValidationError", delete, AutoScalingGroupName=NAME)
    groups.run()
    assert groups.states() == {one: "Terminating"}
    groups.become("terminated")
    assert groups.client.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert groups.activities() == []
    [ended, launched] = groups.activities(IncludeDeletedGroups=True)
    assert {ended["AutoScalingGroupState"], launched["AutoScalingGroupState"]} == {"Deleted"}
    groups.create()
    groups.call(delete)
    assert groups.client.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_a_lifetime_and_a_maintenance_policy_say_when_and_how_instances_are_replaced(api, groups):
    update = groups.client.update_auto_scaling_group
    kept = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 150}
    groups.create(DesiredCapacity=2, MaxInstanceLifetime=86_400, InstanceMaintenancePolicy=kept)
    assert (groups.shown()["MaxInstanceLifetime"], groups.shown()["InstanceMaintenancePolicy"]) == (86_400, kept)
    old = groups.up()
    groups.now += timedelta(days=1)
    groups.run()
    assert sorted(groups.states().values()) == ["InService", "InService", "Pending"]
    groups.up()
    assert sorted(groups.states().values()) == ["InService", "InService", "Terminating"]
    groups.up()
    groups.up()
    assert not {*old} & {one for one, state in groups.states().items() if state == "InService"}
    assert "maximum instance lifetime" in " ".join(one["Cause"] for one in groups.activities())

    sick, _ = groups.up()
    groups.client.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    groups.run()
    assert groups.states()[sick] == "InService"
    groups.up()
    assert groups.states()[sick] == "Terminating"
    cleared = {"MinHealthyPercentage": -1, "MaxHealthyPercentage": -1}
    groups.call(update, MaxInstanceLifetime=0, InstanceMaintenancePolicy=cleared)
    assert not {"MaxInstanceLifetime", "InstanceMaintenancePolicy"} & groups.shown().keys()
    for given in ((-1, 100), (101, 150), (0, 150), (90, 99), (100, 201), (90, None)):
        names = ("MinHealthyPercentage", "MaxHealthyPercentage")
        policy = {name: value for name, value in zip(names, given, strict=True) if value is not None}
        api.refused("ValidationError", update, AutoScalingGroupName=NAME, InstanceMaintenancePolicy=policy)
    for lifetime in (-1, 86_399, 31_536_001):
        api.refused("ValidationError", update, AutoScalingGroupName=NAME, MaxInstanceLifetime=lifetime)


def test_instances_go_to_the_subnets_and_the_placement_group_of_their_group(api, groups):
    [subnet] = api.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": ["us-east-1a"]}])["Subnets"]
    api.ec2.create_placement_group(GroupName="near", Strategy="cluster")
    groups.create(AvailabilityZones=None, VPCZoneIdentifier=subnet["SubnetId"], PlacementGroup="near", Context="c")
    shown = groups.shown()
    assert (shown["VPCZoneIdentifier"], shown["AvailabilityZones"]) == (subnet["SubnetId"], ["us-east-1a"])
    assert (shown["PlacementGroup"], shown["Context"]) == ("near", "c")
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    [one] = groups.up()
    instance = described(api, one)
    assert (instance["SubnetId"], instance["Placement"]["GroupName"]) == (subnet["SubnetId"], "near")
    mismatch = {"VPCZoneIdentifier": subnet["SubnetId"], "AvailabilityZones": ["us-east-1b"]}
    update = groups.client.update_auto_scaling_group
    assert "do not match" in api.refused("ValidationError", update, AutoScalingGroupName=NAME, **mismatch)


def test_what_has_no_room_in_one_zone_goes_to_another_and_is_not_moved_for_nothing(api, groups):
    groups.create(AvailabilityZones=["us-east-1a", "us-east-1b"], DesiredCapacity=2, MaxSize=3)
    groups.up()
    assert {one["AvailabilityZone"] for one in groups.shown()["Instances"]} == {"us-east-1a"}
    there = groups.states()
    assert {*there.values()} == {"InService"}
    groups.run()
    assert groups.states() == there  # the other zone has no host: it cannot be balanced again
    failed = [one for one in groups.activities() if one["StatusCode"] == "Failed"]
    assert len(failed) == 1
    groups.run()
    assert len([one for one in groups.activities() if one["StatusCode"] == "Failed"]) == 1
    groups.now += timedelta(minutes=2)
    groups.run()  # in vain again, of which it was told before
    assert len([one for one in groups.activities() if one["StatusCode"] == "Failed"]) == 1
    # What failed only to balance zones does not let it wait to replace what is lost.
    first = next(iter(groups.states()))
    groups.become("terminated", first)
    assert len([one for one, state in groups.states().items() if state == "Pending"]) == 1
    groups.up()
    host = rows.host(zone="us-east-1b")
    api.run(lambda tx: tx.session.add(host))
    groups.now += timedelta(minutes=6)
    groups.up()
    groups.up()
    serving = [one for one in groups.shown()["Instances"] if one["LifecycleState"] == "InService"]
    assert {one["AvailabilityZone"] for one in serving} == {"us-east-1a", "us-east-1b"}
    told = [re.sub(r"At \d{4}-[^ ]+Z", "At T", one["Cause"]) for one in groups.activities()]
    assert (
        "At T availability zones us-east-1a us-east-1b had 2 0 instances respectively. An instance was launched to aid "
        "in balancing the group's zones."
    ) in told
    ended = (
        "At T instances were launched to balance instances in zones us-east-1b with other zones resulting in more than "
        "desired number of instances in the group.  At T an instance was taken out of service in response to a "
        "difference between desired and actual capacity, shrinking the capacity from 3 to 2.  At T instance "
    )
    assert any(one.startswith(ended) for one in told)


def test_a_cooldown_is_honoured_if_that_is_asked(api, groups):
    groups.create(DesiredCapacity=1, DefaultCooldown=3600)
    groups.up()
    change = groups.client.set_desired_capacity
    asked = {"AutoScalingGroupName": NAME, "DesiredCapacity": 2, "HonorCooldown": True}
    api.refused("ScalingActivityInProgress", change, **asked)
    groups.call(groups.client.update_auto_scaling_group, DefaultCooldown=0)
    change(**asked)
    assert groups.shown()["DesiredCapacity"] == 2
    below = {"AutoScalingGroupName": NAME, "DesiredCapacity": -1}
    assert "below min value 0" in api.refused("ValidationError", change, **below)


@pytest.mark.parametrize("by", ["LaunchTemplateId", "LaunchTemplateName"])
@pytest.mark.parametrize("version", [None, "1"])
def test_a_group_shows_both_names_of_its_template(api, groups, by, version):
    """Terraform's provider crashes where one is missing."""
    [template] = api.ec2.describe_launch_templates()["LaunchTemplates"]
    both = {name: template[name] for name in ("LaunchTemplateId", "LaunchTemplateName")}
    given = {by: both[by]} if version is None else {by: both[by], "Version": version}
    groups.create(LaunchTemplate=given)
    assert groups.shown()["LaunchTemplate"] == {**both, "Version": version or "$Default"}


def test_a_group_stays_with_its_template_when_another_has_its_name(api, groups):
    groups.create(DesiredCapacity=1)
    kept = groups.shown()["LaunchTemplate"]["LaunchTemplateId"]
    api.ec2.delete_launch_template(LaunchTemplateName="web")
    data = {"ImageId": api.world.image_id, "InstanceType": "stead.small"}
    api.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
    assert groups.shown()["LaunchTemplate"]["LaunchTemplateId"] == kept
    groups.run()
    assert groups.states() == {}
    assert groups.activities()[0]["StatusCode"] == "Failed"
