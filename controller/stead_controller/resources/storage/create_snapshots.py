"""CreateSnapshot, CreateSnapshots and CopySnapshot.

A snapshot is taken by the host that uses the volume, else by its home. A volume that was never attached has no disk
yet: its content is that of its source, so its snapshot is complete at once, as is a copy under the same key. For
another key all blocks are encrypted again (`recoded_snapshots.py`).
See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshot.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import Instance, Snapshot, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.storage import ebs_encryption, recoded_snapshots, snapshots, volume_keys
from stead_controller.resources.storage.snapshots import NO_VOLUME, DescribedSnapshot

# EC2's default quotas (https://docs.aws.amazon.com/general/latest/gr/ebs-service.html)
PENDING_PER_VOLUME: Final = 5
PENDING_PER_DISK: Final = 1
"""Of the types st1 and sc1."""
EXCLUDED_VOLUMES: Final = 40
DESCRIPTION_LENGTH: Final = 255

_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class OfVolume:
    """CreateSnapshot, parsed."""

    volume_id: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CopyOf:
    """CopySnapshot, parsed; a copy of an encrypted snapshot is always encrypted. The key is a KMS key's name."""

    source_id: str
    description: str = ""
    encrypted: bool = False
    kms_key_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OfInstance:
    """CreateSnapshots, parsed."""

    instance_id: str
    description: str = ""
    exclude_boot_volume: bool = False
    exclude_volume_ids: tuple[str, ...] = ()
    copy_tags: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    after_reboot: int = 0  # the number of the instance's reboot after which they are taken; 0 = at once


def of_volume(tx: Transaction, caller: Caller, asked: OfVolume, now: datetime) -> DescribedSnapshot:
    """Begin a snapshot of a volume.

    Raises MalformedId, NotFound, WrongState, LimitExceeded, InvalidParameter.
    """
    volume = lookup.find(tx, caller, "volume", Volume, asked.volume_id)
    snapshot = _begin(tx, caller, volume, asked.description, now)
    _tag(tx, caller, snapshot, asked.tags)
    _take(tx, [snapshot], [volume], now)
    return snapshots.describe_begun(tx, caller, [snapshot])[0]


def of_instance(tx: Transaction, caller: Caller, asked: OfInstance, now: datetime) -> list[DescribedSnapshot]:
    """Begin snapshots of an instance's volumes, all at the same instant.

    Raises MalformedId, NotFound, WrongState, LimitExceeded, InvalidParameter.
    """
    instance = lookup.find(tx, caller, "instance", Instance, asked.instance_id)
    if instance.state not in ("running", "stopped", "stopping", "pending"):
        raise WrongState("instance", f"The instance '{instance.id}' is not in a valid state: it is {instance.state}.")
    volumes = _chosen(tx, instance, asked)
    if not volumes:
        raise InvalidParameter(f"The instance '{instance.id}' has no volumes that are not excluded.")
    set_id = ids.new_id("snapshot") if len(volumes) > 1 else None
    copied = tags.pairs_of(tx, caller.account_id, [volume.id for volume in volumes]) if asked.copy_tags else {}
    made = []
    for volume in volumes:
        snapshot = _begin(tx, caller, volume, asked.description, now)
        snapshot.set_id = set_id
        _tag(tx, caller, snapshot, dict(copied.get(volume.id, ())) | dict(asked.tags))
        made.append(snapshot)
    _take(tx, made, volumes, now, asked.after_reboot)
    return snapshots.describe_begun(tx, caller, made)


def of_moving(tx: Transaction, volume: Volume, now: datetime) -> Snapshot:
    """Begin the snapshot by which a volume moves to another home; it is the cloud's, so no account sees it."""
    snapshot = _add(tx, volume, CLOUD_ACCOUNT, f"moves {volume.id}", now)
    _take(tx, [snapshot], [volume], now)
    return snapshot


def copy(tx: Transaction, caller: Caller, cloud: Cloud, asked: CopyOf, now: datetime) -> str:
    """Make a snapshot of the caller's own with the content of one that it may use, and return its id.

    Raises MalformedId, NotFound, WrongState, LimitExceeded, InvalidParameter.
    """
    source = snapshots.find_usable(tx, caller, asked.source_id)
    made_id = copy_of(tx, caller, cloud, source, asked, now)
    tags.create_on_launch(tx, caller, [("snapshot", made_id)], {"snapshot": asked.tags})
    return made_id


def copy_of(  # noqa: PLR0917 - who copies what, where and when
    tx: Transaction, caller: Caller, cloud: Cloud, source: Snapshot, asked: CopyOf, now: datetime
) -> str:
    """Make a snapshot of the caller's own with the content of a complete one, and return its id; raises as `copy`."""
    _check(tx, caller, asked.description)
    key_id = ebs_encryption.key_for_copy(
        tx, cloud, caller.account_id, source, encrypted=asked.encrypted, key=asked.kms_key_id
    )
    made = Snapshot(
        id=ids.new_id("snapshot"),
        account_id=caller.account_id,
        volume_id=NO_VOLUME,
        volume_size=source.volume_size,
        size=source.size,
        state="pending",
        description=asked.description,
        started=now,
        encrypted=False,
        parent_id=source.id,
    )
    if key_id is not None:
        volume_keys.encrypt(cloud, made, key_id, source)
    tx.session.add(made)
    tx.session.flush()
    recoded_snapshots.complete_or_begin(tx, made, source, now)
    return made.id


