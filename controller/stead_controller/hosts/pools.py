"""Stores the storage pools that a host reports; the controller counts how much of each is provisioned."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import bindparam, case, select, update

from stead_controller.db.session import Transaction
from stead_controller.db.tables import StoragePool
from stead_controller.resources.host_capacity import volume_homes
from stead_proto.v1 import host_pb2 as pb

_NAME_LENGTH: Final = 64
_SHARED_LENGTH: Final = 128


def of_hosts(tx: Transaction, host_ids: Collection[str]) -> defaultdict[str, list[StoragePool]]:
    """Return the known pools of hosts, by host."""
    found: defaultdict[str, list[StoragePool]] = defaultdict(list)
    for pool in tx.session.scalars(select(StoragePool).where(StoragePool.host_id.in_(host_ids))):
        found[pool.host_id].append(pool)
    return found


def take(tx: Transaction, host_id: str, reported: Iterable[pb.StoragePool], rows: list[StoragePool]) -> None:
    """Store the pools that a host has; one that it no longer reports has no space any more.

    `rows` are the known ones, to which new ones are added.
    """
    known = {pool.name: pool for pool in rows}
    for pool in reported:
        row = known.pop(pool.name, None)
        if row is None:
            if not pool.name or len(pool.name) > _NAME_LENGTH:
                continue
            row = StoragePool(host_id=host_id, name=pool.name, backend=pool.backend, shared_id="")
            tx.session.add(row)
            rows.append(row)
        if row.is_default != pool.is_default:  # volumes that name no pool are now counted elsewhere
            row.provisioned = volume_homes.provisioned(tx, host_id, pool.name, is_default=pool.is_default)
        # While a pool cannot be reached its host does not know the pool's shared id.
        row.shared_id = pool.shared_id[:_SHARED_LENGTH] or (row.shared_id if row.backend == pool.backend else "")
        row.backend = pool.backend
        row.volume_types = " ".join(sorted(pool.volume_types))
        row.is_default = pool.is_default
        row.total = pool.total
        row.free = pool.free
    for gone in known.values():
        gone.total = gone.free = 0


_ROOM: Final = (
    update(StoragePool)
    .where(StoragePool.host_id == bindparam("pool_host"), StoragePool.name == bindparam("pool_name"))
    .values(
        total=bindparam("new_total"),
        free=bindparam("new_free"),
        shared_id=case((bindparam("new_shared") == "", StoragePool.shared_id), else_=bindparam("new_shared")),
    )
    .execution_options(synchronize_session=False)
)


def note_room(tx: Transaction, reported: Collection[tuple[str, pb.StoragePool]]) -> None:
    """Store how much space pools have now, by host."""
    rows = [
        {
            "pool_host": host_id,
            "pool_name": pool.name,
            "new_total": pool.total,
            "new_free": pool.free,
            "new_shared": pool.shared_id[:_SHARED_LENGTH],
        }
        for host_id, pool in reported
    ]
    if rows:
        tx.session.connection().execute(_ROOM, rows)
