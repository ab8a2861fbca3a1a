"""What can leave a host that is drained: volumes that nobody uses, stopped instances with theirs, gateways.

A loop without input, to be repeated: it reads all that is on such hosts, and takes for each the step that is next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Host, Instance, Snapshot, Volume, VolumeMove
from stead_controller.errors import NoCapacity
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.instances import start_places, volume_attachments
from stead_controller.resources.network import nat_gateways, vpc_endpoint_interfaces
from stead_controller.resources.storage import volume_moves

_AT_ONCE: Final = 4
"""Volumes of one host whose content is on its way: as much as its agent reads at a time, and some that are ready."""
_INSTANCES_AT_ONCE: Final = 20
_NOBODY_USES: Final[ColumnElement[bool]] = or_(
    and_(Volume.instance_id.is_(None), Volume.state == "available"),
    and_(Volume.attachment_state == "attached", Instance.state == "stopped"),
)


DUE: Final = DueRows(exists().where(Host.draining.is_(True)) | exists(select(VolumeMove.volume_id)))
"""Whether there is a host to empty, or a move to end."""


def take_steps(tx: Transaction, cloud: Cloud, now: datetime) -> None:
    """End moves that are of no use, finish those whose content is in the block store, and begin others."""
    ready = [each for each in _moves(tx) if _is_ready(tx, each)]
    for _, group in groupby(ready, key=_together):
        _finish(tx, cloud, list(group))
    for host in tx.session.scalars(select(Host).where(Host.draining.is_(True), Host.state == "up")).all():
        _begin(tx, host, now)
        _relocate(tx, host)
        _move_gateways(tx, host)


def retry(tx: Transaction, host_id: str) -> None:
    """Let what could not leave a host be tried again."""
    failed = select(VolumeMove).where(VolumeMove.host_id == host_id, VolumeMove.snapshot_id.is_(None))
    for move in tx.session.scalars(failed).all():
        volume_moves.cancel(tx, move)


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A move with its volume, and the instance that has that."""

    move: VolumeMove
    volume: Volume
    instance: Instance | None


def _together(leaving: _Leaving) -> tuple[str, str, str]:
    """Return the same for all that must leave in one transaction: a stopped instance of the host, and its volumes."""
    instance = leaving.instance
    if instance is not None and instance.host_id == leaving.move.host_id:
        return (leaving.move.host_id, instance.id, "")
    return (leaving.move.host_id, "", leaving.volume.id)


def _moves(tx: Transaction) -> Iterator[_Leaving]:
    """List the moves that are of use, those of an instance one after the other; the rest is ended."""
    query = (
        select(VolumeMove, Volume, Host)
        .outerjoin(Volume, Volume.id == VolumeMove.volume_id)
        .outerjoin(Host, Host.id == VolumeMove.host_id)
        .order_by(VolumeMove.host_id, Volume.instance_id, VolumeMove.volume_id)
    )
    for move, volume, host in tx.session.execute(query).all():
        instance = tx.session.get(Instance, volume.instance_id) if volume is not None and volume.instance_id else None
        if host is None or not host.draining or volume is None or not volume_moves.is_current(move, volume, instance):
            volume_moves.cancel(tx, move)
        elif move.snapshot_id is not None:
            yield _Leaving(move, volume, instance)


def _is_ready(tx: Transaction, leaving: _Leaving) -> bool:
    """Tell whether the content of a volume is in the block store, and nothing else goes on with it."""
    snapshot = volume_moves.content(tx, leaving.move)
    if snapshot is None or snapshot.state not in ("pending", "completed"):
        volume_moves.fail(tx, leaving.move, snapshot.state_message if snapshot is not None else "Its content is gone.")
        return False
    return snapshot.state == "completed" and not volume_moves.is_busy(tx, leaving.volume)


def _finish(tx: Transaction, cloud: Cloud, group: Sequence[_Leaving]) -> None:
    """Give volumes another home, and a stopped instance of their host another host: all, or none."""
    first = group[0]
    instance = first.instance
    leaves = instance if instance is not None and instance.host_id == first.move.host_id else None
    if leaves is not None and (_waits(tx, leaves, len(group)) or start_places.what_binds(tx, leaves)):
        return
    try:
        with tx.savepoint():
            for each in group:
                user = each.instance.host_id if each.instance is not None else None
                wanted = first.volume.host_id if leaves is not None and each is not first else user
                preferred = wanted if wanted is not None and _may_have(tx, wanted) else None
                volume_moves.change_home(tx, cloud, each.move, each.volume, preferred)
                if leaves is None:
                    volume_attachments.have_new_home(tx, each.volume)
            if leaves is not None:
                assert first.volume.host_id is not None
                start_places.relocate(tx, leaves, first.volume.host_id)
    except NoCapacity as refusal:
        for each in group:
            volume_moves.wait(each.move, refusal.message)


def _waits(tx: Transaction, instance: Instance, ready: int) -> bool:
    """Tell whether a stopped instance has volumes on its host that cannot leave it yet."""
    mine = select(func.count()).where(Volume.instance_id == instance.id, Volume.host_id == instance.host_id)
    return tx.session.scalars(mine).one() != ready


def _may_have(tx: Transaction, host_id: str) -> bool:
    host = tx.session.get(Host, host_id)
    return host is not None and host.state == "up" and host.schedulable


def _begin(tx: Transaction, host: Host, now: datetime) -> None:
    """Begin to move some volumes of a host, the smallest first, and those of an instance together."""
    under_way = (
        select(func.count())
        .select_from(VolumeMove)
        .join(Snapshot, Snapshot.id == VolumeMove.snapshot_id)
        .where(VolumeMove.host_id == host.id, Snapshot.state == "pending")
    )
    room = _AT_ONCE - tx.session.scalars(under_way).one()
    if room <= 0:
        return
    query = (
        select(Volume, Instance)
        .outerjoin(Instance, Instance.id == Volume.instance_id)
        .where(Volume.host_id == host.id, ~exists().where(VolumeMove.volume_id == Volume.id), _NOBODY_USES)
        .order_by(Volume.instance_id, Volume.size, Volume.id)
    )
    for volume, instance in tx.session.execute(query).all():
        if room <= 0:
            return
        stays = instance is not None and instance.host_id == host.id and start_places.what_binds(tx, instance)
        if not stays and volume_moves.can_begin(volume, instance):
            volume_moves.begin(tx, volume, instance, now)
            room -= 1


def _relocate(tx: Transaction, host: Host) -> None:
    """Give stopped instances without volumes on a host another one; those with some leave together with these."""
    here = exists().where(Volume.instance_id == Instance.id, Volume.host_id == host.id)
    query = select(Instance).where(Instance.host_id == host.id, Instance.state == "stopped", ~here)
    for instance in tx.session.scalars(query.order_by(Instance.id).limit(_INSTANCES_AT_ONCE)).all():
        target = None if start_places.what_binds(tx, instance) else start_places.any_other(tx, instance)
        if target is not None:
            start_places.relocate(tx, instance, target)


def _move_gateways(tx: Transaction, host: Host) -> None:
    """Move NAT gateways and interfaces of endpoints, if another host of the zone can have them."""
    home = capacity.choose_any(tx, host.zone, but=host.id)
    if home is not None:
        nat_gateways.move_some(tx, host.id, home)
        vpc_endpoint_interfaces.move_some(tx, host.id, home)
