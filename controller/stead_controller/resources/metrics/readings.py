"""Reads the series of queries from the store of metrics: measures, SEARCHes and expressions.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from stead_controller.errors import InvalidParameter
from stead_controller.metrics.datum import Filter, Found, Identity, Store, Wanted
from stead_controller.resources.metrics.alarm_math import plan_of
from stead_controller.resources.metrics.math import search_terms
from stead_controller.resources.metrics.math.evaluate import Search, evaluate
from stead_controller.resources.metrics.math.series import Series, Span
from stead_controller.resources.metrics.measures import Measure, Metric, Query, check_ids, is_period

MAX_QUERIES: Final = 500
MAX_POINTS: Final = 100_800
"""Data points of one answer of GetMetricData."""

_FOUND_AT_ONCE: Final = 5000
_MOST_SCANNED: Final = 50_000
_DAY: Final = timedelta(days=1)
# How old data may be, by how long periods must be a multiple of; older data are kept in longer periods only.
_KEPT: Final = ((timedelta(hours=3), 1), (15 * _DAY, 60), (63 * _DAY, 300), (455 * _DAY, 3600))


@dataclass(frozen=True, slots=True)
class Reading:
    """Series of one query, with the measures that they are of where they are of one."""

    query: Query
    series: list[Series]
    measures: list[Measure] = field(default_factory=list)


def check(queries: Sequence[Query]) -> None:
    """Raise InvalidParameter or Unsupported unless GetMetricData may ask this."""
    if not queries:
        raise InvalidParameter("MetricDataQueries must have a query at least.")
    if len(queries) > MAX_QUERIES:
        raise InvalidParameter(f"A request may have at most {MAX_QUERIES} queries.")
    check_ids(queries)
    for query in queries:
        if query.measure is not None:
            query.measure.check_statistic()
            check_period(query.measure.period)
        elif query.period is not None:
            check_period(query.period)
    for asked in plan_of(queries).searches():
        search_terms.parse(asked.terms)
        Measure(Metric("", ""), asked.statistic, asked.period or 60).check_statistic()
        check_period(asked.period or 60)


def check_period(period: int) -> None:
    """Raise InvalidParameter unless data may be gathered by periods of so many seconds."""
    if not is_period(period):
        raise InvalidParameter("Period must be 1, 5, 10, 20, 30 or a multiple of 60.")


def aligned(start: datetime, end: datetime, period: int) -> Span:
    """Return the times from the period in which a request begins to the one in which it ends, in full periods."""
    step = period * 1000
    first = int(start.timestamp() * 1000) // step * step
    return Span(first, -(-int(end.timestamp() * 1000) // step) * step)


def is_kept(period: int, start: datetime, now: datetime) -> bool:
    """Tell whether data from so long ago are kept in periods of so many seconds."""
    return any(now - start <= age and period % multiple == 0 for age, multiple in _KEPT)


async def read(
    store: Store, account_id: str, queries: Sequence[Query], times: tuple[datetime, datetime], now: datetime
) -> list[Reading]:
    """Return what each query asks for, in their order; raises InvalidParameter, MetricsUnavailable."""
    start, end = times
    planned = plan_of(queries)
    measures = {query.id: query.measure for query in queries if query.measure is not None}
    longest = max([one.period for one in measures.values()], default=60)
    found_by: dict[Search, list[Measure]] = {}
    for asked in planned.searches():
        metrics = await search(store, account_id, asked.terms)
        found_by[asked] = [Measure(one, asked.statistic, asked.period or longest) for one in metrics]
    every = [*measures.values(), *(one for some in found_by.values() for one in some)]
    spans = {period: aligned(start, end, period) for period in {one.period for one in every}}
    kept = [one for one in dict.fromkeys(every) if is_kept(one.period, start, now)]
    series = await read_measures(store, account_id, kept, spans)
    empty = {one: Series({}, one.period) for one in every} | series
    measured: dict[str, Series | list[Series]] = {name: empty[measure] for name, measure in measures.items()}
    searched = {
        asked: [replace(empty[one], label=label_of(one, some)) for one in some] for asked, some in found_by.items()
    }
    periods = {query.id: query.period for query in queries if query.period is not None}
    whole = aligned(start, end, max([longest, *periods.values()]))
    shown = {**measured, **evaluate(planned, measured, searched, whole, periods)}
    return [_reading(query, shown[query.id], measures.get(query.id)) for query in queries]


def _reading(query: Query, shown: Series | list[Series], measure: Measure | None) -> Reading:
    return Reading(query, shown if isinstance(shown, list) else [shown], [] if measure is None else [measure])


async def read_measures(
    store: Store, account_id: str, measures: Iterable[Measure], spans: Mapping[int, Span]
) -> dict[Measure, Series]:
    """Return the series of measures, each in the times of its period."""
    asked = list(measures)
    wanted = [
        Wanted(one.metric.of(account_id), one.statistic, span.start, span.end, one.period, one.unit)
        for one in asked
        for span in [spans[one.period]]
    ]
    found = await store.read(wanted) if wanted else []
    return {one: Series(_points(some), one.period) for one, some in zip(asked, found, strict=True)}


def _points(found: Sequence[Found]) -> dict[int, float]:
    """Return the data of one unit: where data of several units are found, those of the one with most of them."""
    best = max(found, key=lambda one: len(one.points), default=None)
    return {} if best is None else dict(sorted(best.points))


async def search(store: Store, account_id: str, terms: str) -> list[Metric]:
    """Return the metrics that the terms of a SEARCH find, in a fixed order; 500 at most."""
    parsed = search_terms.parse(terms)
    wanted = Filter(account_id, parsed.namespace)
    found: list[Metric] = []
    after: Identity | None = None
    for _ in range(_MOST_SCANNED // _FOUND_AT_ONCE):
        some = await store.find(wanted, after=after, limit=_FOUND_AT_ONCE)
        metrics = (Metric(one.namespace, one.name, one.dimensions) for one in some)
        found += [one for one in metrics if parsed.find(one)]
        if len(some) < _FOUND_AT_ONCE or len(found) >= search_terms.MOST:
            break
        after = some[-1]
    return found[: search_terms.MOST]


def label_of(measure: Measure, beside: Sequence[Measure]) -> str:
    """Return a series' name: what differs between it and those beside it, else the metric's name."""
    values = " ".join(value for _, value in measure.metric.dimensions)
    names = {one.metric.name for one in beside}
    dimensions = {one.metric.dimensions for one in beside}
    statistics = {one.statistic for one in beside}
    parts = [
        values if len(dimensions) > 1 else "",
        measure.metric.name if len(names) > 1 or len(dimensions) == 1 else "",
    ]
    parts.append(measure.statistic if len(statistics) > 1 else "")
    return " ".join(part for part in parts if part) or measure.metric.name
