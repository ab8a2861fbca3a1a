"""Create and delete volumes; hosts get a volume when it is first attached, and its deletion.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.catalog.volume_types import DEFAULT, Shape, complete
from stead_controller.db.insert import new_row
from stead_controller.db.tables import Host, Snapshot, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    MissingParameter,
    NotFound,
    Unsupported,
    WrongState,
)
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.storage import ebs_encryption, snapshots, volume_keys, volume_usage

CREATING: Final = "creating"
"""The state of a volume that its home makes before it is attached: it is to replace a root volume."""


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """CreateVolume, parsed; `size` in GiB."""

    repeatable: Repeatable
    zone: str | None = None
    zone_id: str | None = None
    size: int | None = None
    volume_type: str = DEFAULT
    iops: int | None = None
    throughput: int | None = None
    snapshot_id: str | None = None
    encrypted: bool = False
    kms_key_id: str | None = None
    multi_attach: bool = False
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def create(tx: Transaction, caller: Caller, cloud: Cloud, request: CreateRequest, now: datetime) -> str:
    """Make a volume and return its id; it has no home before it is attached.

    Raises BadRequest and NotFound for bad input, WrongState for a snapshot that is not whole, NoCapacity.
    """
    return client_tokens.once(tx, caller, request.repeatable, now, lambda: _create(tx, caller, cloud, request, now))


def _create(tx: Transaction, caller: Caller, cloud: Cloud, request: CreateRequest, now: datetime) -> str:
    zone = _zone(cloud, request)
    if request.multi_attach:
        refuse_multi_attach(request.volume_type)
    snapshot = None
    if request.snapshot_id is not None:
        snapshot = snapshots.find_usable(tx, caller, request.snapshot_id)
    shape = complete(Shape(size_of(request.size, snapshot), request.volume_type, request.iops, request.throughput))
    _require_room(tx, cloud, zone, shape)
    key_id = ebs_encryption.key_for(
        tx, cloud, caller.account_id, snapshot, encrypted=request.encrypted, key=request.kms_key_id
    )
    volume = build(cloud, caller.account_id, zone, shape, snapshot, key_id=key_id, now=now)
    tx.session.add(volume)
    tx.session.flush()
    volume_usage.begin(tx, volume, now)
    tags.create_on_launch(tx, caller, [("volume", volume.id)], request.tags)
    volume_id: str = volume.id
    return volume_id


def build(
    cloud: Cloud,
    account_id: str,
    zone: str,
    shape: Shape,
    snapshot: Snapshot | None,
    *,
    key_id: str | None,
    now: datetime,
    **columns: Any,
) -> Volume:
    """Make the row of a volume, of a snapshot or blank; with a key of KMS, encrypted.

    It is attached to nothing, unless `columns`, which are further ones of the row or others, say so.
    """
    values = {"state": "available", "generation": 0, **columns}
    volume = new_row(
        Volume,
        id=ids.new_id("volume"),
        account_id=account_id,
        zone=zone,
        size=shape.size,
        volume_type=shape.volume_type,
        iops=shape.iops,
        throughput=shape.throughput,
        encrypted=False,
        snapshot_id=snapshot.id if snapshot is not None else None,
        created=now,
        **values,
    )
    if key_id is not None:
        volume_keys.encrypt(cloud, volume, key_id, snapshot)
    return volume


def size_of(size: int | None, snapshot: Snapshot | None, *, code: str | None = None) -> int:
    """Return a new volume's size in GiB, where that of its snapshot is the least; raises MissingParameter.

    Raises InvalidParameter, with `code` where the operation has one of its own, for a smaller size.
    """
    if snapshot is None:
        if size is None:
            raise MissingParameter("size/snapshot")
        return size
    if size is None:
        return snapshot.volume_size
    if size < snapshot.volume_size:
        raise InvalidParameter(
            f"Volume of size {size}GB is smaller than snapshot '{snapshot.id}', expect size >= "
            f"{snapshot.volume_size}GB",
            code=code,
        )
    return size


def refuse_multi_attach(volume_type: str) -> None:
    """Raise InvalidCombination for types that EC2 attaches once, Unsupported for those that only Stead does."""
    if volume_type not in ("io1", "io2"):
        raise InvalidCombination(f"Multi-Attach is not supported for {volume_type} volumes.")
    raise Unsupported("Multi-Attach is not supported: a volume is attached to one instance.")


def delete(tx: Transaction, caller: Caller, volume_id: str, now: datetime) -> None:
    """Delete a volume that is attached to nothing; raises MalformedId, NotFound, WrongState."""
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    if volume.instance_id is not None:
        raise WrongState(
            "volume", f"Volume {volume.id} is currently attached to {volume.instance_id}", code="VolumeInUse"
        )
    if volume.state == CREATING:
        raise WrongState("volume", f"The volume '{volume.id}' is in the 'creating' state.", code="IncorrectState")
    begin_deletion(tx, volume, now)


def begin_deletion(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Begin to delete a volume that is not attached; its row is removed when its home reports the deletion."""
    volume_usage.end(tx, volume, now)
    if volume.host_id is None:
        forget(tx, volume)
        return
    volume.state = "deleting"
    continue_deletion(tx, volume.id)


def continue_deletion(tx: Transaction, volume_id: str) -> None:
    """Tell a volume's home to delete it, unless a snapshot of it is still being taken.

    To be called again when a snapshot of it is complete, or has failed.
    """
    volume = tx.session.get(Volume, volume_id)
    if volume is None or volume.state != "deleting" or volume.host_id is None:
        return
    taken = select(Snapshot.id).where(Snapshot.volume_id == volume.id, Snapshot.state == "pending")
    if tx.session.scalar(taken.limit(1)) is None:
        desired_state.remove_volume(tx, volume.host_id, volume.id)


def forget(tx: Transaction, volume: Volume) -> None:
    """Delete the row of a volume that no host has any more, and release its space."""
    tags.remove_all(tx, [volume.id])
    if volume.host_id is not None:
        volume_homes.release(tx, volume.host_id, volume.pool, volume.size)
        tx.makes_room = True
    tx.session.delete(volume)
    tx.session.flush()
    if volume.snapshot_id is not None:
        desired_state.remove_unused_base(tx, volume.snapshot_id)


def _zone(cloud: Cloud, request: CreateRequest) -> str:
    if request.zone is not None and request.zone_id is not None:
        raise InvalidCombination("The parameters AvailabilityZone and AvailabilityZoneId cannot be used together")
    if request.zone is not None:
        asked, zones = request.zone, {zone: zone for zone in cloud.zones}
    elif request.zone_id is not None:
        asked, zones = request.zone_id, {zone_id: zone for zone, zone_id in zone_ids(cloud).items()}
    else:
        raise MissingParameter("AvailabilityZone")
    if asked not in zones:
        raise NotFound("availability-zone", asked)
    return zones[asked]


def _require_room(tx: Transaction, cloud: Cloud, zone: str, shape: Shape) -> None:
    """Refuse what no host of the zone could take now; room is taken when the volume gets its home."""
    needed = volume_homes.room_for(cloud, [volume_homes.DiskNeed(shape.size, shape.volume_type)])
    if tx.session.scalar(select(Host.id).where(Host.zone == zone, volume_homes.HAS_ROOM).limit(1), needed) is None:
        raise volume_homes.no_room(zone)
