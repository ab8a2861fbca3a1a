"""PutMetricData."""

from typing import Any

from stead_controller.aws.call import Call, Later, Params, operation
from stead_controller.aws.cloudwatch.measures import dimensions_given
from stead_controller.request.questions import OfMetrics
from stead_controller.resources.metrics import put_data
from stead_controller.resources.metrics.measures import metric_of
from stead_controller.resources.metrics.put_data import Given


@operation("PutMetricData", service="cloudwatch", writes=False)
def put_metric_data(call: Call, params: Params) -> Later:
    """Store data of metrics; an answer is given when they are stored."""
    namespace = params["Namespace"]
    given = [_given(namespace, one) for one in params.get("MetricData", ())]
    data = put_data.data_of(call.caller.account_id, namespace, given, call.now)
    return Later(OfMetrics(lambda store: store.add(data)), lambda _: {})


def _given(namespace: str, one: Params) -> Given:
    found: Any = one.get("StatisticValues")
    statistics = None if found is None else tuple(found[name] for name in ("SampleCount", "Sum", "Minimum", "Maximum"))
    return Given(
        metric=metric_of(namespace, one["MetricName"], dimensions_given(one)),
        at=one.get("Timestamp"),
        unit=one.get("Unit"),
        resolution=one.get("StorageResolution"),
        value=one.get("Value"),
        values=one.get("Values"),
        counts=one.get("Counts"),
        statistics=statistics,
    )
