"""Divides a time at its edges so that one query of the ledger counts all parts; pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_STEPS: Final = (86400, 3600)
_MOST_PARTS: Final = 24  # of a grid without a step: each is a comparison for each row


@dataclass(frozen=True, slots=True)
class Grid:
    """Edges that ascend, and how an edge's number follows from a time in seconds after the first one.

    It is how many whole steps have passed, if there is a `step`, and how many of the `others` have.
    """

    edges: tuple[int, ...]
    step: int
    others: tuple[int, ...]

    @property
    def begin(self) -> int:
        """The first edge."""
        return self.edges[0]

    @property
    def end(self) -> int:
        """The last edge."""
        return self.edges[-1]

    def place(self, after: int) -> int:
        """Return the number of the last edge that is not later than a time after the first one."""
        return (after // self.step if self.step else 0) + sum(after >= other for other in self.others)

    def spread(self, first: int, last: int, quantity: int, begun: int, ended: int) -> Iterator[tuple[int, int]]:
        """Divide among the parts what many uses together are that begin in one part and end in another.

        `quantity` is the sum of theirs, `begun` and `ended` the sums of their quantities times when, after the first
        edge, they begin and end. Yields numbers of parts, and the quantity times seconds in each.
        """
        if first == last:
            yield first, ended - begun
            return
        after = [edge - self.begin for edge in self.edges[first : last + 1]]
        yield first, quantity * after[1] - begun
        for number, (begin, end) in enumerate(pairwise(after[1:]), first + 1):
            yield number, quantity * (end - begin)
        if last < len(self.edges) - 1:
            yield last, ended - quantity * after[-1]


def grid_of(edges: Sequence[int]) -> list[tuple[int, Grid]]:
    """Divide edges, which ascend, into grids, each with the number of its first edge; days or hours are one."""
    for step in _STEPS:
        regular = range(edges[0], edges[-1] + 1, step)
        if not len(edges) > _MOST_PARTS or not len(edges) - _MOST_PARTS <= len(regular) <= len(edges):
            continue
        others = set(edges).difference(regular)
        if len(others) == len(edges) - len(regular):
            return [(0, Grid(tuple(edges), step, tuple(sorted(edge - edges[0] for edge in others))))]
    found = []
    for first in range(0, len(edges) - 1, _MOST_PARTS):
        part = tuple(edges[first : first + _MOST_PARTS + 1])
        found.append((first, Grid(part, 0, tuple(edge - part[0] for edge in part[1:]))))
    return found
