"""Reads Cost Explorer's filter expressions; pure.

See https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_Expression.html.
"""

from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.ce import words
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.metering import dimensions
from stead_controller.metering.cost_filter import Branch, Filter, Leaf

_LEAVES: Final = {"Dimensions": "DIMENSION", "Tags": "TAG", "CostCategories": "COST_CATEGORY"}
_MEMBERS: Final = ("Or", "And", "Not", *_LEAVES)
_MOST_DEPTH: Final = 20
_LEAST: Final = 2


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
