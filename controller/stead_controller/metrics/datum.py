"""What is stored of a metric and what is asked about it: the types between this layer and those above.

Of an instance and its volume there are some 25 data each minute, so both are cheap to make: an identity is a tuple, and
a datum is not frozen, which would make it cost several times as much. Nobody changes one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stead_controller.errors import SteadError


class MetricsUnavailable(SteadError):
    """The engine that stores metrics does not answer, or cannot be started; `detail` is for the log."""

    def __init__(self, detail: str) -> None:
        """Store what the operator may know; callers get the same words whatever it is."""
        super().__init__("Metrics can be neither stored nor read at the moment.", code="ServiceUnavailable")
        self.detail = detail

    def __str__(self) -> str:
        """Return the detail."""
        return self.detail


class Identity(NamedTuple):
    """What makes one metric: CloudWatch counts each combination of these as a metric of its own.

    `dimensions` are pairs of name and value, sorted by name.
    """

    account: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Datum:
    """One or more measurements of one metric at one time.

    `at` is in milliseconds since 1970; `resolution` is 1 or 60 seconds. `count` measurements have the sum `total`.
    `values` are pairs of value and count, where they are known; empty for a statistic set. A metric to which several
    contribute at the same time has a datum of each `source`, and all count; percentiles of it are not known.
    """

    identity: Identity
    at: int
    unit: str
    resolution: int
    count: float
    total: float
    minimum: float
    maximum: float
    values: tuple[tuple[float, float], ...] = ()
    source: str = ""


def single(identity: Identity, at: int, unit: str, value: float, resolution: int = 60) -> Datum:
    """Return the datum of one measurement."""
    return Datum(identity, at, unit, resolution, 1, value, value, value)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question about one metric: a statistic of each period from `start` to before `end`.

    Times are in milliseconds, `period` in seconds; `end - start` is a multiple of the period. `statistic` is one of
    CloudWatch's: `Sum`, `Average`, `Minimum`, `Maximum`, `SampleCount`, `p99.9`, `TM(10%:90%)` and so on. Without a
    `unit` data of all units are found.
    """

    identity: Identity
    statistic: str
    start: int
    end: int
    period: int
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A statistic of the data of one unit: pairs of a period's start, in milliseconds, and value, by time.

    A period without data has no pair.
    """

    unit: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which metrics of an account are looked for; a dimension without a value matches any value of that name.

    With `active_since`, in milliseconds, only those with data since then.
    """

    account: str
    namespace: str | None = None
    name: str | None = None
    dimensions: tuple[tuple[str, str | None], ...] = ()
    active_since: int | None = None


class Store(Protocol):
    """Stores and reads data; all methods raise MetricsUnavailable."""

    def take_part(self, part: int, parts: int) -> None:
        """Share what stores the data with others, of which this one is counted from 0: whatever each adds counts."""

    async def write(self, data: Sequence[Datum]) -> None:
        """Store data, of which each metric has at most one at a time: what is written again replaces itself."""

    async def add(self, data: Sequence[Datum]) -> None:
        """Store data that all count, also those that say the same of the same metric at the same second."""

    async def read(self, wanted: Sequence[Wanted]) -> list[list[Found]]:
        """Answer each question, in their order, by what was found of each unit; empty without data.

        Questions with the same times, period and statistic cost one query; raises ValueError for an unknown statistic.
        """

    async def find(self, wanted: Filter, *, after: Identity | None = None, limit: int = 500) -> list[Identity]:
        """Return the next metrics that match, in a fixed order."""

    async def count(self, start: int, end: int) -> Mapping[str, int]:
        """Return how many metrics of their own accounts have with data from `start` to before `end`, by account."""

    async def close(self) -> None:
        """Close connections; the engine keeps running."""
