"""Reads Cost Explorer's filter expressions; pure.

See https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_Expression.html.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stead_controller.aws.ce import dimensions, words
from stead_controller.errors import InvalidParameter, Unsupported

type ValueOf = Callable[[str, str], str]
"""Gives a value of a use by `DIMENSION`, `TAG` or `COST_CATEGORY` and the key; empty without one."""

_LEAVES: Final = {"Dimensions": "DIMENSION", "Tags": "TAG", "CostCategories": "COST_CATEGORY"}
_MEMBERS: Final = ("Or", "And", "Not", *_LEAVES)
_MOST_DEPTH: Final = 20
_LEAST: Final = 2


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


def read(expression: Mapping[str, Any], depth: int = 0) -> Filter:
    """Read an expression; raises InvalidParameter, or Unsupported for what there is not here."""
    if depth > _MOST_DEPTH:
        raise InvalidParameter(f"Expressions may be nested {_MOST_DEPTH} times at most.")
    if expression.get("ProductAttributes") is not None:
        raise Unsupported("The filter ProductAttributes is not supported by this cloud.")
    given = [(name, found) for name in _MEMBERS if (found := expression.get(name)) is not None]
    parts = [_part(name, found, depth) for name, found in given]
    if len(parts) != 1:
        raise InvalidParameter(f"An expression must have exactly one of {', '.join(_MEMBERS)}; it has {len(parts)}.")
    return parts[0]


def _part(name: str, given: Any, depth: int) -> Filter:
    if name in _LEAVES:
        return _leaf(_LEAVES[name], given)
    parts = [given] if name == "Not" else given
    if name != "Not" and len(parts) < _LEAST:
        raise InvalidParameter(f"{name} must have at least {_LEAST} expressions.")
    return Branch(name, tuple(read(part, depth + 1) for part in parts))


def leaves(found: Filter) -> Iterator[Leaf]:
    """Yield all parts of an expression that ask for values."""
    if isinstance(found, Leaf):
        yield found
    else:
        for part in found.parts:
            yield from leaves(part)


def _leaf(kind: str, given: Mapping[str, Any]) -> Leaf:
    key, values, options = given.get("Key"), given.get("Values") or (), set(given.get("MatchOptions") or ())
    if not key:
        raise InvalidParameter("A filter must have a Key.")
    if kind == "DIMENSION":
        dimensions.require(words.require(key, "Dimension", "key"))
    for option in sorted(options):
        words.require(option, "MatchOption", "matchOptions")
    known = {"EQUALS", "CASE_SENSITIVE"} | (set() if kind == "DIMENSION" else {"ABSENT"})
    if unknown := sorted(options - known):
        raise InvalidParameter(f"The match option {unknown[0]} is invalid here; valid are {', '.join(sorted(known))}.")
    absent = "ABSENT" in options
    if absent == bool(values) or (absent and len(options) > 1):
        raise InvalidParameter(f"The filter of {key} must have values, or else the match option ABSENT alone.")
    return Leaf(kind, key, frozenset(values), absent)


def keys_of(found: Iterable[Filter], kind: str) -> set[str]:
    """Return the keys of a kind for which expressions ask."""
    return {leaf.key for each in found for leaf in leaves(each) if leaf.kind == kind}
