"""Which uses count where costs are added up: expressions of dimensions, tags and cost categories; pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

type ValueOf = Callable[[str, str], str]
"""Gives a value of a use by `DIMENSION`, `TAG` or `COST_CATEGORY` and the key; empty without one."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Values of one key, of which a use must have one; or it must have none, if they are `absent`."""

    kind: str
    key: str
    values: frozenset[str]
    absent: bool = False

    def holds(self, value_of: ValueOf) -> bool:
        """Tell whether a use fits."""
        value = value_of(self.kind, self.key)
        if self.absent:
            return not value
        return value in self.values


@dataclass(frozen=True, slots=True)
class Branch:
    """Expressions of which all must hold, or one (`Or`), or the only one must not (`Not`)."""

    kind: str
    parts: tuple["Leaf | Branch", ...]

    def holds(self, value_of: ValueOf) -> bool:
        """Tell whether a use fits."""
        found = (part.holds(value_of) for part in self.parts)
        if self.kind == "Not":
            return not all(found)
        return any(found) if self.kind == "Or" else all(found)


Filter = Leaf | Branch


def leaves(found: Filter) -> Iterator[Leaf]:
    """Yield all parts of an expression that ask for values."""
    if isinstance(found, Leaf):
        yield found
    else:
        for part in found.parts:
            yield from leaves(part)


def keys_of(found: Iterable[Filter], kind: str) -> set[str]:
    """Return the keys of a kind for which expressions ask."""
    return {leaf.key for each in found for leaf in leaves(each) if leaf.kind == kind}


def to_json(found: Filter) -> dict[str, Any]:
    """Return an expression as `from_json` reads it; values are sorted."""
    if isinstance(found, Leaf):
        return {"kind": found.kind, "key": found.key, "values": sorted(found.values), "absent": found.absent}
    return {"kind": found.kind, "parts": [to_json(part) for part in found.parts]}


def from_json(stored: Mapping[str, Any]) -> Filter:
    """Read what `to_json` has written."""
    if "parts" in stored:
        return Branch(stored["kind"], tuple(from_json(part) for part in stored["parts"]))
    return Leaf(stored["kind"], stored["key"], frozenset(stored["values"]), stored["absent"])
