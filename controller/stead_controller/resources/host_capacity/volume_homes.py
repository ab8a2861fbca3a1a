"""Home hosts of volumes: reserve space in a host's pools with a conditional UPDATE, and release it.

Disks are thin, so a pool may be overcommitted, up to the cloud's limit. A host that has not reported pools (an agent
of an earlier release) is not accounted.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Float, bindparam, exists, func, or_, select, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import (
    CapacityReservation,
    CapacityReservationSlots,
    Host,
    Instance,
    InstanceStoreDisk,
    StoragePool,
    UnclaimedResource,
    Volume,
)
from stead_controller.errors import NoCapacity
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction

_GIB: Final = 1 << 30
_CANDIDATES: Final = 32

_FITS: Final = StoragePool.provisioned + bindparam("bytes") <= StoragePool.total * bindparam("overcommit", type_=Float)
HAS_ROOM: Final[ColumnElement[bool]] = or_(
    ~exists().where(StoragePool.host_id == Host.id),
    exists().where(StoragePool.host_id == Host.id, _FITS),
)
"""Whether a host, a row of `hosts`, may have space: a pool for the largest of some volumes, or no known pools.

A coarse filter by one index look-up, with the parameters of `room_for`; `reserve` decides.
"""
_POOLS: Final = Prepared(
    select(StoragePool.name, StoragePool.volume_types, StoragePool.is_default).where(
        StoragePool.host_id == bindparam("host_id")
    )
)
_TAKE: Final = Prepared(
    update(StoragePool)
    .where(StoragePool.host_id == bindparam("home"), StoragePool.name == bindparam("pool"), _FITS)
    .values(provisioned=StoragePool.provisioned + bindparam("bytes"))
    .returning(StoragePool.name)
)


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """What one volume needs: GiB in a pool for its type."""

    size: int
    volume_type: str


def no_room(zone: str) -> NoCapacity:
    """Make EC2's error for a volume that no pool has space for."""
    return NoCapacity(
        f"There is not enough capacity for the requested volume in the Availability Zone {zone}.",
        code="InsufficientVolumeCapacity",
    )


def find_home(
    tx: Transaction, cloud: Cloud, volume: Volume, preferred: str | None, *, but: Collection[str] = ()
) -> None:
    """Assign a home to a volume, on the preferred host if that has space, not on those in `but`; raises NoCapacity."""
    need = DiskNeed(volume.size, volume.volume_type)
    others = (
        select(Host.id)
        .where(Host.zone == volume.zone, Host.state == "up", Host.schedulable.is_(True), HAS_ROOM, Host.id.not_in(but))
        .order_by(Host.memory_free.desc(), Host.id)
        .limit(_CANDIDATES)
    )
    candidates = [preferred] if preferred is not None else []
    candidates += [host_id for host_id in tx.session.scalars(others, room_for(cloud, [need])) if host_id != preferred]
    for host_id in candidates:
        pools = reserve(tx, cloud, host_id, [need])
        if pools is not None:
            volume.host_id, volume.pool = host_id, pools[0]
            return
    raise no_room(volume.zone)


def room_for(cloud: Cloud, needs: Iterable[DiskNeed]) -> dict[str, float]:
    """Return the parameters of `HAS_ROOM` for volumes."""
    return {"bytes": largest(needs), "overcommit": cloud.volume_overcommit}


def largest(needs: Iterable[DiskNeed]) -> int:
    """Return the size of the largest of some volumes, in bytes."""
    return max((need.size for need in needs), default=0) * _GIB


def reserve(
    tx: Transaction, cloud: Cloud, host_id: str, needs: Iterable[DiskNeed], *, instance_store: int = 0
) -> list[str] | None:
    """Reserve space for volumes in a host's pools and return the pools' names, in order; None when not all fit.

    In that case nothing is reserved. Instance store is in the default pool, where hosts create it. For a host that has
    not reported pools, the name is empty.
    """
    needs = list(needs)
    if not needs and not instance_store:
        return []
    pools = _POOLS.all(tx.connection, {"host_id": host_id})
    if not pools:
        return ["" for _ in needs]
    taken: list[tuple[str, int]] = []
    if instance_store:
        default = next((name for name, _, is_default in pools if is_default), "")
        if not _take(tx, cloud, host_id, default, instance_store):
            return None
    for need in needs:
        ranked = sorted(
            (-(need.volume_type in types.split()), not is_default, name)
            for name, types, is_default in pools
            if not types or need.volume_type in types.split()
        )
        name = next((name for _, _, name in ranked if _take(tx, cloud, host_id, name, need.size * _GIB)), None)
        if name is None:
            for pool, size in taken:
                release(tx, host_id, pool, size)
            if instance_store:
                release_bytes(tx, host_id, "", instance_store)
            return None
        taken.append((name, need.size))
    return [name for name, _ in taken]


