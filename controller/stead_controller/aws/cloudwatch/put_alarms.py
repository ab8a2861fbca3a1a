"""PutMetricAlarm and PutCompositeAlarm."""

from collections.abc import Iterable
from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.cloudwatch.measures import metric_given, queries_given
from stead_controller.aws.cloudwatch.tags import tags_given
from stead_controller.errors import InvalidCombination, MissingParameter, Unsupported
from stead_controller.resources.metrics import alarms
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarms import AlarmRequest
from stead_controller.resources.metrics.measures import Measure

_UNBUILT: Final = {
    "ThresholdMetricId": "Anomaly detection",
    "EvaluationCriteria": "An alarm on PromQL",
    "EvaluationInterval": "An alarm on PromQL",
    "EvaluationWindow": "A window by the clock",
    "WarmUpConfiguration": "A warm-up of alarms",
    "ActionConfiguration": "The propagation of tags",
    "ActionsSuppressor": "The suppression of actions",
    "ActionsSuppressorWaitPeriod": "The suppression of actions",
    "ActionsSuppressorExtensionPeriod": "The suppression of actions",
}
_OF_ONE_METRIC: Final = ("Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")


@operation("PutMetricAlarm", service="cloudwatch")
def put_metric_alarm(call: Call, params: Params) -> Result:
    """Make or change an alarm on metrics."""
    _refuse_unbuilt(params)
    alarms.put_metric_alarm(call.tx, call.caller, call.cloud, _request(params), _definition(call, params), call.now)
    return {}


@operation("PutCompositeAlarm", service="cloudwatch")
def put_composite_alarm(call: Call, params: Params) -> Result:
    """Make or change an alarm on other alarms."""
    _refuse_unbuilt(params)
    alarms.put_composite_alarm(call.tx, call.caller, call.cloud, _request(params), params["AlarmRule"], call.now)
    return {}


def _request(params: Params) -> AlarmRequest:
    return AlarmRequest(
        name=params["AlarmName"],
        description=params.get("AlarmDescription"),
        actions_enabled=params.get("ActionsEnabled", True),
        actions={
            "OK": params.get("OKActions", ()),
            "ALARM": params.get("AlarmActions", ()),
            "INSUFFICIENT_DATA": params.get("InsufficientDataActions", ()),
        },
        tags=tags_given(params),
    )


def _definition(call: Call, params: Params) -> Definition:
    _require(params, ("EvaluationPeriods", "ComparisonOperator", "Threshold"))
    queries = params.get("Metrics")
    if queries and params.get("MetricName"):
        raise InvalidCombination("You must specify either MetricName or Metrics.")
    if queries:
        beside = [name for name in _OF_ONE_METRIC if params.get(name)]
        if beside:
            raise InvalidCombination(f"{beside[0]} cannot be used with Metrics.")
    return Definition(
        measure=None if queries else _measure(params),
        queries=queries_given(queries or (), call.caller.account_id),
        periods=params["EvaluationPeriods"],
        to_alarm=params.get("DatapointsToAlarm"),
        threshold=params["Threshold"],
        comparison=params["ComparisonOperator"],
        missing=params.get("TreatMissingData"),
        low_samples=params.get("EvaluateLowSampleCountPercentile"),
    )


def _measure(params: Params) -> Measure:
    metric = metric_given(params)
    _require(params, ("Period",))
    statistic, extended = params.get("Statistic"), params.get("ExtendedStatistic")
    if (statistic is None) == (extended is None):
        raise InvalidCombination("You must specify either Statistic or ExtendedStatistic.")
    return Measure(metric, str(statistic or extended), params["Period"], params.get("Unit"))


def _require(params: Params, names: Iterable[str]) -> None:
    for name in names:
        if params.get(name) is None:
            raise MissingParameter(name)


def _refuse_unbuilt(params: Params) -> None:
    for name, what in _UNBUILT.items():
        if params.get(name) is not None:
            raise Unsupported(f"{what} is not supported: the parameter {name}.")
