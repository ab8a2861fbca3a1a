"""The store: writes to and asks an engine that speaks Prometheus's protocols."""

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from stead_controller.clock import Clock
from stead_controller.metrics import queries, samples
from stead_controller.metrics.datum import Datum, Filter, Found, Identity, Wanted
from stead_controller.metrics.http_engine import WRITE_PATH
from stead_controller.metrics.labels import identity_of
from stead_controller.metrics.queries import Group
from stead_controller.metrics.remote_write import HEADERS, requests_of
from stead_controller.metrics.samples import Sample, Slots, samples_of
from stead_controller.metrics.statistics import SIMPLE, Statistic, compute, parse

_KNOWN_MILLISECONDS: Final = 15 * 24 * 3_600_000  # ListMetrics knows metrics of the past two weeks
_AHEAD_MILLISECONDS: Final = 2 * 3_600_000  # PutMetricData takes times up to two hours ahead


class Engine(Protocol):
    """Sends requests to the engine; raises MetricsUnavailable."""

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a body, and return that of the answer."""

    async def show_written(self) -> None:
        """Let questions see all that has been written."""

    async def close(self) -> None:
        """Close connections."""


class EngineStore:
    """A `Store` before an engine."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """Take the engine; nothing is sent yet."""
        self._engine = engine
        self._clock = clock
        self._slots = Slots()

    def take_part(self, part: int, parts: int) -> None:
        """Share the engine with others: of what each adds nothing takes the place of what another one does."""
        self._slots.take_part(part, parts)

    async def write(self, data: Sequence[Datum]) -> None:
        """Store data, of which each metric has at most one at a time: what is written again replaces itself."""
        await self._send(sample for datum in data for sample in samples_of(datum))

    async def add(self, data: Sequence[Datum]) -> None:
        """Store data that all count, also those that say the same of the same metric at the same second."""
        first = random.randrange(1000)
        await self.write([replace(datum, at=self._slots.place(datum, first)) for datum in data])

    async def read(self, wanted: Sequence[Wanted]) -> list[list[Found]]:
        """Answer each question, in their order, by what was found of each unit; empty without data."""
        parsed = {one.statistic: parse(one.statistic) for one in wanted}
        found: list[list[Found]] = [[] for _ in wanted]
        await self._engine.show_written()
        for group in queries.grouped(wanted):
            by_id = await self._answer(group, parsed[group.statistic])
            for place, id_ in group.members:
                found[place] = sorted(by_id.get(id_, ()), key=lambda one: one.unit)
        return found

    async def find(self, wanted: Filter, *, after: Identity | None = None, limit: int = 500) -> list[Identity]:
        """Return the next metrics that match, in a fixed order."""
        selector = queries.find_query(wanted)
        await self._engine.show_written()
        now = int(self._clock().timestamp() * 1000)
        if wanted.active_since is None:
            times = {"start": str((now - _KNOWN_MILLISECONDS) // 1000), "end": str((now + _AHEAD_MILLISECONDS) // 1000)}
            listed = await self._ask("/api/v1/series", {"match[]": selector, **times})
        else:
            until = now + _AHEAD_MILLISECONDS
            query = f"last_over_time({selector}[{until - wanted.active_since}ms])"
            answer = await self._ask("/api/v1/query", {"query": query, "time": str(until // 1000)})
            listed = [series["metric"] for series in answer["result"]]
        known = {identity_of(labels) for labels in listed}
        return sorted((one for one in known if after is None or _order(one) > _order(after)), key=_order)[:limit]

    async def count(self, start: int, end: int) -> Mapping[str, int]:
        """Return how many metrics of their own accounts have with data from `start` to before `end`, by account."""
        await self._engine.show_written()
        query, time = queries.count_query(start, end)
        answer = await self._ask("/api/v1/query", {"query": query, "time": time, "nocache": "1"})
        return {series["metric"]["account"]: int(series["value"][1]) for series in answer["result"]}

    async def close(self) -> None:
        """Close connections; the engine keeps running."""
        await self._engine.close()

    async def _send(self, rows: Iterable[Sample]) -> None:
        for body in requests_of(rows):
            await self._engine.post(WRITE_PATH, body, HEADERS)

    async def _answer(self, group: Group, statistic: Statistic) -> dict[str, list[Found]]:
        """Answer a group by what was found of each metric.

        Most metrics have single values alone: then the engine reads them once, and computes percentiles too.
        """
        is_simple = statistic.kind in SIMPLE
        if not is_simple and statistic.kind != "P":
            return await self._of_values(group, statistic)
        query, time = queries.sets_query(group)
        answer = await self._ask("/api/v1/query", {"query": query, "time": time, "nocache": "1"})
        have_sets = {series["metric"]["id"] for series in answer["result"]}
        plain, mixed = group.only(have_sets, without=True), group.only(have_sets)
        found: dict[str, list[Found]] = {}
        if plain.members:
            found |= await self._by_periods(plain, queries.plain_query(plain, None if is_simple else statistic.high))
        if mixed.members and is_simple:
            found |= await self._by_periods(mixed, queries.simple_query(mixed))
        elif mixed.members:
            found |= await self._of_values(mixed, statistic)
        return found

    async def _by_periods(self, group: Group, query: str) -> dict[str, list[Found]]:
        answer = await self._ask("/api/v1/query_range", {"query": query, **group.parameters, "nocache": "1"})
        found: dict[str, list[Found]] = defaultdict(list)
        for series in answer["result"]:
            labels = series["metric"]
            found[labels["id"]].append(Found(labels["unit"], queries.points_of(series, group.period)))
        return found

    async def _of_values(self, group: Group, statistic: Statistic) -> dict[str, list[Found]]:
        """Compute a statistic here, from each single value."""
        query, time = queries.raw_query(group)
        answer = await self._ask("/api/v1/query", {"query": query, "time": time, "nocache": "1"})
        width = group.period * 1000
        periods: dict[tuple[str, str], dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
        for (id_, unit), values in _weighted(answer["result"]).items():
            for at, value, weight in values:
                periods[id_, unit][group.start + (at - group.start) // width * width].append((value, weight))
        found: dict[str, list[Found]] = defaultdict(list)
        for (id_, unit), by_period in periods.items():
            computed = [(start, compute(statistic, values)) for start, values in sorted(by_period.items())]
            points = tuple((start, value) for start, value in computed if value is not None)
            if points:
                found[id_].append(Found(unit, points))
        return found

    async def _ask(self, path: str, parameters: Mapping[str, str]) -> Any:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = await self._engine.post(path, queries.encoded(parameters), headers)
        return json.loads(body)["data"]


def _weighted(series: queries.Answer) -> dict[tuple[str, str], list[tuple[int, float, float]]]:
    """Return time, value and weight of all values of each metric and unit."""
    weights: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    found: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for one in series:
        if one["metric"]["kind"] == samples.SPREAD_WEIGHT:
            weights[one["metric"]["id"], one["metric"]["unit"]] |= _numbers(one)
    for one in series:
        labels = one["metric"]
        key = labels["id"], labels["unit"]
        if labels["kind"] == samples.VALUE:
            found[key] += [(at, value, 1.0) for at, value in _numbers(one).items()]
        elif labels["kind"] == samples.SPREAD_VALUE:
            found[key] += [(at, value, weights[key].get(at, math.nan)) for at, value in _numbers(one).items()]
    # A value whose weight is not there yet is one that is just being written.
    return {key: [each for each in values if each[2] > 0] for key, values in found.items()}


def _numbers(series: Mapping[str, Any]) -> dict[int, float]:
    return {round(at * 1000): float(text) for at, text in series["values"]}


def _order(identity: Identity) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return identity.namespace, identity.name, identity.dimensions
