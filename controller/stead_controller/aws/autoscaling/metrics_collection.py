"""Which metrics of a group are collected."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.scaling import group_metrics, metrics_collection

_NAME: Final = "AutoScalingGroupName"


@operation("EnableMetricsCollection", service="autoscaling")
def enable_metrics_collection(call: Call, params: Params) -> Result:
    """Have metrics of a group collected each minute."""
    metrics_collection.enable(call.tx, call.caller, params[_NAME], params.get("Metrics", ()), params["Granularity"])
    return {}


@operation("DisableMetricsCollection", service="autoscaling")
def disable_metrics_collection(call: Call, params: Params) -> Result:
    """Have metrics of a group collected no more."""
    metrics_collection.disable(call.tx, call.caller, params[_NAME], params.get("Metrics", ()))
    return {}


@operation("DescribeMetricCollectionTypes", service="autoscaling", writes=False)
def describe_metric_collection_types(call: Call, params: Params) -> Result:
    """List which metrics of groups can be collected, and how often."""
    del call, params
    return {
        "Metrics": [{"Metric": name} for name in group_metrics.METRICS],
        "Granularities": [{"Granularity": group_metrics.GRANULARITY}],
    }