def _chosen(tx: Transaction, instance: Instance, asked: OfInstance) -> list[Volume]:
    """Return the volumes of an instance that are not excluded, sorted by id."""
    attached = select(Volume).where(
        Volume.instance_id == instance.id, Volume.attachment_state.in_(("attached", "attaching"))
    )
    volumes = {volume.id: volume for volume in tx.session.scalars(attached.order_by(Volume.id))}
    if len(asked.exclude_volume_ids) > EXCLUDED_VOLUMES:
        raise InvalidParameter(f"At most {EXCLUDED_VOLUMES} volumes can be excluded.")
    lookup.check_form("volume", asked.exclude_volume_ids)
    for volume_id in asked.exclude_volume_ids:
        excluded = volumes.pop(volume_id, None)
        if excluded is None:
            raise NotFound("volume", volume_id)
        if excluded.device_name == instance.root_device_name:
            raise InvalidParameter("The root volume is excluded by ExcludeBootVolume, not by ExcludeDataVolumeIds.")
    return [
        volume
        for volume in volumes.values()
        if not (asked.exclude_boot_volume and volume.device_name == instance.root_device_name)
    ]


def _check(tx: Transaction, caller: Caller, description: str) -> None:
    if len(description) > DESCRIPTION_LENGTH:
        raise InvalidParameter(f"A description may have at most {DESCRIPTION_LENGTH} characters.")
    mine = (Snapshot.account_id == caller.account_id, Snapshot.state != "deleting")
    quotas.check(tx, caller.account_id, quotas.SNAPSHOTS, Snapshot.id, *mine)


def _begin(tx: Transaction, caller: Caller, volume: Volume, description: str, now: datetime) -> Snapshot:
    """Add the row of a pending snapshot of a volume."""
    _check(tx, caller, description)
    if volume.state not in ("available", "in-use"):
        raise WrongState("volume", f"The volume '{volume.id}' is in state {volume.state}.", code="IncorrectState")
    pending = select(func.count()).where(
        Snapshot.volume_id == volume.id, Snapshot.account_id == volume.account_id, Snapshot.state == "pending"
    )
    most = PENDING_PER_DISK if volume.volume_type in ("st1", "sc1") else PENDING_PER_VOLUME
    if tx.session.scalars(pending).one() >= most:
        raise LimitExceeded(
            f"At most {most} snapshots of a volume of the type {volume.volume_type} can be pending.",
            code="ConcurrentSnapshotLimitExceeded",
        )
    return _add(tx, volume, caller.account_id, description, now)


def _add(tx: Transaction, volume: Volume, account_id: str, description: str, now: datetime) -> Snapshot:
    snapshot = Snapshot(
        id=ids.new_id("snapshot"),
        account_id=account_id,
        volume_id=volume.id,
        volume_size=volume.size,
        size=volume.size * _GIB,
        state="pending",
        progress=0,
        description=description,
        started=now,
        encrypted=volume.encrypted,
        sealed_key=volume.sealed_key,
        kms_key_id=volume.kms_key_id,
        parent_id=_parent(tx, volume),
    )
    tx.session.add(snapshot)
    tx.session.flush()
    return snapshot


def _parent(tx: Transaction, volume: Volume) -> str | None:
    """Return the latest complete snapshot of a volume; only changes since then need to be read."""
    if volume.host_id is None:
        return volume.snapshot_id
    latest = (
        select(Snapshot.id)
        .where(
            Snapshot.volume_id == volume.id,
            Snapshot.account_id == volume.account_id,
            Snapshot.state == "completed",
            Snapshot.storage_tier == "standard",
            Snapshot.size <= volume.size * _GIB,
        )
        .order_by(Snapshot.started.desc(), Snapshot.id)
        .limit(1)
    )
    return tx.session.scalar(latest)


def _take(
    tx: Transaction, made: Sequence[Snapshot], volumes: Sequence[Volume], now: datetime, after_reboot: int = 0
) -> None:
    """Tell the host that has the volumes in use to take the snapshots."""
    by_host: dict[str, list[Snapshot]] = {}
    for snapshot, volume in zip(made, volumes, strict=True):
        host_id = volume.attached_host_id or volume.host_id
        if host_id is None:
            source = None if snapshot.parent_id is None else tx.session.get_one(Snapshot, snapshot.parent_id)
            recoded_snapshots.complete_or_begin(tx, snapshot, source, now)
            continue
        snapshot.host_id = host_id
        by_host.setdefault(host_id, []).append(snapshot)
    for host_id, taken in by_host.items():
        desired_state.take_snapshots(tx, host_id, taken, after_reboot=after_reboot)


def _tag(tx: Transaction, caller: Caller, snapshot: Snapshot, wanted: Mapping[str, str]) -> None:
    tags.create_on_launch(tx, caller, [("snapshot", snapshot.id)], {"snapshot": wanted})
