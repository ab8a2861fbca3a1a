"""How data become samples of series, so that each statistic can be computed: see README.md."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from stead_controller.metrics.datum import Datum, Identity

VALUE: Final = "value"
COUNT: Final = "count"
SUM: Final = "sum"
MINIMUM: Final = "minimum"
MAXIMUM: Final = "maximum"
SPREAD_VALUE: Final = "spread_value"
SPREAD_WEIGHT: Final = "spread_weight"

_SECOND: Final = 1000  # milliseconds, which are the slots of a second
_MOST_SECONDS: Final = 20_000


class Sample(NamedTuple):
    """A number of one series at a time, in milliseconds since 1970; `source` is empty but for one of several."""

    identity: Identity
    unit: str
    kind: str
    at: int
    value: float
    source: str = ""


def samples_of(datum: Datum) -> Iterator[Sample]:
    """Return the samples of a datum; the values of a distribution take the milliseconds from `at` on, one each."""
    identity, unit, at, source = datum.identity, datum.unit, datum.at, datum.source
    if datum.count == 1 and datum.minimum == datum.maximum and not source:
        yield Sample(identity, unit, VALUE, at, datum.total)
        return
    yield Sample(identity, unit, COUNT, at, datum.count, source)
    yield Sample(identity, unit, SUM, at, datum.total, source)
    yield Sample(identity, unit, MINIMUM, at, datum.minimum, source)
    yield Sample(identity, unit, MAXIMUM, at, datum.maximum, source)
    if source:
        return
    for number, (value, weight) in enumerate(spread(datum)):
        yield Sample(identity, unit, SPREAD_VALUE, at + number, value)
        yield Sample(identity, unit, SPREAD_WEIGHT, at + number, weight)


def spread(datum: Datum) -> tuple[tuple[float, float], ...]:
    """Return a datum's values and their counts, which a statistic set tells if all its values are the same."""
    if not datum.values and datum.minimum == datum.maximum:
        return ((datum.minimum, datum.count),)
    return datum.values


class Slots:
    """Gives data of one second different milliseconds, because the engine keeps one number of each.

    A second has 1,000 of them, of each metric and unit. What does not fit takes slots a second time: the engine then
    has the newer datum instead of the older one, so PutMetricData's callers must use statistic sets beyond that rate.
    """

    def __init__(self) -> None:
        """Remember nothing yet, and have all slots."""
        self._next: OrderedDict[tuple[Identity, str, int], int] = OrderedDict()
        self._low, self._size = 0, _SECOND

    def take_part(self, part: int, parts: int) -> None:
        """Have only one of equal parts, counted from 0: others, who use the rest, do not know what is given here."""
        self._low, self._size = part * _SECOND // parts, _SECOND // parts

    def place(self, datum: Datum, first: int) -> int:
        """Return the millisecond for a datum in the second of its time; it takes as many as it has values.

        `first` is the slot with which an unknown second begins: a random one, because before a restart others may have
        been given.
        """
        second = datum.at // _SECOND
        key = (datum.identity, datum.unit, second)
        width = max(1, len(spread(datum))) if datum.count != 1 else 1
        slot = self._next.pop(key, first % self._size)
        if slot % self._size + width > self._size:
            slot += self._size - slot % self._size  # a datum's values stay in its second
        self._next[key] = slot + width
        while len(self._next) > _MOST_SECONDS:
            self._next.popitem(last=False)
        return second * _SECOND + self._low + slot % self._size
