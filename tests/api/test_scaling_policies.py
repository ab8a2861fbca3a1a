"""Scaling policies: what is taken and refused, their alarms, and what they do to a group when they act."""

import json
import re
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Alarm, Instance, ScalingInstance, ScalingPolicy
from stead_proto.v1 import desired_pb2 as pb
from tests.api.test_alarm_life import Life
from tests.api.test_instance_attributes import sent
from tests.support.scaling import NAME, Groups

ACCOUNT = "111111111111"
METRIC = {"Namespace": "Own", "MetricName": "load", "Dimensions": [{"Name": "q", "Value": "1"}]}
CUSTOM = {"CustomizedMetricSpecification": {**METRIC, "Statistic": "Average"}, "TargetValue": 50.0}
STEPS = [
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 2},
]


@pytest.fixture
def life(api):
    return Life(api)


@pytest.fixture
def groups(api, life):
    found = Groups(api)
    found.now = life.now
    found.create(MaxSize=4, DesiredCapacity=1, DefaultCooldown=60)
    found.up()
    return found


@pytest.fixture
def alarms(api):
    return api.client(api.world.one, "cloudwatch")


def put(groups, name="p", **more):
    return groups.call(groups.client.put_scaling_policy, PolicyName=name, **more)


def refused(groups, code, function, *args, **given):
    """The message of the refusal of a call."""
    return groups.api.refused(code, partial(function, *args), **given)


def track(groups, name="p", target=None, **more):
    return put(groups, name, PolicyType="TargetTrackingScaling", TargetTrackingConfiguration=target or CUSTOM, **more)


def desired(groups):
    return groups.shown()["DesiredCapacity"]


def policies(groups, **asked):
    return groups.client.describe_policies(**asked)["ScalingPolicies"]


def custom(life, value, minutes):
    """Put a value of the custom metric for each of the last minutes, and let alarms see it."""
    for minute in range(minutes):
        life.put(value, ago=60 * minute + 1, name="load", dimensions=(("q", "1"),), namespace="Own")
    life.later(12)


def test_a_simple_policy_is_put_shown_executed_and_deleted(api, groups):
    made = put(groups, AdjustmentType="ChangeInCapacity", ScalingAdjustment=2, Cooldown=30)
    arn = made["PolicyARN"]
    assert re.fullmatch(
        rf"arn:aws:autoscaling:us-east-1:{ACCOUNT}:scalingPolicy:[0-9a-f-]{{36}}:autoScalingGroupName/{NAME}:policyName/p",
        arn,
    )
    assert made["Alarms"] == []
    [shown] = policies(groups, AutoScalingGroupName=NAME)
    assert shown == {
        "AutoScalingGroupName": NAME,
        "PolicyName": "p",
        "PolicyARN": arn,
        "PolicyType": "SimpleScaling",
        "AdjustmentType": "ChangeInCapacity",
        "ScalingAdjustment": 2,
        "Cooldown": 30,
        "StepAdjustments": [],
        "Alarms": [],
        "Enabled": True,
    }
    for given, missing in (("MetricValue", "BreachThreshold"), ("BreachThreshold", "MetricValue")):
        told = api.refused("ValidationError", groups.client.execute_policy, PolicyName=arn, **{given: 50.0})
        assert missing in told
    groups.client.execute_policy(PolicyName=arn)
    assert desired(groups) == 3
    groups.run()
    cause = next(one["Cause"] for one in groups.activities() if "policy" in one["Cause"])
    assert "a user request executed policy p changing the desired capacity from 1 to 3." in cause
    groups.client.execute_policy(PolicyName="p", AutoScalingGroupName=NAME)
    assert desired(groups) == 4
    changed = put(groups, AdjustmentType="ExactCapacity", ScalingAdjustment=0)["PolicyARN"]
    assert changed == arn
    groups.client.execute_policy(PolicyName=arn)
    assert desired(groups) == 0
    groups.client.delete_policy(PolicyName=arn)
    assert policies(groups) == []
    assert "Cannot find" in api.refused("ValidationError", groups.client.delete_policy, PolicyName=arn)


def test_a_cooldown_that_is_honoured_and_activities_keep_a_simple_policy_from_acting(api, groups):
    put(groups, AdjustmentType="PercentChangeInCapacity", ScalingAdjustment=10, MinAdjustmentMagnitude=2)
    run = {"PolicyName": "p", "AutoScalingGroupName": NAME}
    client = groups.client
    assert "cooldown" in api.refused("ScalingActivityInProgress", client.execute_policy, HonorCooldown=True, **run)
    client.execute_policy(HonorCooldown=False, **run)
    assert desired(groups) == 3


