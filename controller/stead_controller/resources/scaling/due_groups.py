"""Which groups have to be looked at: nothing is polled, each has the instant at which it is due, or none."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, exists, or_, select, update

from stead_controller.db.due_rows import DueRows
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import ScalingGroup, ScalingInstance
from stead_controller.request import lookup
from stead_controller.request.transaction import Transaction

_OF_GROUPS: Final = Prepared(
    select(ScalingInstance.group_id)
    .where(ScalingInstance.instance_id.in_(bindparam("instance_ids", expanding=True)))
    .limit(1)
)


def wake(tx: Transaction, group: ScalingGroup, now: datetime) -> None:
    """Have a group looked at as soon as this transaction is committed."""
    group.due = now
    tx.scaling = True


def wake_all(tx: Transaction, now: datetime) -> None:
    """Have all groups looked at: what happened while no controller ran is not known."""
    tx.session.execute(update(ScalingGroup).values(due=now).execution_options(synchronize_session=False))


def wake_of(tx: Transaction, instance_ids: Collection[str], now: datetime) -> None:
    """Have the groups looked at that have one of these instances."""
    for batch in lookup.batches(list(instance_ids)):
        theirs = select(ScalingInstance.group_id).where(ScalingInstance.instance_id.in_(batch))
        sleeping = or_(ScalingGroup.due.is_(None), ScalingGroup.due > now)
        change = update(ScalingGroup).where(ScalingGroup.id.in_(theirs), sleeping).values(due=now)
        tx.session.execute(change.execution_options(synchronize_session=False))


def are_of_groups(tx: Transaction, instance_ids: Collection[str]) -> bool:
    """Tell whether one of these instances is in a group."""
    for batch in lookup.batches(list(instance_ids)):
        if _OF_GROUPS.first(tx.connection, {"instance_ids": batch}) is not None:
            return True
    return False


DUE: Final = DueRows(exists().where(ScalingGroup.due <= bindparam("now")))
"""Whether a group is to be looked at."""


def next_due(tx: Transaction, now: datetime) -> str | None:
    """Return the id of the group that is longest due."""
    due = select(ScalingGroup.id).where(ScalingGroup.due <= now).order_by(ScalingGroup.due, ScalingGroup.id).limit(1)
    return tx.session.scalar(due)


def put_off(tx: Transaction, group_id: str, until: datetime) -> None:
    """Have a group looked at later."""
    later = update(ScalingGroup).where(ScalingGroup.id == group_id).values(due=until)
    tx.session.execute(later.execution_options(synchronize_session=False))
