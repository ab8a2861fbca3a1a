"""Sets of texts that change little by little, and of which a change costs as much as what came and went.

A roster never changes. A later one is made of it by saying what comes and what goes; all of them share the values of
the latest and a list of changes, by which the earlier ones are known. One thread at a time may make later ones of the
same roster; any thread may read any of them meanwhile.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final

_SLACK: Final = 64  # changes that are kept besides twice as many as there are values


class _Log:
    """What rosters share: the values of the latest of them, and all changes since the first."""

    __slots__ = ("changes", "now")

    def __init__(self, values: Iterable[str]) -> None:
        self.now = set(values)
        self.changes: list[tuple[str, bool]] = []  # whether it came; each changes something

    def note(self, value: str, *, came: bool) -> None:
        """Add or remove a value; who reads meanwhile looks at the values first and at the changes after that."""
        if (value in self.now) is came:
            return
        self.changes.append((value, came))
        if came:
            self.now.add(value)
        else:
            self.now.remove(value)


class Roster(AbstractSet[str]):
    """An immutable set; equal to a frozenset of the same values, which it becomes when it is stored."""

    __slots__ = ("_size", "count", "log")

    def __init__(self, values: "Iterable[str] | _Log" = ()) -> None:
        """Begin with some values, which are copied."""
        self.log = log = values if isinstance(values, _Log) else _Log(values)
        self.count = len(log.changes)  # those of them that are its own
        self._size = len(log.now)

    def after(self, came: Iterable[str], gone: Iterable[str]) -> "Roster":
        """Return the roster without what has gone, and then with what has come."""
        log = self.log
        if self.count != len(log.changes) or self.count > 2 * self._size + _SLACK:
            log = _Log(self)
        for value in gone:
            log.note(value, came=False)
        for value in came:
            log.note(value, came=True)
        return Roster(log)

    def since(self, earlier: "Roster") -> tuple[frozenset[str], frozenset[str]] | None:
        """Return what has come and gone between two of which one was made of the other; None if they have no log."""
        if earlier.log is not self.log:
            return None
        begin, end = sorted((earlier.count, self.count))
        found: dict[str, bool] = {}
        for value, came in self.log.changes[begin:end]:  # by turns for each value, so that every second one undoes
            if found.pop(value, None) is None:
                found[value] = came
        forward = earlier.count <= self.count
        came_, gone = (
            frozenset(value for value, came in found.items() if came is way) for way in (forward, not forward)
        )
        return came_, gone

    def _values(self) -> set[str]:
        values = self.log.now.copy()
        for value, came in reversed(self.log.changes[self.count :]):
            if came:
                values.discard(value)
            else:
                values.add(value)
        return values

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> frozenset[Any]:  # what operators return
        return frozenset(it)

    def __contains__(self, value: object) -> bool:
        """Tell whether a value is among them."""
        found = value in self.log.now
        for each, came in self.log.changes[self.count :]:
            if each == value:
                return not came
        return found

    def __iter__(self) -> Iterator[str]:
        """Iterate over a copy of the values."""
        return iter(self._values())

    def __len__(self) -> int:
        """Return how many there are."""
        return self._size

    def __eq__(self, other: object) -> bool:
        """Compare with another set; two of which one was made of the other by what is between them."""
        if isinstance(other, Roster) and (between := self.since(other)) is not None:
            return not any(between)
        return self._values() == other

    def __hash__(self) -> int:
        """Return the hash of such a frozenset."""
        return hash(frozenset(self))

    def __repr__(self) -> str:
        """Show the values."""
        return f"Roster({sorted(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Store a frozenset."""
        return frozenset, (list(self),)


def came_and_gone(before: AbstractSet[str], now: AbstractSet[str]) -> tuple[AbstractSet[str], AbstractSet[str]]:
    """Return what only the later set has, and what only the earlier one."""
    if isinstance(before, Roster) and isinstance(now, Roster) and (between := now.since(before)) is not None:
        return between
    before, now = frozenset(before), frozenset(now)
    return now - before, before - now