def test_a_step_policy_takes_the_step_of_the_breach(api, groups):
    put(groups, PolicyType="StepScaling", AdjustmentType="ChangeInCapacity", StepAdjustments=STEPS)
    [shown] = policies(groups)
    assert shown["StepAdjustments"] == STEPS
    assert shown["MetricAggregationType"] == "Average"
    run = {"PolicyName": "p", "AutoScalingGroupName": NAME}
    assert "MetricValue" in api.refused("ValidationError", groups.client.execute_policy, **run)
    assert "MetricValue" in api.refused("ValidationError", groups.client.execute_policy, BreachThreshold=50, **run)
    assert "BreachThreshold" in api.refused("ValidationError", groups.client.execute_policy, MetricValue=50, **run)
    both = {"MetricValue": 80, "BreachThreshold": 50}
    assert "HonorCooldown" in api.refused(
        "ValidationError", groups.client.execute_policy, HonorCooldown=True, **both, **run
    )
    groups.client.execute_policy(MetricValue=40, BreachThreshold=50, **run)
    assert desired(groups) == 1
    api.run(lambda tx: tx.session.execute(in_service(groups.now - timedelta(minutes=5))))
    groups.client.execute_policy(MetricValue=50, BreachThreshold=50, **run)
    assert desired(groups) == 2
    groups.client.execute_policy(MetricValue=60, BreachThreshold=50, **run)
    assert desired(groups) == 2, "the same step adds once"
    groups.client.execute_policy(MetricValue=70, BreachThreshold=50, **run)
    assert desired(groups) == 3


def in_service(since):
    return update(ScalingInstance).values(in_service=since)


def test_target_tracking_makes_aws_alarms_and_takes_them_away(api, groups, alarms):
    made = track(groups, EstimatedInstanceWarmup=60)
    names = [one["AlarmName"] for one in made["Alarms"]]
    assert [re.sub(r"[0-9a-f-]{36}$", "U", name) for name in names] == [
        f"TargetTracking-{NAME}-AlarmHigh-U",
        f"TargetTracking-{NAME}-AlarmLow-U",
    ]
    high, low = alarms.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert (high["Threshold"], high["ComparisonOperator"], high["EvaluationPeriods"]) == (50, "GreaterThanThreshold", 3)
    assert (low["Threshold"], low["ComparisonOperator"], low["EvaluationPeriods"]) == (35, "LessThanThreshold", 15)
    assert high["AlarmActions"] == low["AlarmActions"] == [made["PolicyARN"]]
    [shown] = policies(groups, PolicyNames=[made["PolicyARN"]])
    assert shown["Alarms"] == made["Alarms"]
    assert shown["TargetTrackingConfiguration"] == {
        "CustomizedMetricSpecification": {**CUSTOM["CustomizedMetricSpecification"], "Period": 60},
        "TargetValue": 50.0,
        "DisableScaleIn": False,
    }
    again = track(groups, target={**CUSTOM, "TargetValue": 20.0, "DisableScaleIn": True}, Enabled=False)
    assert [one["AlarmName"] for one in again["Alarms"]] == names[:1]
    [only] = alarms.describe_alarms()["MetricAlarms"]
    assert (only["Threshold"], only["ActionsEnabled"]) == (20, False)
    alarms.delete_alarms(AlarmNames=names[:1])
    groups.client.delete_policy(PolicyName="p", AutoScalingGroupName=NAME)
    track(groups)
    groups.call(groups.client.delete_auto_scaling_group, ForceDelete=True)
    assert alarms.describe_alarms()["MetricAlarms"] == []


