"""Drain a host: its guests are shut down, as for EC2's scheduled retirement, and started on other hosts of their zone.

No state but the instances' own is needed: one that a drain has stopped has the reason `Server.ScheduledStop` until it
starts again, or until its user wants it to be stopped. One that can start nowhere yet stays stopped.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import exists, func, literal_column, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import CapacityReservationSlots, Host, Instance, Volume, VolumeMove
from stead_controller.errors import InvalidParameter, LimitExceeded, NoCapacity
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import reserved_slots
from stead_controller.resources.instances.instance_states import SCHEDULED_STOP
from stead_controller.resources.instances.start_instances import start
from stead_controller.resources.instances.stop_instances import scheduled_stop

_AT_ONCE: Final = 20
# Written out, not a parameter: else SQLite would not use the index that has only these rows.
_STOPPED: Final = select(Instance).where(
    Instance.state_reason_code == literal_column(f"'{SCHEDULED_STOP.code}'"), Instance.state == "stopped"
)
_WAITS_FOR_VOLUMES: Final = exists().where(
    Volume.instance_id == Instance.id,
    Host.id == Volume.host_id,
    Host.draining.is_(True),
    ~exists().where(VolumeMove.volume_id == Volume.id, VolumeMove.failure != ""),
)

_WITH_SLOTS: Final = (
    select(CapacityReservationSlots.host_id)
    .join(Host, Host.id == CapacityReservationSlots.host_id)
    .where(Host.draining.is_(True), CapacityReservationSlots.used < CapacityReservationSlots.slots)
    .distinct()
)

_SLOTS_ARE_FREE: Final = exists().where(  # asked of each drained host: a join would begin with the slots of all hosts
    CapacityReservationSlots.host_id == Host.id, CapacityReservationSlots.used < CapacityReservationSlots.slots
)

DUE: Final = DueRows(
    exists(_STOPPED.with_only_columns(Instance.id)) | exists().where(Host.draining.is_(True), _SLOTS_ARE_FREE)
)
"""Whether there is an instance that a drain has stopped, or a slot on a host that is drained."""


def stop_guests(tx: Transaction, host_id: str, now: datetime) -> None:
    """Ask all guests of a host to shut down; stop protection does not hold for a host's retirement, as in EC2."""
    running = select(Instance).where(Instance.host_id == host_id, Instance.state.in_(("pending", "running")))
    for instance in tx.session.scalars(running.order_by(Instance.id)).all():
        scheduled_stop(tx, instance, now)


def start_elsewhere(tx: Transaction, cloud: Cloud, now: datetime) -> None:
    """Start some of the instances that drains have stopped, where hosts have room; to be repeated.

    Slots of capacity reservations that they have left move first. The instances are chosen at random, so that those
    which can start nowhere do not hold up the others. One waits until its volumes have left, unless one of them cannot:
    a started instance would hold it there.
    """
    for host_id in tx.session.scalars(_WITH_SLOTS).all():
        reserved_slots.move_away(tx, cloud, host_id)
    waiting = _STOPPED.where(~_WAITS_FOR_VOLUMES).order_by(func.random()).limit(_AT_ONCE)
    for instance in tx.session.scalars(waiting).all():
        try:
            with tx.savepoint():
                start(tx, cloud, instance, now)
        except (InvalidParameter, LimitExceeded, NoCapacity):
            continue  # without a root volume, above its account's quota, or without room anywhere: it stays stopped
