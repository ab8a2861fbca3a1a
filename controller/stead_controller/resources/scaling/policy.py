"""What a scaling policy says, whether it may say it, and the alarms of target tracking. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from stead_controller.catalog.metric_names import EC2, GROUP
from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.alarm_definition import Definition, read_measure
from stead_controller.resources.metrics.measures import Measure, Metric, Query
from stead_controller.resources.scaling import step_adjustment
from stead_controller.resources.scaling.step_adjustment import ADJUSTMENT_TYPES, EXACT, PERCENT, Step

SIMPLE: Final = "SimpleScaling"
STEP: Final = "StepScaling"
TRACKING: Final = "TargetTrackingScaling"
KINDS: Final = (SIMPLE, STEP, TRACKING)

AVERAGE: Final = "Average"
AGGREGATIONS: Final = ("Minimum", "Maximum", AVERAGE)

HIGH: Final[str] = "AlarmHigh"
LOW: Final[str] = "AlarmLow"

_HIGH_RESOLUTION: Final = "HighResolution"
_PREDEFINED: Final = (
    ("ASGAverageCPUUtilization", "CPUUtilization"),
    (f"ASGAverageCPUUtilization{_HIGH_RESOLUTION}", "CPUUtilization"),
    ("ASGAverageNetworkIn", "NetworkIn"),
    ("ASGAverageNetworkOut", "NetworkOut"),
)
PREDEFINED: Final = tuple(name for name, _ in _PREDEFINED)
"""Metrics that a target tracking policy names without their namespace."""

_MINUTE: Final = 60
_SHORTEST: Final = 10
_HIGH_PERIODS: Final = 3
_LOW_MINUTES: Final = 15
_LOW_SHARE: Final = 0.7
"""AWS's: an EC2 group scales in when the metric is that much of the target for a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Adjusting:
    """How a simple or a step scaling policy adjusts; `steps` are those of a step scaling policy, times in seconds."""

    kind: str
    adjustment: int | None = None
    magnitude: int | None = None
    cooldown: int | None = None
    steps: tuple[Step, ...] = ()
    aggregation: str | None = None


@dataclass(frozen=True, slots=True)
class Tracking:
    """The metric of a target tracking policy, one of three ways, its target, and whether it scales in too."""

    target: float
    predefined: str | None = None
    measure: Measure | None = None
    queries: tuple[Query, ...] = ()
    scales_in: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of one of KINDS; `warmup` is in seconds, None for the group's."""

    kind: str
    adjusting: Adjusting | None = None
    tracking: Tracking | None = None
    warmup: int | None = None

    def check(self) -> None:
        """Raise InvalidParameter for what PutScalingPolicy is refused with."""
        if self.warmup is not None and self.warmup < 0:
            raise InvalidParameter("EstimatedInstanceWarmup must not be negative.")
        if self.tracking is not None:
            _check_tracking(self.tracking)
        elif self.adjusting is not None:
            _check_adjusting(self.kind, self.adjusting)

    def text(self) -> str:
        """Return it as JSON, as it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read(text: str) -> Policy:
    """Return the policy of a stored text."""
    found = json.loads(text)
    adjusting, tracking = found["adjusting"], found["tracking"]
    return Policy(
        found["kind"],
        None if adjusting is None else _adjusting(adjusting),
        None if tracking is None else _tracking(tracking),
        found["warmup"],
    )


def definitions(tracking: Tracking, group: str) -> dict[str, Definition]:
    """Return what the alarms of a target tracking policy watch, by HIGH and LOW; raises InvalidParameter and others.

    The metric is above its target for three periods, or clearly below it for a quarter of an hour.
    """
    high = Definition(
        measure=_measure(tracking, group),
        queries=tracking.queries,
        periods=_HIGH_PERIODS,
        to_alarm=None,
        threshold=tracking.target,
        comparison="GreaterThanThreshold",
    )
    found = {HIGH: high}
    if tracking.scales_in:
        found[LOW] = Definition(
            measure=high.measure,
            queries=high.queries,
            periods=_LOW_MINUTES * _MINUTE // min(high.period, _MINUTE),
            to_alarm=None,
            threshold=tracking.target * _LOW_SHARE,
            comparison="LessThanThreshold",
        )
    for one in found.values():
        one.check()
    return found


def _measure(tracking: Tracking, group: str) -> Measure | None:
    if tracking.predefined is None:
        return tracking.measure
    name = dict(_PREDEFINED)[tracking.predefined]
    period = _SHORTEST if tracking.predefined.endswith(_HIGH_RESOLUTION) else _MINUTE
    return Measure(Metric(EC2, name, ((GROUP, group),)), AVERAGE, period)


def _adjusting(found: dict[str, Any]) -> Adjusting:
    return Adjusting(**{**found, "steps": tuple(Step(**step) for step in found["steps"])})


def _tracking(found: dict[str, Any]) -> Tracking:
    queries = tuple(Query(**{**one, "measure": read_measure(one["measure"])}) for one in found["queries"])
    return Tracking(**{**found, "measure": read_measure(found["measure"]), "queries": queries})


def _check_tracking(tracking: Tracking) -> None:
    if not tracking.target > 0:
        raise InvalidParameter("TargetValue must be greater than 0.")
    if sum((tracking.predefined is not None, tracking.measure is not None, bool(tracking.queries))) != 1:
        raise InvalidParameter(
            "A target tracking policy has a predefined metric, or a customized one: a MetricName or Metrics."
        )
    if tracking.predefined is not None and tracking.predefined not in PREDEFINED:
        raise InvalidParameter(f"The predefined metric {tracking.predefined} is not one of {', '.join(PREDEFINED)}.")


def _check_adjusting(kind: str, adjusting: Adjusting) -> None:
    if adjusting.kind not in ADJUSTMENT_TYPES:
        raise InvalidParameter(f"AdjustmentType must be one of {', '.join(ADJUSTMENT_TYPES)}.")
    if adjusting.magnitude is not None and (adjusting.kind != PERCENT or adjusting.magnitude < 1):
        raise InvalidParameter(f"MinAdjustmentMagnitude is of {PERCENT}, and greater than 0.")
    if adjusting.cooldown is not None and adjusting.cooldown < 0:
        raise InvalidParameter("Cooldown must not be negative.")
    if kind == STEP:
        if not adjusting.steps:
            raise InvalidParameter(f"StepAdjustments must be specified for the policy type {STEP}.")
        if adjusting.aggregation is not None and adjusting.aggregation not in AGGREGATIONS:
            raise InvalidParameter(f"MetricAggregationType must be one of {', '.join(AGGREGATIONS)}.")
        step_adjustment.check(adjusting.steps, adjusting.kind)
    elif adjusting.adjustment is None:
        raise InvalidParameter(f"ScalingAdjustment must be specified for the policy type {SIMPLE}.")
    elif adjusting.kind == EXACT and adjusting.adjustment < 0:
        raise InvalidParameter("An exact capacity must not be negative.")
