"""Which metrics of a group are collected: all or some, or none any more."""

from collections.abc import Collection

from stead_controller.db.tables import ScalingMetric
from stead_controller.errors import InvalidParameter
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import groups
from stead_controller.resources.scaling.group_metrics import GRANULARITY, METRICS


def enable(tx: Transaction, caller: Caller, group_name: str, names: Collection[str], granularity: str) -> None:
    """Have metrics collected, all if none is named; raises NotFound, WrongState, InvalidParameter."""
    if granularity != GRANULARITY:
        raise InvalidParameter(f"The granularity {granularity} is not valid: {GRANULARITY} is.")
    group = groups.find(tx, caller, group_name)
    for name in _known(names):
        if tx.session.get(ScalingMetric, (group.id, name)) is None:
            tx.session.add(ScalingMetric(group_id=group.id, name=name))
    tx.session.flush()


def disable(tx: Transaction, caller: Caller, group_name: str, names: Collection[str]) -> None:
    """Have metrics collected no more, all if none is named; raises NotFound, WrongState, InvalidParameter."""
    group = groups.find(tx, caller, group_name)
    for name in _known(names):
        row = tx.session.get(ScalingMetric, (group.id, name))
        if row is not None:
            tx.session.delete(row)
    tx.session.flush()


def _known(names: Collection[str]) -> Collection[str]:
    for name in names:
        if name not in METRICS:
            raise InvalidParameter(f"The metric {name} is not one of {', '.join(METRICS)}.")
    return names or METRICS