def test_predefined_metrics_and_math(groups, alarms):
    predefined = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}}
    track(groups, target={**predefined, "TargetValue": 40.0})
    [high, _] = alarms.describe_alarms()["MetricAlarms"]
    assert (high["Namespace"], high["MetricName"], high["Period"]) == ("AWS/EC2", "CPUUtilization", 60)
    assert high["Dimensions"] == [{"Name": "AutoScalingGroupName", "Value": NAME}]
    predefined = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilizationHighResolution"}}
    track(groups, target={**predefined, "TargetValue": 40.0})
    [high, low] = alarms.describe_alarms()["MetricAlarms"]
    assert (high["Period"], high["EvaluationPeriods"], low["EvaluationPeriods"]) == (10, 3, 90)
    metrics = [
        {"Id": "a", "MetricStat": {"Metric": METRIC, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "e", "Expression": "a / 2", "ReturnData": True},
    ]
    track(groups, target={"CustomizedMetricSpecification": {"Metrics": metrics}, "TargetValue": 5.0})
    [high, _] = alarms.describe_alarms()["MetricAlarms"]
    assert [one["Id"] for one in high["Metrics"]] == ["a", "e"]
    [shown] = policies(groups)
    told = shown["TargetTrackingConfiguration"]["CustomizedMetricSpecification"]["Metrics"]
    assert told[0]["MetricStat"] == {"Metric": METRIC, "Stat": "Sum", "Period": 60}
    assert told[1]["Expression"] == "a / 2"


def test_a_metric_above_its_target_scales_out_and_one_below_scales_in(api, groups, life):
    track(groups, EstimatedInstanceWarmup=60)
    custom(life, 120, 3)
    assert desired(groups) == 1, "what warms up does not count"
    life.later(70)
    custom(life, 120, 3)
    assert desired(groups) == 3
    groups.now = life.now
    groups.up()
    told = [one["Cause"] for one in groups.activities() if "monitor alarm" in one["Cause"]]
    assert len(told) == 2
    assert re.search(
        rf"a monitor alarm TargetTracking-{NAME}-AlarmHigh-\S+ in state ALARM triggered policy p changing the desired "
        r"capacity from 1 to 3\.  At \S+ an instance was started in response to a difference",
        told[0],
    )
    history = api.client(api.world.one, "cloudwatch").describe_alarm_history(HistoryItemType="Action")
    assert len(history["AlarmHistoryItems"]) == 1
    life.later(70)
    custom(life, 120, 3)
    life.later(60)
    assert desired(groups) == 4, "while the state stays, the policy acts again, up to the maximum"
    groups.now = life.now
    groups.up()
    life.now += timedelta(minutes=20)
    custom(life, 10, 16)
    assert desired(groups) == 1


def test_all_policies_must_be_low_to_scale_in(groups, life):
    track(groups, EstimatedInstanceWarmup=0)
    other = {"CustomizedMetricSpecification": {**METRIC, "MetricName": "other", "Statistic": "Sum"}, "TargetValue": 5.0}
    track(groups, "other", other)
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=3)
    groups.up()
    life.now += timedelta(minutes=5)
    custom(life, 1, 16)
    assert desired(groups) == 3
    track(groups, "other", {**other, "DisableScaleIn": True})
    life.later(70)
    custom(life, 1, 16)
    assert desired(groups) == 1


def test_instances_are_measured_closely_while_a_policy_asks_for_it(api, groups):
    def closely():
        return [sent(api, pb.KIND_MACHINE, one).machine.metadata.measured_closely for one in groups.states()]

    predefined = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}}
    track(groups, target={**predefined, "TargetValue": 40.0})
    assert closely() == [False]
    predefined = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilizationHighResolution"}}
    track(groups, target={**predefined, "TargetValue": 40.0})
    track(
        groups,
        "own",
        {"CustomizedMetricSpecification": {**METRIC, "Statistic": "Sum", "Period": 10}, "TargetValue": 1.0},
    )
    assert closely() == [True]
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=2)
    groups.up()
    assert closely() == [True, True]
    first, _ = groups.states()
    groups.call(groups.client.detach_instances, InstanceIds=[first], ShouldDecrementDesiredCapacity=True)
    assert not sent(api, pb.KIND_MACHINE, first).machine.metadata.measured_closely
    groups.call(groups.client.attach_instances, InstanceIds=[first])
    assert closely() == [True, True]
    groups.call(groups.client.delete_policy, PolicyName="p")
    assert closely() == [False, False]


@pytest.mark.parametrize("how", ["disabled", "suspended"])
def test_a_policy_that_is_disabled_or_a_group_that_does_not_listen_stays(groups, life, how):
    put(groups, AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Enabled=how != "disabled")
    if how == "suspended":
        groups.call(groups.client.suspend_processes, ScalingProcesses=["AlarmNotification"])
    watch(groups, life)
    life.now += timedelta(minutes=5)
    custom(life, 120, 3)
    assert desired(groups) == 1


def watch(groups, life, name="p"):
    """Have an alarm of a user's own act by a policy."""
    arn = policies(groups, PolicyNames=[name])[0]["PolicyARN"]
    watch_by(groups.api.client(groups.api.world.one, "cloudwatch"), arn)


def watch_by(client, arn):
    client.put_metric_alarm(
        AlarmName="own", **METRIC, Statistic="Average", Period=60, EvaluationPeriods=1, Threshold=50,
        ComparisonOperator="GreaterThanThreshold", AlarmActions=[arn],
    )  # fmt: skip


