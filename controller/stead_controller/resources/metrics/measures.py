"""What is asked of metrics: one metric's statistic, or an expression over others. Pure."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter
from stead_controller.metrics import statistics
from stead_controller.metrics.datum import Identity

SHORT_PERIODS: Final = (1, 5, 10, 20, 30)
"""Periods in seconds that are no minutes; only data of high resolution fill them."""

_ID: Final = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}\Z")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name; dimensions are sorted pairs of name and value."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    def dimension(self, name: str) -> str | None:
        """Return the value of a dimension."""
        return next((value for key, value in self.dimensions if key == name), None)

    def of(self, account_id: str) -> Identity:
        """Return the metric of this name that an account has."""
        return Identity(account_id, self.namespace, self.name, self.dimensions)

    def digest(self, account_id: str) -> str:
        """Return 64 hex digits that stand for this metric of an account."""
        return digest_of(self.of(account_id))


def digest_of(identity: Identity) -> str:
    """Return 64 hex digits that stand for a metric."""
    text = json.dumps([identity.account, identity.namespace, identity.name, identity.dimensions])
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Measure:
    """A statistic of a metric in periods of so many seconds; only data of the unit, if there is one."""

    metric: Metric
    statistic: str
    period: int
    unit: str | None = None

    def check_statistic(self) -> None:
        """Raise InvalidParameter unless the statistic is one."""
        try:
            statistics.parse(self.statistic)
        except ValueError:
            raise InvalidParameter(f"The statistic {self.statistic[:100]} is not valid.") from None


@dataclass(frozen=True, slots=True)
class Query:
    """A time series by its id: a measure, or an expression whose `period` is then the series'."""

    id: str
    measure: Measure | None = None
    expression: str | None = None
    label: str | None = None
    period: int | None = None
    returned: bool = True


def metric_of(namespace: str, name: str, dimensions: Sequence[tuple[str, str]]) -> Metric:
    """Make a metric; raises InvalidParameter if a dimension is given twice."""
    names = [key for key, _ in dimensions]
    if len(set(names)) != len(names):
        raise InvalidParameter("A dimension may be given only once.")
    return Metric(namespace, name, tuple(sorted(dimensions)))


def check_ids(queries: Sequence[Query]) -> None:
    """Raise InvalidParameter unless the queries have ids of the right form, each its own."""
    seen = set()
    for query in queries:
        if not _ID.match(query.id):
            raise InvalidParameter(f"The id '{query.id}' must begin with a small letter; then letters, digits and _.")
        if query.id in seen:
            raise InvalidParameter(f"The id '{query.id}' is given twice.")
        if (query.measure is None) == (query.expression is None):
            raise InvalidParameter(f"'{query.id}' must have either MetricStat or Expression.")
        seen.add(query.id)


def is_period(seconds: int, short: Sequence[int] = SHORT_PERIODS) -> bool:
    """Tell whether data may be gathered by periods of so many seconds."""
    return seconds in short or (seconds >= 60 and seconds % 60 == 0)
