"""Values by id that change one by one, and of which all that are there can be handed out for nothing.

What is handed out is immutable, for threads, and however many values there are, it is made at once: it knows a list of
changes, which only grows, and how many of these are its own. They are read when somebody asks for the values, from the
last view on that was read, and only then is each value made into what is asked for.
"""

from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final

_SLACK: Final = 64  # changes that are kept besides as many as there are values

type Reading[M, W] = Callable[[dict[str, M], AbstractSet[str]], tuple[W, ...]]
"""Makes what is handed out of a copy of all made values by id, where those of some ids are left out."""

type Making[V, M] = Callable[[str, V], M]
"""Makes of a value, and its id, what is read; once for each value, unless the changes were made shorter."""


class View[W](Collection[W]):
    """What a journal had when this was made; equal to the tuple of it, which it becomes when it is stored."""

    __slots__ = ("_found", "_make", "_read", "_without", "before", "changes", "count", "known")

    def __init__(
        self,
        changes: list[tuple[str, Any]],
        read: Reading[Any, W],
        make: Making[Any, Any],
        without: AbstractSet[str],
        last: "View[W] | None",
    ) -> None:
        self.changes = changes
        self.count = len(changes)
        self._read, self._make = read, make
        self._without = without
        self.known: dict[str, Any] | None = None  # never changed
        self._found: tuple[W, ...] | None = None
        # One that was read, if there is one; it may be of earlier changes.
        self.before: View[W] | None = last.before if last is not None and last.known is None else last

    def _all(self) -> tuple[W, ...]:
        found = self._found
        if found is None:  # two threads may both read it, and find the same
            known = self._values()
            found = self._read(known.copy(), self._without)
            self.known, self._found, self.before = known, found, None
        return found

    def _values(self) -> dict[str, Any]:
        before, begin = self.before, 0
        known: dict[str, Any] = {}
        if before is not None and before.changes is self.changes and before.known is not None:
            begin, known = before.count, before.known.copy()
        for key, value in self.changes[begin : self.count]:
            if value is None:
                known.pop(key, None)
            else:
                known[key] = self._make(key, value)
        return known

    def __iter__(self) -> Iterator[W]:
        """Iterate over the values."""
        return iter(self._all())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all())

    def __contains__(self, value: object) -> bool:
        """Tell whether a value is among them."""
        return value in self._all()

    def __eq__(self, other: object) -> bool:
        """Compare with another view, or a tuple."""
        return self is other or self._all() == other  # another view is asked in its turn

    def __hash__(self) -> int:
        """Return the hash of the tuple."""
        return hash(self._all())

    def __repr__(self) -> str:
        """Show the tuple."""
        return repr(self._all())

    def __reduce__(self) -> tuple[Any, ...]:
        """Store the tuple."""
        return tuple, (self._all(),)


class Journal[V, W]:
    """The values, and all changes since it was last made shorter; belongs to the event loop."""

    def __init__[M](self, read: Reading[M, W], make: Making[V, M]) -> None:
        """Begin without values."""
        self._read, self._make = read, make
        self._changes: list[tuple[str, V | None]] = []  # None: it has gone
        self.values: dict[str, V] = {}
        self._view: tuple[AbstractSet[str], View[W]] | None = None
        self._last: View[W] | None = None

    def put(self, key: str, value: V) -> None:
        """Add a value, or replace it."""
        self.values[key] = value
        self._note(key, value)

    def drop(self, key: str) -> None:
        """Remove a value, if it is there."""
        if self.values.pop(key, None) is not None:
            self._note(key, None)

    def view(self, without: AbstractSet[str]) -> View[W]:
        """Return what there is, without some ids: the same object shows that nothing has changed."""
        if self._view is None or self._view[0] != without:
            self._last = View(self._changes, self._read, self._make, without, self._last)
            self._view = without, self._last
        return self._view[1]

    def _note(self, key: str, value: V | None) -> None:
        self._view = None
        self._changes.append((key, value))
        if len(self._changes) > 2 * len(self.values) + _SLACK:
            self._changes = list(self.values.items())  # earlier views have the earlier list
