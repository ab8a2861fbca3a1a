"""CostFilters, by the old names: each is a dimension, or tags with their keys; read and shown. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.metering.cost_filter import Branch, Filter, Leaf

_TAGS: Final = "TagKeyValue"
_CATEGORIES: Final = "CostCategory"
_USERS: Final = "user:"
_DIMENSIONS: Final = {
    "AZ": "AZ",
    "InstanceType": "INSTANCE_TYPE",
    "LinkedAccount": "LINKED_ACCOUNT",
    "Operation": "OPERATION",
    "RecordType": "RECORD_TYPE",
    "Region": "REGION",
    "Service": "SERVICE",
    "UsageType": "USAGE_TYPE",
}
_NAMES: Final = {dimension: name for name, dimension in _DIMENSIONS.items()}
_KINDS: Final = {_TAGS: "TAG", _CATEGORIES: "COST_CATEGORY"}


def read(given: Mapping[str, Sequence[str]]) -> Filter | None:
    """Read filters, all of which must hold; raises InvalidParameter, or Unsupported for what there is not here."""
    leaves: list[Filter] = []
    for name, values in given.items():
        if not values:
            raise InvalidParameter(f"The cost filter {name[:100]} must have values.")
        if name in _KINDS:
            leaves += _keyed(_KINDS[name], name, values)
        elif name in _DIMENSIONS:
            leaves.append(Leaf("DIMENSION", _DIMENSIONS[name], frozenset(values)))
        else:
            raise Unsupported(f"The cost filter {name[:100]} is not supported by this cloud.")
    if not leaves:
        return None
    return leaves[0] if len(leaves) == 1 else Branch("And", tuple(leaves))


def show(found: Filter | None) -> dict[str, list[str]]:
    """Show what `read` has read; values are sorted."""
    leaves = found.parts if isinstance(found, Branch) else () if found is None else (found,)
    shown: dict[str, list[str]] = {}
    for leaf in leaves:
        assert isinstance(leaf, Leaf)
        match leaf.kind:
            case "TAG":
                key = leaf.key if leaf.key.startswith("aws:") else _USERS + leaf.key
                shown.setdefault(_TAGS, []).extend(f"{key}${value}" for value in sorted(leaf.values))
            case "COST_CATEGORY":
                shown.setdefault(_CATEGORIES, []).extend(f"{leaf.key}${value}" for value in sorted(leaf.values))
            case _:
                shown[_NAMES[leaf.key]] = sorted(leaf.values)
    return shown


def _keyed(kind: str, name: str, given: Sequence[str]) -> list[Filter]:
    """Read `key$value`s: a use must have one of the values of each key."""
    values: dict[str, set[str]] = {}
    for each in given:
        key, found, value = each.partition("$")
        key = key.removeprefix(_USERS) if kind == "TAG" else key
        if not found or not key:
            raise InvalidParameter(
                f"A value of {name} has the form key$value, as {_USERS}team$web; this is {each[:100]}."
            )
        values.setdefault(key, set()).add(value)
    return [Leaf(kind, key, frozenset(found)) for key, found in values.items()]