def grow(tx: Transaction, cloud: Cloud, volume: Volume, size: int) -> None:
    """Reserve the space by which a volume grows to `size` GiB, if it has a home; raises NoCapacity."""
    if volume.host_id is None:
        return
    name = _pool_of(tx, volume.host_id, volume.pool)
    if name and not _take(tx, cloud, volume.host_id, name, (size - volume.size) * _GIB):
        raise no_room(volume.zone)


def keeps_type(tx: Transaction, volume: Volume, volume_type: str) -> bool:
    """Tell whether a volume's pool can also hold volumes of another type."""
    if volume.host_id is None:
        return True
    pool = tx.session.get(StoragePool, (volume.host_id, _pool_of(tx, volume.host_id, volume.pool)))
    return pool is None or not pool.volume_types or volume_type in pool.volume_types.split()


def release(tx: Transaction, host_id: str, pool: str, size: int) -> None:
    """Release the space of a volume of `size` GiB in its pool."""
    release_bytes(tx, host_id, pool, size * _GIB)


def release_bytes(tx: Transaction, host_id: str, pool: str, size: int) -> None:
    """Release a number of bytes in a pool; without a name in the default one."""
    tx.session.execute(
        update(StoragePool)
        .where(StoragePool.host_id == host_id, StoragePool.name == _pool_of(tx, host_id, pool))
        .values(provisioned=StoragePool.provisioned - size)
        .execution_options(synchronize_session=False)
    )


def shared_id(tx: Transaction, volume: Volume) -> str:
    """Return the shared id of a volume's pool, by which other hosts know it; empty when only its home has it."""
    if volume.host_id is None:
        return ""
    pool = tx.session.get(StoragePool, (volume.host_id, _pool_of(tx, volume.host_id, volume.pool)))
    return pool.shared_id if pool is not None else ""


def provisioned(tx: Transaction, host_id: str, name: str, *, is_default: bool) -> int:
    """Sum the bytes that a host's volumes take in a pool, also those that this database does not know.

    Volumes without a named pool are in the default one, and so are the instance store of instances with capacity and
    of slots of capacity reservations, and the memory of hibernated ones.
    """
    names = (name, "") if is_default else (name,)
    total = select(func.sum(Volume.size)).where(Volume.host_id == host_id, Volume.pool.in_(names))
    unclaimed = select(func.sum(UnclaimedResource.disk)).where(
        UnclaimedResource.host_id == host_id, UnclaimedResource.pool.in_(names)
    )
    of_volumes = int(tx.session.scalar(total) or 0) * _GIB + int(tx.session.scalar(unclaimed) or 0)
    if not is_default:
        return of_volumes
    held = select(func.sum(InstanceStoreDisk.size)).join(Instance, Instance.id == InstanceStoreDisk.instance_id)
    stores = held.where(
        Instance.host_id == host_id, Instance.capacity_held.is_(True), Instance.capacity_reservation_id.is_(None)
    )
    slots = (
        select(func.sum(CapacityReservation.instance_store * CapacityReservationSlots.slots))
        .join(CapacityReservationSlots, CapacityReservationSlots.reservation_id == CapacityReservation.id)
        .where(CapacityReservationSlots.host_id == host_id)
    )
    memories = select(func.sum(Instance.memory)).where(Instance.host_id == host_id, Instance.memory_saved.is_(True))
    return of_volumes + sum(int(tx.session.scalar(part) or 0) for part in (stores, slots, memories))


def _pool_of(tx: Transaction, host_id: str, pool: str) -> str:
    if pool:
        return pool
    default = select(StoragePool.name).where(StoragePool.host_id == host_id, StoragePool.is_default.is_(True))
    return tx.session.scalar(default) or ""


def _take(tx: Transaction, cloud: Cloud, host_id: str, name: str, size: int) -> bool:
    asked = {"home": host_id, "pool": name, "bytes": size, "overcommit": cloud.volume_overcommit}
    return _TAKE.first(tx.connection, asked) is not None
