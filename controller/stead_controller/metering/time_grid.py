"""Divides a time at its edges so that one query of the ledger counts all parts; pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
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

    def spread(self, sums: Iterable[tuple[int, int, int, int, int]]) -> dict[int, int]:
        """Divide among the parts what uses of one kind are, by the number of the part, in one walk over the parts.

        Each sum is of many uses together that begin in one part and end in another: the numbers of these parts, the sum
        of the quantities, and those of the quantities times when, after the first edge, they begin and end. Returns
        quantities times seconds.
        """
        amounts: defaultdict[int, int] = defaultdict(int)
        changes: defaultdict[int, int] = defaultdict(int)  # of what goes on for all of a part, from that part on
        for first, last, quantity, begun, ended in sums:
            if first == last:
                amounts[first] += ended - begun
                continue
            amounts[first] += quantity * (self.edges[first + 1] - self.begin) - begun
            changes[first + 1] += quantity
            changes[last] -= quantity
            if last < len(self.edges) - 1:
                amounts[last] += ended - quantity * (self.edges[last] - self.begin)
        going = 0
        for part, following in pairwise(sorted(changes)):
            going += changes[part]
            for number in range(part, following) if going else ():
                amounts[number] += going * (self.edges[number + 1] - self.edges[number])
        return amounts


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
