"""GetMetricData, GetMetricStatistics and ListMetrics."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Later, Params, Result, operation
from stead_controller.aws.cloudwatch.measures import (
    identity_key,
    identity_of_key,
    metric_given,
    metric_view,
    queries_given,
)
from stead_controller.errors import BadRequest, InvalidParameter
from stead_controller.metrics.datum import Filter, Identity
from stead_controller.request.questions import HostAnswer, OfMetrics
from stead_controller.resources.metrics import labels, readings, statistic_readings
from stead_controller.resources.metrics.measures import Measure, Metric
from stead_controller.resources.metrics.readings import Reading

_PAGE: Final = 500
_RECENTLY: Final = timedelta(hours=3)


@operation("GetMetricData", service="cloudwatch", writes=False)
def get_metric_data(call: Call, params: Params) -> Later:
    """Read the series of queries, in pages of data points."""
    account_id = call.caller.account_id
    queries = queries_given(params["MetricDataQueries"], account_id)
    readings.check(queries)
    for query in queries:
        labels.check(query.label or "")
    start, end = params["StartTime"], params["EndTime"]
    if start >= end:
        raise InvalidParameter("StartTime must be before EndTime.")
    newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    page = describe.page(
        call,
        params,
        "GetMetricData",
        size="MaxDatapoints",
        at_least=1,
        at_most=readings.MAX_POINTS,
        default=readings.MAX_POINTS,
    )
    begun = int(page.after[0]) if page.after else 0

    def finish(answer: HostAnswer) -> Result:
        rows = [row for one in answer.found if one.query.returned for row in rows_of(call, one, answer.found)]
        return _paged(page, rows, begun, newest_first)

    return Later(OfMetrics(lambda store: readings.read(store, account_id, queries, (start, end), call.now)), finish)


type _Row = tuple[str, str, list[tuple[int, float]]]


def rows_of(call: Call, reading: Reading, every: Sequence[Reading]) -> list[_Row]:
    """Return the id, the label and the data points of each series of a query."""
    beside = [one for other in every for one in other.measures]
    place = call.caller.account_id, call.cloud.region
    found = []
    for series in reading.series:
        measure = reading.measures[0] if reading.measures else None
        own = readings.label_of(measure, beside) if measure else series.label or reading.query.id
        label = reading.query.label
        if label is not None:
            own = labels.fill(label, own, series, measure, place)
            own = f"{own} {series.label}" if len(reading.series) > 1 and series.label and "${" not in label else own
        found.append((reading.query.id, own, list(series.points.items())))
    return found


def _paged(page: describe.Page, rows: Sequence[_Row], begun: int, newest_first: bool) -> Result:
    """Show the data points from one on, counted over all series; each series without more is complete."""
    left = page.limit or readings.MAX_POINTS
    passed = 0
    results: list[dict[str, Any]] = []
    token = None
    for query_id, label, points in rows:
        ordered = points[::-1] if newest_first else points
        skipped = max(0, begun - passed)
        passed += len(ordered)
        if skipped and skipped >= len(ordered):
            continue
        shown = ordered[skipped : skipped + left]
        left -= len(shown)
        complete = skipped + len(shown) == len(ordered)
        results.append(
            {
                "Id": query_id,
                "Label": label,
                "Timestamps": [datetime.fromtimestamp(at / 1000, UTC) for at, _ in shown],
                "Values": [value for _, value in shown],
                "StatusCode": "Complete" if complete else "PartialData",
            }
        )
        if not complete:
            token = page.token((str(passed - len(ordered) + skipped + len(shown)),))
            break
    return {"MetricDataResults": results, "Messages": [], "NextToken": token}


@operation("GetMetricStatistics", service="cloudwatch", writes=False)
def get_metric_statistics(call: Call, params: Params) -> Later:
    """Read statistics of one metric."""
    metric = metric_given(params)
    simple, extended = params.get("Statistics", ()), params.get("ExtendedStatistics", ())
    if not simple and not extended:
        message = "At least one of the parameters Statistics and ExtendedStatistics must be specified."
        raise BadRequest(message, code="InvalidParameterCombination")
    unit, period = params.get("Unit"), params["Period"]
    measures = [Measure(metric, name, period, unit) for name in dict.fromkeys((*simple, *extended))]
    times = params["StartTime"], params["EndTime"]
    statistic_readings.check(measures, times)
    account_id = call.caller.account_id

    def finish(answer: HostAnswer) -> Result:
        points = [_statistics_view(one, extended) for one in answer.found]
        return {"Label": metric.name, "Datapoints": points}

    return Later(OfMetrics(lambda store: statistic_readings.read(store, account_id, measures, times, call.now)), finish)


def _statistics_view(point: statistic_readings.Point, extended: Sequence[str]) -> Result:
    shown: Result = {"Timestamp": datetime.fromtimestamp(point.at / 1000, UTC), "Unit": point.unit}
    shown |= {name: value for name, value in point.values.items() if name not in extended}
    beyond = {name: value for name, value in point.values.items() if name in extended}
    return shown | ({"ExtendedStatistics": beyond} if beyond else {})


@operation("ListMetrics", service="cloudwatch", writes=False)
def list_metrics(call: Call, params: Params) -> Later:
    """List metrics that have data."""
    dimensions = tuple((one["Name"], one.get("Value")) for one in params.get("Dimensions", ()))
    since = int((call.now - _RECENTLY).timestamp() * 1000) if params.get("RecentlyActive") else None
    account_id = call.caller.account_id
    asked = Filter(account_id, params.get("Namespace"), params.get("MetricName"), dimensions, since)
    page = describe.page(call, params, "ListMetrics", default=_PAGE)
    after = identity_of_key(account_id, page.after) if page.after else None

    def finish(answer: HostAnswer) -> Result:
        found: list[Identity] = answer.found
        shown, token = page.cut(found, identity_key)
        return {
            "Metrics": [metric_view(Metric(one.namespace, one.name, one.dimensions)) for one in shown],
            "NextToken": token,
        }

    return Later(OfMetrics(lambda store: store.find(asked, after=after, limit=_PAGE + 1)), finish)
