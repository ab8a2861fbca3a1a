"""What capacity reservations use beside their instances: slots in which none runs, from second to second."""

from datetime import datetime

from sqlalchemy import bindparam, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import CapacityReservation
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import reserved_slots

_RESERVATION = Prepared(
    select(CapacityReservation.account_id, CapacityReservation.zone, CapacityReservation.instance_type).where(
        CapacityReservation.id == bindparam("id")
    )
)


def measure(tx: Transaction, reservation_id: str, now: datetime) -> None:
    """Bill the slots of a reservation that are unused now; one that has ended has none."""
    row = _RESERVATION.first(tx.connection, {"id": reservation_id})
    assert row is not None  # one that is forgotten has ended, and has no slots
    account_id, zone, instance_type = row
    used = uses.of_unused_slots(instance_type, reserved_slots.unused(tx, reservation_id))
    ledger.change(tx, Resource(reservation_id, account_id, zone), used, now)
