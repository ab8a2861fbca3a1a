"""Metrics, their statistics and queries of requests, and as answers show them."""

from collections.abc import Sequence
from typing import Any

from stead_controller.aws.call import Params, Result
from stead_controller.errors import InvalidParameter, MissingParameter, Unsupported
from stead_controller.metrics.datum import Identity
from stead_controller.metrics.statistics import SIMPLE
from stead_controller.resources.metrics.measures import Measure, Metric, Query, metric_of


def metric_given(params: Params) -> Metric:
    """Read Namespace, MetricName and Dimensions; raises MissingParameter, InvalidParameter."""
    for name in ("Namespace", "MetricName"):
        if not params.get(name):
            raise MissingParameter(name)
    return metric_of(params["Namespace"], params["MetricName"], dimensions_given(params))


def dimensions_given(params: Params) -> list[tuple[str, str]]:
    """Read Dimensions."""
    return [(one["Name"], one["Value"]) for one in params.get("Dimensions", ())]


def identity_key(one: Identity) -> tuple[str, ...]:
    """Return a metric as the parts of a NextToken."""
    return one.namespace, one.name, *(text for pair in one.dimensions for text in pair)


def identity_of_key(account_id: str, key: tuple[str, ...]) -> Identity:
    """Return the metric of a NextToken."""
    namespace, name, *flat = key
    return Identity(account_id, namespace, name, tuple(zip(flat[::2], flat[1::2], strict=True)))


def queries_given(given: Sequence[Params], account_id: str, period: int | None = None) -> tuple[Query, ...]:
    """Read a list of MetricDataQuery, with a period for metrics that have none.

    Raises InvalidParameter, MissingParameter, Unsupported.
    """
    return tuple(_query_given(one, account_id, period) for one in given)


def _query_given(given: Params, account_id: str, period: int | None) -> Query:
    if given.get("AccountId") not in (None, account_id):
        raise Unsupported("Metrics of other accounts are not supported: the parameter AccountId.")
    stat = given.get("MetricStat")
    measure = None
    if stat is not None:
        measure = Measure(metric_given(stat["Metric"]), stat["Stat"], stat.get("Period", period), stat.get("Unit"))
        if given.get("Period") is not None:
            raise InvalidParameter("Period is given in MetricStat, or beside an Expression.")
    returned = given.get("ReturnData", True)
    return Query(given["Id"], measure, given.get("Expression"), given.get("Label"), given.get("Period"), returned)


def metric_view(metric: Metric) -> Result:
    """Show a metric."""
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    return {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}


def measure_view(measure: Measure) -> Result:
    """Show a measure as an alarm of one metric does."""
    simple = measure.statistic in SIMPLE
    return {
        **metric_view(measure.metric),
        "Statistic": measure.statistic if simple else None,
        "ExtendedStatistic": None if simple else measure.statistic,
        "Period": measure.period,
        "Unit": measure.unit,
    }


def query_view(query: Query) -> Result:
    """Show a query."""
    shown: dict[str, Any] = {"Id": query.id, "Expression": query.expression, "Label": query.label}
    shown |= {"ReturnData": query.returned, "Period": query.period}
    if query.measure is not None:
        one = query.measure
        shown["MetricStat"] = {
            "Metric": metric_view(one.metric),
            "Period": one.period,
            "Stat": one.statistic,
            "Unit": one.unit,
        }
    return shown
