"""The room of what hosts have and this database, an older copy, does not know: it counts as reserved."""

from stead_controller.db.tables import UnclaimedResource
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity, volume_homes


def take(tx: Transaction, row: UnclaimedResource) -> None:
    """Reserve the room of an unclaimed resource, whether it is free or not."""
    _count(tx, row, 1)


def release(tx: Transaction, row: UnclaimedResource) -> None:
    """Release the room of a resource that is unclaimed no more."""
    _count(tx, row, -1)


def _count(tx: Transaction, row: UnclaimedResource, sign: int) -> None:
    if row.vcpus or row.memory:
        capacity.count(tx, row.host_id, sign * row.vcpus, sign * row.memory)
    if row.disk:
        volume_homes.release_bytes(tx, row.host_id, row.pool, -sign * row.disk)
