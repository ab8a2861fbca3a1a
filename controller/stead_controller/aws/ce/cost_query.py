"""Reads by what and in which metrics costs are asked for."""

from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.ce import words
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.metering import dimensions
from stead_controller.metering.cost_sums import METRICS, Group

_UNBUILT: Final = frozenset(
    {"BilledCost", "ContractedCost", "ListCost", "PublicEquivalentBilledCost", "PublicOnDemandCost"}
)
_MOST_GROUPS: Final = 2


def read_groups(given: list[Mapping[str, Any]]) -> tuple[Group, ...]:
    """Read by what costs are divided; raises InvalidParameter, or Unsupported for what there is not here."""
    found = []
    for one in given:
        kind, key = words.require(one.get("Type") or "", "GroupDefinitionType", "type"), one.get("Key")
        if not key:
            raise InvalidParameter("A group definition must have a Key.")
        if kind == "PRODUCT_ATTRIBUTE":
            raise Unsupported("Groups by PRODUCT_ATTRIBUTE are not supported by this cloud.")
        if kind == "DIMENSION":
            dimensions.require(words.require(key, "Dimension", "key"))
        found.append(Group(kind, key))
    if len(found) > _MOST_GROUPS:
        raise InvalidParameter(f"Costs can be grouped by {_MOST_GROUPS} definitions at most.")
    if len(set(found)) < len(found):
        raise InvalidParameter("The same group definition is given twice.")
    return tuple(found)


def read_metrics(given: list[str]) -> tuple[str, ...]:
    """Read names of metrics, each once; raises InvalidParameter, or Unsupported for what there is not here."""
    for name in given:
        if name in _UNBUILT:
            raise Unsupported(f"The metric {name} is not supported by this cloud.")
        if name not in METRICS:
            raise InvalidParameter(f"Metric {name} is invalid. Valid Metrics are: {', '.join(METRICS)}")
    if not given:
        raise InvalidParameter("At least one metric must be given.")
    return tuple(dict.fromkeys(given))
