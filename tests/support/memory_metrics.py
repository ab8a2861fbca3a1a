"""A store of metrics in memory: the promise of `stead_controller.metrics.datum.Store`, computed in the plainest way."""

from collections.abc import Sequence

from stead_controller.metrics.datum import Datum, Filter, Found, Identity, MetricsUnavailable, Wanted
from stead_controller.metrics.statistics import SIMPLE, compute, parse


class MemoryMetrics:
    """Keeps all data; fails as long as `is_away` is set."""

    def __init__(self) -> None:
        self.data: list[Datum] = []
        self.is_away = False

    async def write(self, data: Sequence[Datum]) -> None:
        """Replace the data of the same metric, unit, time and source."""
        new = {(one.identity, one.unit, one.at, one.source) for one in data}
        self.data = [one for one in self.data if (one.identity, one.unit, one.at, one.source) not in new]
        await self.add(data)

    async def add(self, data: Sequence[Datum]) -> None:
        """Store data."""
        self._check()
        self.data += data

    async def read(self, wanted: Sequence[Wanted]) -> list[list[Found]]:
        """Answer each question."""
        self._check()
        return [self._one(one) for one in wanted]

    async def find(self, wanted: Filter, *, after: Identity | None = None, limit: int = 500) -> list[Identity]:
        """Return the metrics that match, by namespace, name and dimensions."""
        self._check()
        found = {one.identity for one in self.data if _matches(one, wanted)}
        ordered = sorted(found, key=_order)
        return [one for one in ordered if after is None or _order(one) > _order(after)][:limit]

    async def count(self, start: int, end: int) -> dict[str, int]:
        """Count metrics of namespaces that are not AWS's."""
        self._check()
        mine = {one.identity for one in self.data if start <= one.at < end}
        own = [one.account for one in mine if not one.namespace.startswith("AWS/")]
        return {account: own.count(account) for account in own}

    async def close(self) -> None:
        """Nothing is open."""

    def _check(self) -> None:
        if self.is_away:
            raise MetricsUnavailable("it is away")

    def _one(self, wanted: Wanted) -> list[Found]:
        step = wanted.period * 1000
        mine = [one for one in self.data if one.identity == wanted.identity and wanted.start <= one.at < wanted.end]
        found = []
        for unit in sorted({one.unit for one in mine} & ({wanted.unit} if wanted.unit else {one.unit for one in mine})):
            by_time: dict[int, list[Datum]] = {}
            for one in mine:
                if one.unit == unit:
                    by_time.setdefault(wanted.start + (one.at - wanted.start) // step * step, []).append(one)
            points = [
                (at, value)
                for at in sorted(by_time)
                if (value := _statistic(wanted.statistic, by_time[at])) is not None
            ]
            found.append(Found(unit, tuple(points)))
        return found


def _statistic(name: str, data: Sequence[Datum]) -> float | None:
    if name not in SIMPLE:
        pairs = [
            pair
            for one in data
            for pair in (one.values or ((one.minimum, one.count),))
            if one.values or one.minimum == one.maximum
        ]
        return compute(parse(name), pairs) if pairs else None
    total, count = sum(one.total for one in data), sum(one.count for one in data)
    return {
        "Sum": total,
        "SampleCount": count,
        "Average": total / count,
        "Minimum": min(one.minimum for one in data),
        "Maximum": max(one.maximum for one in data),
    }[name]


def _matches(one: Datum, wanted: Filter) -> bool:
    identity, own = one.identity, dict(one.identity.dimensions)
    return (
        identity.account == wanted.account
        and wanted.namespace in (None, identity.namespace)
        and wanted.name in (None, identity.name)
        and all(name in own and value in (None, own[name]) for name, value in wanted.dimensions)
        and (wanted.active_since is None or one.at >= wanted.active_since)
    )


def _order(one: Identity) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return one.namespace, one.name, one.dimensions
