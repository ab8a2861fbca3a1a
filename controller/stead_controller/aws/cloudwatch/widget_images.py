"""GetMetricWidgetImage."""

from stead_controller.aws.call import Call, Later, Params, operation
from stead_controller.aws.cloudwatch.metric_data import rows_of
from stead_controller.errors import Unsupported
from stead_controller.metrics.datum import Store
from stead_controller.request.questions import OfMetrics
from stead_controller.resources.metrics import labels, readings, widget, widget_image


@operation("GetMetricWidgetImage", service="cloudwatch", writes=False)
def get_metric_widget_image(call: Call, params: Params) -> Later:
    """Draw the series of a widget."""
    if params.get("OutputFormat", "png") != "png":
        raise Unsupported('The parameter OutputFormat can only be "png" in this cloud.')
    asked = widget.parse(params["MetricWidget"], call.now, call.cloud.region)
    readings.check(asked.queries)
    for query in asked.queries:
        labels.check(query.label or "")
    account_id = call.caller.account_id

    async def draw(store: Store) -> bytes:
        found = await readings.read(store, account_id, asked.queries, asked.times, call.now)
        rows = [row for one in found if one.query.returned for row in rows_of(call, one, found)]
        return await widget_image.draw(asked.drawn(rows))

    return Later(OfMetrics(draw), lambda answer: {"MetricWidgetImage": answer.found})
