"""What a scaling policy may say, that it is read as it was written, and the alarms of target tracking."""

from dataclasses import replace

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.measures import Measure, Metric, Query
from stead_controller.resources.scaling.policy import (
    HIGH,
    LOW,
    PREDEFINED,
    SIMPLE,
    STEP,
    TRACKING,
    Adjusting,
    Policy,
    Tracking,
    definitions,
    read,
)  # fmt: skip
from stead_controller.resources.scaling.step_adjustment import Step

METRIC = Metric("Own", "load", (("a", "b"),))
MEASURE = Measure(METRIC, "Sum", 60, "Count")
QUERIES = (Query("a", MEASURE, returned=False), Query("e", expression="a * 2"))
CHANGE = Adjusting("ChangeInCapacity", 1)
STEPS = Adjusting("ChangeInCapacity", steps=(Step(0, None, 1),))
PERCENT = Adjusting("PercentChangeInCapacity", 10, magnitude=1)
POLICIES = [
    Policy(SIMPLE, CHANGE),
    Policy(SIMPLE, replace(CHANGE, cooldown=0)),
    Policy(SIMPLE, replace(CHANGE, adjustment=-1)),
    Policy(SIMPLE, PERCENT),
    Policy(SIMPLE, Adjusting("ExactCapacity", 0)),
    Policy(STEP, STEPS, warmup=0),
    Policy(STEP, replace(STEPS, aggregation="Maximum", steps=(Step(None, 0, -1), Step(0, 5.5, 1), Step(5.5, None, 2)))),
    Policy(TRACKING, tracking=Tracking(0.1, PREDEFINED[0]), warmup=10),
    Policy(TRACKING, tracking=Tracking(50, measure=MEASURE, scales_in=False)),
    Policy(TRACKING, tracking=Tracking(50, queries=QUERIES)),
]


@pytest.mark.parametrize("policy", POLICIES, ids=range(len(POLICIES)))
def test_what_is_written_is_read(policy: Policy) -> None:
    policy.check()
    assert read(policy.text()) == policy


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(SIMPLE, CHANGE, warmup=-1), "EstimatedInstanceWarmup"),
        (Policy(SIMPLE, replace(CHANGE, kind="Other")), "AdjustmentType"),
        (Policy(SIMPLE, replace(CHANGE, magnitude=1)), "MinAdjustmentMagnitude"),
        (Policy(SIMPLE, replace(PERCENT, magnitude=0)), "MinAdjustmentMagnitude"),
        (Policy(SIMPLE, replace(CHANGE, cooldown=-1)), "Cooldown"),
        (Policy(SIMPLE, replace(CHANGE, adjustment=None)), "ScalingAdjustment"),
        (Policy(SIMPLE, Adjusting("ExactCapacity", -1)), "negative"),
        (Policy(STEP, replace(STEPS, steps=())), "StepAdjustments"),
        (Policy(STEP, replace(STEPS, aggregation="Sum")), "MetricAggregationType"),
        (Policy(STEP, replace(STEPS, steps=(Step(0, 5, 1),))), "null upper bound"),
        (Policy(TRACKING, tracking=Tracking(0, PREDEFINED[0])), "TargetValue"),
        (Policy(TRACKING, tracking=Tracking(float("nan"), PREDEFINED[0])), "TargetValue"),
        (Policy(TRACKING, tracking=Tracking(1)), "predefined metric, or"),
        (Policy(TRACKING, tracking=Tracking(1, PREDEFINED[0], MEASURE)), "predefined metric, or"),
        (Policy(TRACKING, tracking=Tracking(1, measure=MEASURE, queries=QUERIES)), "predefined metric, or"),
        (Policy(TRACKING, tracking=Tracking(1, "ASGTotal")), "not one of"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_refused(policy: Policy, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        policy.check()


def test_alarms_of_one_metric() -> None:
    found = definitions(Tracking(40.0, measure=MEASURE), "web")
    high, low = found[HIGH], found[LOW]
    assert high.measure == low.measure == MEASURE
    assert (high.periods, high.threshold, high.comparison) == (3, 40, "GreaterThanThreshold")
    assert (low.periods, low.threshold, low.comparison) == (15, 28, "LessThanThreshold")
    assert list(definitions(Tracking(40.0, measure=MEASURE, scales_in=False), "web")) == [HIGH]


@pytest.mark.parametrize(
    ("predefined", "name", "period", "low_periods"),
    [
        ("ASGAverageCPUUtilization", "CPUUtilization", 60, 15),
        ("ASGAverageCPUUtilizationHighResolution", "CPUUtilization", 10, 90),
        ("ASGAverageNetworkIn", "NetworkIn", 60, 15),
        ("ASGAverageNetworkOut", "NetworkOut", 60, 15),
    ],
)
def test_alarms_of_predefined_metrics(predefined: str, name: str, period: int, low_periods: int) -> None:
    found = definitions(Tracking(40.0, predefined), "web")
    metric = Metric("AWS/EC2", name, (("AutoScalingGroupName", "web"),))
    assert found[HIGH].measure == Measure(metric, "Average", period)
    assert (found[HIGH].periods, found[LOW].periods) == (3, low_periods)


def test_alarms_of_math_and_that_they_must_be_alarms() -> None:
    found = definitions(Tracking(40.0, queries=QUERIES), "web")
    assert (found[HIGH].measure, found[HIGH].queries, found[LOW].periods) == (None, QUERIES, 15)
    with pytest.raises(InvalidParameter, match="Exactly one"):
        definitions(Tracking(40.0, queries=(QUERIES[0],)), "web")