def test_an_alarm_of_ones_own_has_a_simple_policy_act_again_and_again(groups, life):
    put(groups, AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=200)
    watch(groups, life)
    assert [one["AlarmName"] for one in policies(groups)[0]["Alarms"]] == ["own"]
    life.now += timedelta(minutes=5)
    custom(life, 120, 3)
    assert desired(groups) == 2
    groups.now = life.now
    groups.run()
    custom(life, 120, 1)
    life.later(70)
    assert desired(groups) == 2, "it is launching: a simple policy waits"
    groups.now = life.now
    groups.up()
    custom(life, 120, 1)
    life.later(70)
    assert desired(groups) == 2, "the cooldown has begun with the end of the activity"
    life.now += timedelta(seconds=200)
    custom(life, 120, 1)
    assert desired(groups) == 3


def test_only_policies_act_again_while_a_state_stays(api, groups, life, alarms):
    put(groups, AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=0)
    arn = policies(groups)[0]["PolicyARN"]
    [instance] = groups.states()
    dimensions = [{"Name": "InstanceId", "Value": instance}]
    own = {
        "AlarmName": "own", "Namespace": "AWS/EC2", "MetricName": "CPUUtilization", "Dimensions": dimensions,
        "Statistic": "Average", "Period": 60, "EvaluationPeriods": 1, "Threshold": 50,
        "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip

    def load():
        life.put(90, ago=1, dimensions=(("InstanceId", instance),))
        life.later(12)

    def reboots():
        return api.run(lambda tx: tx.session.get(Instance, instance).reboot_count)

    alarms.put_metric_alarm(**own)
    load()
    assert life.state() == "ALARM"
    alarms.put_metric_alarm(**own, AlarmActions=[arn])
    load()
    assert desired(groups) == 2, "it acts though the state was there before"
    alarms.put_metric_alarm(**own, AlarmActions=["arn:aws:automate:us-east-1:ec2:reboot", arn])
    life.later(70)
    load()
    assert (desired(groups), reboots()) == (3, 0)


def test_an_alarm_whose_state_was_set_tells_a_step_policy_of_the_breach(api, groups, life, alarms):
    put(groups, PolicyType="StepScaling", AdjustmentType="ChangeInCapacity", StepAdjustments=STEPS,
        MetricAggregationType="Maximum", EstimatedInstanceWarmup=0)  # fmt: skip
    watch(groups, life)
    state = {"AlarmName": "own", "StateValue": "ALARM", "StateReason": "r"}
    life.now += timedelta(minutes=1)
    alarms.set_alarm_state(**state)
    life.run()
    assert desired(groups) == 1
    failed = alarms.describe_alarm_history(HistoryItemType="Action")["AlarmHistoryItems"][0]
    assert "recentDatapoints" in failed["HistoryData"]
    alarms.set_alarm_state(AlarmName="own", StateValue="OK", StateReason="r")
    data = json.dumps({"recentDatapoints": [10.0, 75.0, 20.0], "threshold": 50})
    alarms.set_alarm_state(**state, StateReasonData=data)
    life.run()
    assert desired(groups) == 3


SIMPLE = {"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1}
STEPPED = {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS}
TRACKED = {"PolicyType": "TargetTrackingScaling", "TargetTrackingConfiguration": CUSTOM}
NO_POLICIES = (
    ("ValidationError", "AdjustmentType", {"ScalingAdjustment": 1}),
    ("ValidationError", "ScalingAdjustment must", {"AdjustmentType": "ChangeInCapacity"}),
    ("ValidationError", "AdjustmentType must be", {"AdjustmentType": "Double", "ScalingAdjustment": 1}),
    ("ValidationError", "negative", {"AdjustmentType": "ExactCapacity", "ScalingAdjustment": -1}),
    ("ValidationError", "PolicyType must", {"PolicyType": "Other"}),
    (
        "ValidationError",
        "StepAdjustments must",
        {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity"},
    ),
    (
        "ValidationError",
        "StepAdjustments is not valid",
        {"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1, "StepAdjustments": STEPS},
    ),
    (
        "ValidationError",
        "MinAdjustmentMagnitude",
        {"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1, "MinAdjustmentMagnitude": 2},
    ),
    ("ValidationError", "TargetTrackingConfiguration", {"PolicyType": "TargetTrackingScaling"}),
    ("UnsupportedOperation", "Predictive", {"PolicyType": "PredictiveScaling"}),
    ("ValidationError", "Cooldown is not valid", {**STEPPED, "Cooldown": 1}),
    ("ValidationError", "ScalingAdjustment is not valid", {**STEPPED, "ScalingAdjustment": 1}),
    ("ValidationError", "MetricAggregationType is not valid", {**SIMPLE, "MetricAggregationType": "Average"}),
    ("ValidationError", "EstimatedInstanceWarmup is not valid", {**SIMPLE, "EstimatedInstanceWarmup": 1}),
    ("ValidationError", "TargetTrackingConfiguration is not valid", {**SIMPLE, "TargetTrackingConfiguration": CUSTOM}),
    ("ValidationError", "AdjustmentType is not valid", {**TRACKED, "AdjustmentType": "ChangeInCapacity"}),
    ("ValidationError", "MinAdjustmentMagnitude is not valid", {**TRACKED, "MinAdjustmentMagnitude": 1}),
    (
        "UnsupportedOperation",
        "MinAdjustmentMagnitude has its place",
        {"AdjustmentType": "PercentChangeInCapacity", "ScalingAdjustment": 1, "MinAdjustmentStep": 2},
    ),
)


def test_what_is_no_policy(groups):
    for code, words, given in NO_POLICIES:
        assert words in refused(groups, code, put, groups, **given)


NO_TARGETS = (
    ("ValidationError", "greater than 0", {"TargetValue": 0.0}),
    ("ValidationError", "predefined metric, or", {"CustomizedMetricSpecification": {}}),
    (
        "ValidationError",
        "predefined metric, or",
        {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageNetworkIn"}},
    ),
    (
        "ValidationError",
        "Period must be one of 10, 20, 30, 60",
        {"CustomizedMetricSpecification": {**METRIC, "Statistic": "Sum", "Period": 7}},
    ),
    (
        "ValidationError",
        "Period must be one of 10, 20, 30, 60",
        {
            "CustomizedMetricSpecification": {
                "Metrics": [{"Id": "m", "MetricStat": {"Metric": METRIC, "Stat": "Sum", "Period": 7}}]
            }
        },
    ),
    ("ValidationError", "Period is given beside a MetricName", {"CustomizedMetricSpecification": {"Period": 60}}),
    (
        "UnsupportedOperation",
        "Load balancers",
        {
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "ASGAverageCPUUtilization",
                "ResourceLabel": "app/front/1/targetgroup/web/2",
            }
        },
    ),
    ("ValidationError", "Statistic", {"CustomizedMetricSpecification": METRIC}),
    (
        "UnsupportedOperation",
        "Load balancers",
        {"PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}},
    ),
)


def test_what_is_no_target(groups):
    for code, words, changes in NO_TARGETS:
        assert words in refused(groups, code, track, groups, target={**CUSTOM, **changes})


def test_policies_are_found_by_page_name_and_type_and_there_are_only_so_many(api, groups):
    simple = {"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1}
    for number in range(50):
        put(groups, f"p{number:02}", **simple)
    assert "at most 50" in refused(groups, "LimitExceeded", put, groups, "more", **simple)
    pages = groups.client.get_paginator("describe_policies").paginate(PaginationConfig={"PageSize": 20})
    assert [len(page["ScalingPolicies"]) for page in pages] == [20, 20, 10]
    groups.create(AutoScalingGroupName="another")
    groups.client.put_scaling_policy(AutoScalingGroupName="another", PolicyName="a", **simple)
    assert len(policies(groups, MaxRecords=100)) == 51
    assert [one["PolicyName"] for one in policies(groups, PolicyNames=["p07", "absent"])] == ["p07"]
    assert policies(groups, PolicyTypes=["StepScaling"]) == []
    assert "type" in refused(groups, "ValidationError", track, groups, "p07")
    assert "not found" in refused(groups, "ValidationError", policies, groups, AutoScalingGroupName="absent")
    assert "ARN" in api.refused("ValidationError", groups.client.execute_policy, PolicyName="p07")


def test_nothing_of_another_account_is_found_by_its_arn(api, groups):
    arn = put(groups, AdjustmentType="ChangeInCapacity", ScalingAdjustment=1)["PolicyARN"]
    theirs = api.client(api.world.other, "autoscaling")
    for call in (theirs.execute_policy, theirs.delete_policy):
        api.refused("ValidationError", call, PolicyName=arn)
    assert theirs.describe_policies(PolicyNames=[arn])["ScalingPolicies"] == []
    assert theirs.describe_policies()["ScalingPolicies"] == []
    put_alarm = partial(watch_by, api.client(api.world.other, "cloudwatch"), arn)
    assert "not supported" in api.refused("UnsupportedOperation", put_alarm)
    assert api.run(lambda tx: tx.session.query(ScalingPolicy).count()) == 1
    assert api.run(lambda tx: tx.session.query(Alarm).count()) == 0
