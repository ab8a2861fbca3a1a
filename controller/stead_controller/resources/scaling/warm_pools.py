"""Warm pools: made, changed, found and deleted. What follows from it is done by `group_step.py`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import ScalingGroup, ScalingInstance, WarmPool
from stead_controller.errors import InUse, InvalidParameter, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import activities, due_groups, groups, instance_refreshes, warm_pool_plan
from stead_controller.resources.scaling.member import WARMED
from stead_controller.resources.scaling.warm_pool_plan import Pool

STOPPED: Final = "Stopped"
RUNNING: Final = "Running"
HIBERNATED: Final = "Hibernated"
STATES: Final = (STOPPED, RUNNING, HIBERNATED)

_NO_MAXIMUM: Final = -1

type ShownPool = WarmPool
"""A warm pool as it is shown."""


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """What a request says of a warm pool; None is what it does not say. A `max_prepared` of -1 is none."""

    min_size: int | None = None
    max_prepared: int | None = None
    state: str | None = None
    reuse: bool | None = None


def put(tx: Transaction, caller: Caller, name: str, asked: PoolRequest, now: datetime) -> None:
    """Make or change a group's warm pool; raises NotFound, InvalidParameter, WrongState."""
    group = groups.find(tx, caller, name)
    if instance_refreshes.under_way(tx, group.id) is not None:
        raise WrongState(
            "scaling-group",
            f"An active instance refresh already exists and is in progress for the Auto Scaling group {name}.",
            code="InstanceRefreshInProgress",
        )
    _check(asked)
    row = of(tx, group.id)
    if row is None:
        row = WarmPool(
            group_id=group.id,
            min_size=0,
            max_prepared=None,
            state=STOPPED,
            reuse=None,
            deleting=False,
            failures=0,
            retry_at=None,
        )
        tx.session.add(row)
    if row.deleting:
        raise WrongState("scaling-group", f"The warm pool of the AutoScalingGroup '{name}' is pending delete.")
    if asked.min_size is not None:
        row.min_size = asked.min_size
    if asked.max_prepared is not None:
        row.max_prepared = None if asked.max_prepared == _NO_MAXIMUM else asked.max_prepared
    if asked.state is not None:
        row.state = asked.state
    if asked.reuse is not None:
        row.reuse = asked.reuse
    row.failures, row.retry_at = 0, None
    due_groups.wake(tx, group, now)
    tx.session.flush()


def _check(asked: PoolRequest) -> None:
    if asked.min_size is not None and asked.min_size < 0:
        raise InvalidParameter(f"The MinSize {asked.min_size} of a warm pool is negative.")
    if asked.max_prepared is not None and asked.max_prepared < _NO_MAXIMUM:
        raise InvalidParameter(f"The MaxGroupPreparedCapacity {asked.max_prepared} is less than {_NO_MAXIMUM}.")
    if asked.state is not None and asked.state not in STATES:
        raise InvalidParameter(f"The PoolState {asked.state} is not one of {', '.join(STATES)}.")


def remove(tx: Transaction, caller: Caller, name: str, now: datetime, *, force: bool) -> None:
    """Delete a group's warm pool; with its instances if `force` is set. Raises NotFound, InUse, WrongState."""
    group = groups.find(tx, caller, name)
    row = of(tx, group.id)
    if row is None:
        raise InvalidParameter(f"No warm pool found for the Auto Scaling group: {name}")
    has_any = instance_ids(tx, group.id, limit=1)
    if not force and activities.are_under_way(tx, group.id):
        raise WrongState(
            "scaling-group",
            "You cannot delete a warm pool while there are scaling activities in progress for that group.",
            code="ScalingActivityInProgress",
        )
    if not force and has_any:
        raise InUse("You cannot delete a warm pool while there are instances still in the warm pool.")
    row.deleting = True
    due_groups.wake(tx, group, now)
    if not has_any:
        tx.session.delete(row)
    tx.session.flush()


def of(tx: Transaction, group_id: str) -> WarmPool | None:
    """Return the warm pool of a group, if it has one."""
    return tx.session.get(WarmPool, group_id)


def instance_ids(tx: Transaction, group_id: str, *, after: str = "", limit: int) -> list[str]:
    """Return the ids of some instances in a group's warm pool, in order."""
    here = ScalingInstance.group_id == group_id, ScalingInstance.lifecycle_state.startswith(WARMED)
    query = select(ScalingInstance.instance_id).where(*here, ScalingInstance.instance_id > after)
    return list(tx.session.scalars(query.order_by(ScalingInstance.instance_id).limit(limit)))


def describe(
    tx: Transaction, caller: Caller, name: str, *, after: str, limit: int
) -> tuple[WarmPool | None, list[ScalingInstance]]:
    """Return a group's warm pool, if it has one, and some of its instances by id; raises NotFound."""
    group = groups.require(tx, caller, name)
    ids = instance_ids(tx, group.id, after=after, limit=limit)
    found = select(ScalingInstance).where(ScalingInstance.instance_id.in_(ids)).order_by(ScalingInstance.instance_id)
    return of(tx, group.id), list(tx.session.scalars(found))


def seen(group: ScalingGroup, row: WarmPool) -> Pool:
    """Return a warm pool as pure functions see it."""
    size = warm_pool_plan.size_of(group.desired, group.max_size, row.min_size, row.max_prepared)
    return Pool(size, bool(row.reuse), row.retry_at, row.deleting)
