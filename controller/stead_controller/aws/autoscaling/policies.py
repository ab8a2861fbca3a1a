"""Scaling policies: put, described, executed and deleted."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.autoscaling.policy_view import alarm_views, policy_view
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.cloudwatch.measures import metric_given, queries_given
from stead_controller.errors import InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.metrics.measures import Measure
from stead_controller.resources.scaling import policies, policy_execution
from stead_controller.resources.scaling.policies import PolicySearch
from stead_controller.resources.scaling.policy import KINDS, SIMPLE, STEP, TRACKING, Adjusting, Policy, Tracking
from stead_controller.resources.scaling.policy_execution import Measured
from stead_controller.resources.scaling.step_adjustment import Step

_NAME: Final = "AutoScalingGroupName"
_PREDICTIVE: Final = "PredictiveScaling"
_BALANCED: Final = "ALBRequestCountPerTarget"
_TRACKED: Final = "TargetTrackingConfiguration"
_OF_KINDS: Final = (
    ("AdjustmentType", (SIMPLE, STEP)),
    ("MinAdjustmentMagnitude", (SIMPLE, STEP)),
    ("ScalingAdjustment", (SIMPLE,)),
    ("Cooldown", (SIMPLE,)),
    ("StepAdjustments", (STEP,)),
    ("MetricAggregationType", (STEP,)),
    ("EstimatedInstanceWarmup", (STEP, TRACKING)),
    (_TRACKED, (TRACKING,)),
)
_MOST: Final = 100
_DEFAULT: Final = 50
_PERIODS: Final = (10, 20, 30, 60)
_MINUTE: Final = 60


@operation("PutScalingPolicy", service="autoscaling")
def put_scaling_policy(call: Call, params: Params) -> Result:
    """Make or change a scaling policy."""
    enabled = params.get("Enabled", True)
    shown = policies.put(
        call.tx,
        call.caller,
        call.cloud,
        params[_NAME],
        params["PolicyName"],
        _policy(call, params),
        call.now,
        enabled=enabled,
    )
    return {"PolicyARN": shown.arn, "Alarms": alarm_views(call, shown)}


@operation("DescribePolicies", service="autoscaling", writes=False)
def describe_policies(call: Call, params: Params) -> Result:
    """List scaling policies."""
    page = describe.page(
        call, params, "DescribePolicies", size="MaxRecords", at_least=1, at_most=_MOST, default=_DEFAULT
    )
    asked = PolicySearch(params.get(_NAME), params.get("PolicyNames", ()), params.get("PolicyTypes", ()))
    limit = page.fetch or _DEFAULT
    found = policies.search(call.tx, call.caller, call.cloud, asked, after=page.after, limit=limit)
    shown, token = page.cut(found, lambda one: (one.group, one.name))
    return {"ScalingPolicies": [policy_view(call, one) for one in shown], "NextToken": token}


@operation("DeletePolicy", service="autoscaling")
def delete_policy(call: Call, params: Params) -> Result:
    """Delete a scaling policy, with the alarms that it has made."""
    policies.remove(call.tx, call.caller, params.get(_NAME), params["PolicyName"], call.now)
    return {}


@operation("ExecutePolicy", service="autoscaling")
def execute_policy(call: Call, params: Params) -> Result:
    """Have a scaling policy act."""
    value, threshold = params.get("MetricValue"), params.get("BreachThreshold")
    measured = None
    if value is not None and threshold is not None:
        measured = Measured([value], threshold)
    elif value is not None or threshold is not None:
        raise MissingParameter("BreachThreshold" if threshold is None else "MetricValue")
    policy_execution.execute(
        call.tx,
        call.caller,
        params.get(_NAME),
        params["PolicyName"],
        measured,
        call.now,
        honor_cooldown=params.get("HonorCooldown", False),
    )
    return {}


def _policy(call: Call, params: Params) -> Policy:
    kind = params.get("PolicyType", SIMPLE)
    if kind == _PREDICTIVE or params.get("PredictiveScalingConfiguration"):
        raise Unsupported("Predictive scaling is not supported: the parameter PredictiveScalingConfiguration.")
    if kind not in KINDS:
        raise InvalidParameter(f"PolicyType must be one of {', '.join(KINDS)}.")
    if params.get("MinAdjustmentStep") is not None:
        raise Unsupported("MinAdjustmentStep is not supported: MinAdjustmentMagnitude has its place.")
    for name, kinds in _OF_KINDS:
        if params.get(name) is not None and kind not in kinds:
            raise InvalidParameter(f"{name} is not valid for the policy type {kind}.")
    warmup = params.get("EstimatedInstanceWarmup")
    if kind == TRACKING:
        if not params.get(_TRACKED):
            raise MissingParameter(_TRACKED)
        return Policy(kind, tracking=_tracking(call, params[_TRACKED]), warmup=warmup)
    if params.get("AdjustmentType") is None:
        raise MissingParameter("AdjustmentType")
    return Policy(kind, adjusting=_adjusting(params), warmup=warmup)


def _adjusting(params: Params) -> Adjusting:
    return Adjusting(
        kind=params["AdjustmentType"],
        adjustment=params.get("ScalingAdjustment"),
        magnitude=params.get("MinAdjustmentMagnitude"),
        cooldown=params.get("Cooldown"),
        steps=tuple(
            Step(
                given.get("MetricIntervalLowerBound"),
                given.get("MetricIntervalUpperBound"),
                given["ScalingAdjustment"],
            )
            for given in params.get("StepAdjustments", ())
        ),
        aggregation=params.get("MetricAggregationType"),
    )


def _tracking(call: Call, given: Params) -> Tracking:
    predefined, custom = given.get("PredefinedMetricSpecification"), given.get("CustomizedMetricSpecification") or {}
    name = None if predefined is None else predefined["PredefinedMetricType"]
    if name == _BALANCED or (predefined or {}).get("ResourceLabel"):
        raise Unsupported(f"Load balancers are not supported: {_BALANCED} and ResourceLabel.")
    measure = None
    if any(custom.get(name) for name in ("MetricName", "Namespace", "Statistic", "Dimensions", "Unit")):
        if not custom.get("Statistic"):
            raise MissingParameter("Statistic")
        measure = Measure(
            metric_given(custom), custom["Statistic"], _period(custom.get("Period", _MINUTE)), custom.get("Unit")
        )
    elif custom.get("Period") is not None:
        raise InvalidParameter("Period is given beside a MetricName, or in MetricStat.")
    queries = queries_given(custom.get("Metrics", ()), call.caller.account_id, _MINUTE)
    for query in queries:
        if query.measure is not None:
            _period(query.measure.period)
    return Tracking(given["TargetValue"], name, measure, queries, not given.get("DisableScaleIn", False))


def _period(seconds: int) -> int:
    if seconds not in _PERIODS:
        raise InvalidParameter(f"Period must be one of {', '.join(map(str, _PERIODS))}.")
    return seconds
