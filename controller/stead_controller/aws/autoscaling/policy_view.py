"""Scaling policies as Auto Scaling shows them."""

from typing import Any

from stead_controller.aws.call import Call, Result
from stead_controller.aws.cloudwatch.measures import metric_view, query_view
from stead_controller.resources.metrics import alarms
from stead_controller.resources.scaling.policies import ShownPolicy
from stead_controller.resources.scaling.policy import AVERAGE, STEP, Adjusting, Tracking


def policy_view(call: Call, shown: ShownPolicy) -> Result:
    """Show a policy."""
    policy = shown.policy
    return {
        "AutoScalingGroupName": shown.group,
        "PolicyName": shown.name,
        "PolicyARN": shown.arn,
        "PolicyType": policy.kind,
        "StepAdjustments": [],
        **(_adjusting(policy.kind, policy.adjusting) if policy.adjusting is not None else {}),
        "EstimatedInstanceWarmup": policy.warmup,
        "Alarms": alarm_views(call, shown),
        "TargetTrackingConfiguration": None if policy.tracking is None else _tracking(policy.tracking),
        "Enabled": shown.enabled,
    }


def alarm_views(call: Call, shown: ShownPolicy) -> list[dict[str, str]]:
    """Show the alarms that have a policy act."""
    account_id = call.caller.account_id
    return [
        {"AlarmName": name, "AlarmARN": alarms.arn_of(call.cloud, account_id, name)} for name in sorted(shown.alarms)
    ]


def _adjusting(kind: str, adjusting: Adjusting) -> Result:
    return {
        "AdjustmentType": adjusting.kind,
        "MinAdjustmentMagnitude": adjusting.magnitude,
        "ScalingAdjustment": adjusting.adjustment,
        "Cooldown": adjusting.cooldown,
        "StepAdjustments": [
            {
                "MetricIntervalLowerBound": step.lower,
                "MetricIntervalUpperBound": step.upper,
                "ScalingAdjustment": step.adjustment,
            }
            for step in adjusting.steps
        ],
        "MetricAggregationType": (adjusting.aggregation or AVERAGE) if kind == STEP else None,
    }


def _tracking(tracking: Tracking) -> Result:
    shown: dict[str, Any] = {"TargetValue": tracking.target, "DisableScaleIn": not tracking.scales_in}
    if tracking.predefined is not None:
        shown["PredefinedMetricSpecification"] = {"PredefinedMetricType": tracking.predefined}
    elif tracking.measure is not None:
        one = tracking.measure
        shown["CustomizedMetricSpecification"] = {
            **metric_view(one.metric),
            "Statistic": one.statistic,
            "Unit": one.unit,
            "Period": one.period,
        }
    else:
        shown["CustomizedMetricSpecification"] = {"Metrics": [query_view(query) for query in tracking.queries]}
    return shown
