"""Volumes of a removed home host: those in a pool that other hosts share get another home; the rest are lost.

The operator asserts that the host is dead: it must not write to its volumes any more. Before the new home makes a disk
available, it fences every client that still has it open; see `RbdPool.adopt` of the agent.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import select, update

from stead_controller.db.tables import Host, Instance, StoragePool, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import InUse
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.instances import volume_attachments

_MOST_FORMER: Final = 8
_GIB: Final = 1 << 30


def give_up(tx: Transaction, host: Host, now: datetime) -> None:
    """Assign another home to each volume of a host, or remove the volume; the host's instances have ended.

    Raises InUse while no host is up that could be the new home; the transaction must then be rolled back.
    """
    volumes = tx.session.scalars(select(Volume).where(Volume.host_id == host.id).order_by(Volume.id)).all()
    for volume in volumes:
        shared_id = volume_homes.shared_id(tx, volume)
        sharers = _sharers(tx, host, volume, shared_id) if shared_id and not _ends(tx, volume) else []
        if not sharers:
            volume_attachments.lose_home(tx, volume, now)
            continue
        pool = next((pool for sharer, pool in sharers if _can_be_home(tx, sharer, volume)), None)
        if pool is None:
            raise InUse(
                f"{volume.id} is in a pool that other hosts have too, and none of them can be its home now: they are "
                "down, drained, or the host of the instance that it is attached to."
            )
        _move(tx, volume, pool, now)


def _ends(tx: Transaction, volume: Volume) -> bool:
    """Tell whether a volume is to be deleted, with its instance (which has ended) or by a request."""
    return volume.state == "deleting" or (volume.delete_on_termination and _instance_has_ended(tx, volume))


def _instance_has_ended(tx: Transaction, volume: Volume) -> bool:
    instance = tx.session.get(Instance, volume.instance_id) if volume.instance_id is not None else None
    return instance is not None and instance.state in ("shutting-down", "terminated")


def _sharers(tx: Transaction, host: Host, volume: Volume, shared_id: str) -> list[tuple[Host, StoragePool]]:
    """List the other hosts of the zone that share a volume's pool, the one with most memory first."""
    query = (
        select(Host, StoragePool)
        .join(StoragePool, StoragePool.host_id == Host.id)
        .where(StoragePool.shared_id == shared_id, Host.id != host.id, Host.zone == volume.zone)
        .order_by(Host.memory_free.desc(), Host.id, StoragePool.name)
    )
    return [(sharer, pool) for sharer, pool in tx.session.execute(query).all()]


def _can_be_home(tx: Transaction, host: Host, volume: Volume) -> bool:
    """Tell whether a host can be a volume's home now.

    A host whose guest uses the volume through its former home cannot: the guest must detach it first.
    """
    if host.state != "up" or not host.schedulable:
        return False
    instance = tx.session.get(Instance, volume.instance_id) if volume.instance_id is not None else None
    users = {volume.attached_host_id, instance.host_id if instance is not None else None}
    return host.id not in users and not desired_state.removal_pending(tx, host.id, volume.id)


def _move(tx: Transaction, volume: Volume, pool: StoragePool, now: datetime) -> None:
    """Assign a home to a volume, which takes over its disk, and notify the other host that uses it."""
    former = [*volume.former_homes.split(), volume.host_id or ""][-_MOST_FORMER:]
    has_ended = _instance_has_ended(tx, volume)
    volume.former_homes = " ".join(former)
    volume.host_id, volume.pool = pool.host_id, pool.name
    tx.session.execute(
        update(StoragePool)
        .where(StoragePool.host_id == pool.host_id, StoragePool.name == pool.name)
        .values(provisioned=StoragePool.provisioned + volume.size * _GIB)
        .execution_options(synchronize_session=False)
    )
    if has_ended:
        volume_attachments.settle_detached(tx, volume, now)
        return
    volume_attachments.serve_anew(tx, volume)
    desired_state.refresh_volume(tx, volume)
