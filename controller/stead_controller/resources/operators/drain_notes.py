"""What becomes of the things on a host that is drained: how far each is on its way, or why it stays and what to do."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import exists, select

from stead_controller.db.tables import Host, Instance, Snapshot, Volume, VolumeMove
from stead_controller.request.lookup import batches
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.instances import start_places
from stead_controller.resources.operators.host_uses import REMOVING, HostUse

_ALMOST: Final = 99
_GATEWAYS: Final = frozenset({"nat-gateway", "vpc-endpoint-interface"})
_STOPS: Final = ("stopping", "shutting-down")


def annotated(tx: Transaction, host_id: str, uses: Collection[HostUse]) -> list[HostUse]:
    """Return what is on a host that is drained, with notes; `percent` is None for what stays."""
    of_instances = _instance_notes(tx, host_id, [use.resource_id for use in uses if use.kind == "instance"])
    of_volumes = _volume_notes(tx, host_id, of_instances)
    of_gateways = _gateway_note(tx, host_id) if any(use.kind in _GATEWAYS for use in uses) else ("", None)
    found = []
    for use in uses:
        note, percent = of_gateways if use.kind in _GATEWAYS else ("", None)
        if use.state == REMOVING:
            note, percent = "the host has still to remove it", _ALMOST
        elif use.kind == "instance":
            note, percent = of_instances.get(use.resource_id, ("", 0))
        elif use.kind == "volume":
            note, percent = of_volumes.get(use.resource_id, ("", 0))
        found.append(replace(use, note=note, percent=percent))
    return found


def _gateway_note(tx: Transaction, host_id: str) -> tuple[str, int | None]:
    """Say what becomes of a host's NAT gateways and interfaces of endpoints."""
    host = tx.session.get_one(Host, host_id)
    if capacity.choose_any(tx, host.zone, but=host_id) is None:
        return f"it waits until another host of {host.zone} is up and not cordoned", None
    if host.state != "up":
        return "it leaves when its host is up, or removed", None
    return "it moves to another host", 0


def _instance_notes(tx: Transaction, host_id: str, instance_ids: Sequence[str]) -> dict[str, tuple[str, int | None]]:
    """Say of each instance what becomes of it."""
    found: dict[str, tuple[str, int | None]] = {}
    for batch in batches(instance_ids):
        for instance in tx.session.scalars(select(Instance).where(Instance.id.in_(batch))).all():
            if instance.host_id == host_id:
                found[instance.id] = _of_instance(tx, instance)
    return found


def _of_instance(tx: Transaction, instance: Instance) -> tuple[str, int | None]:
    if instance.state in _STOPS:
        return "it is stopping", 0
    if instance.state != "stopped":
        return "it runs here: stop it, or drain the host with --stop", None
    if bound := start_places.what_binds(tx, instance):
        return f"it stays, since {bound}: {_remedy(instance)}", None
    return "it leaves with its volumes", 0


def _remedy(instance: Instance) -> str:
    if instance.memory_saved:
        return "uncordon the host, start it, and stop it without hibernation"
    return "uncordon the host to start it, or terminate it"


def _volume_notes(
    tx: Transaction, host_id: str, of_instances: dict[str, tuple[str, int | None]]
) -> dict[str, tuple[str, int | None]]:
    found: dict[str, tuple[str, int | None]] = {}
    moves = select(VolumeMove, Snapshot.state, Snapshot.progress).outerjoin(
        Snapshot, Snapshot.id == VolumeMove.snapshot_id
    )
    for move, snapshot, progress in tx.session.execute(moves.where(VolumeMove.host_id == host_id)).all():
        found[move.volume_id] = _of_move(move, snapshot or "", progress or 0)
    others = (
        select(Volume, Instance.state)
        .outerjoin(Instance, Instance.id == Volume.instance_id)
        .where(Volume.host_id == host_id, ~exists().where(VolumeMove.volume_id == Volume.id))
    )
    for volume, instance in tx.session.execute(others).all():
        if instance in (None, "stopped"):
            stays = of_instances.get(volume.instance_id or "", ("", 0))[1] is None
            found[volume.id] = (f"it stays with {volume.instance_id}", None) if stays else ("it waits its turn", 0)
        elif instance in _STOPS:
            found[volume.id] = f"{volume.instance_id} is stopping", 0
        else:
            found[volume.id] = f"{volume.instance_id} uses it: detach it, or stop that", None
    return found


def _of_move(move: VolumeMove, snapshot: str, progress: int) -> tuple[str, int | None]:
    if move.snapshot_id is None:
        return f"it did not move, drain the host again to try once more: {move.failure}", None
    if move.failure:
        return f"it waits for a place on another host: {move.failure}", None
    return "it moves to another host", _ALMOST if snapshot == "completed" else min(progress, _ALMOST)
