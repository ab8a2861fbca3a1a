"""CreateReplaceRootVolumeTask: give a running instance another root volume, from which it boots at once.

The new volume is made of the snapshot of the launch, of a snapshot of one of the instance's root volumes, or of an
image; or it is a free volume of the account. `root_replacement.py` has what follows, which
`workflows/replace_root_volume.py` carries out. See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/replace-root.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import boot_modes, ids
from stead_controller.catalog.volume_types import Shape, complete
from stead_controller.db.tables import Image, Instance, ReplaceRootVolumeTask, Snapshot, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidCombination, InvalidParameter, Unsupported, WrongState
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags, workflow_rows
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.images import images
from stead_controller.resources.instances import root_replacement, volume_attachments
from stead_controller.resources.storage import block_devices, ebs_encryption, snapshots, volume_life, volume_usage
from stead_controller.resources.tags import Tagged

type Task = ReplaceRootVolumeTask
"""The row of a task."""

RESOURCE: Final = "replace-root-volume-task"

FILTERS: Final[dict[str, Condition]] = {"instance-id": text(ReplaceRootVolumeTask.instance_id)}

_PATIENCE: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class NewTask:
    """CreateReplaceRootVolumeTask, parsed: without a source the volume becomes what it was at the launch."""

    repeatable: Repeatable
    instance_id: str
    snapshot_id: str | None = None
    image_id: str | None = None
    volume_id: str | None = None
    delete_replaced: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """Of what the new volume is made: a snapshot, of an image or not, to a volume of `size` GiB."""

    snapshot: Snapshot
    size: int
    image: Image | None = None


def create(tx: Transaction, caller: Caller, cloud: Cloud, asked: NewTask, now: datetime) -> str:
    """Begin a task and return its id.

    Raises MalformedId, NotFound, WrongState, InvalidCombination, InvalidParameter, Unsupported, NoCapacity,
    IdempotencyMismatch.
    """
    return client_tokens.once(tx, caller, asked.repeatable, now, lambda: _create(tx, caller, cloud, asked, now))


def _create(tx: Transaction, caller: Caller, cloud: Cloud, asked: NewTask, now: datetime) -> str:
    if sum(one is not None for one in (asked.snapshot_id, asked.image_id, asked.volume_id)) > 1:
        raise InvalidCombination("Only one of SnapshotId, ImageId and VolumeId can be specified.")
    instance = lookup.find(tx, caller, "instance", Instance, asked.instance_id)
    if instance.state != "running":
        raise WrongState("instance", f"The instance '{instance.id}' is not in the 'running' state.")
    root = _root(tx, instance)
    _require_alone(tx, instance)
    launched_with = _launch_snapshot(tx, root)
    source = _source(tx, caller, instance, root, asked, launched_with)
    if source is None:
        assert asked.volume_id is not None
        new = _own(tx, caller, instance, root, asked.volume_id)
    else:
        new = _build(tx, cloud, root, source, now)
    if new.host_id is None:
        volume_homes.find_home(tx, cloud, new, instance.host_id)
    tx.session.add(new)
    desired_state.refresh_volume(tx, new)
    image, made_of = (None, None) if source is None else (source.image, source.snapshot.id)
    task = ReplaceRootVolumeTask(
        id=ids.new_id(RESOURCE),
        account_id=caller.account_id,
        instance_id=instance.id,
        state="pending",
        state_changed=now,
        started=now,
        old_volume_id=root.id,
        new_volume_id=new.id,
        is_own_volume=source is None,
        delete_replaced=asked.delete_replaced,
        snapshot_id=made_of if image is None else None,
        image_id=image.id if image is not None else None,
        former_image_id=instance.image_id if image is not None else None,
        launch_snapshot_id=launched_with if image is None else made_of,
    )
    tx.session.add(task)
    tx.session.flush()  # the caller describes it in this transaction
    tags.create_on_launch(tx, caller, [(RESOURCE, task.id)], {RESOURCE: asked.tags})
    workflow_rows.begin(tx, root_replacement.REPLACE, task.id, {}, now=now, patience=_PATIENCE)
    return task.id


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[Tagged[Task]]:
    """Find the caller's tasks with their tags, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, RESOURCE, ReplaceRootVolumeTask, asked, conditions=FILTERS)
    return tags.with_tags(tx, caller.account_id, found)


def _root(tx: Transaction, instance: Instance) -> Volume:
    """Return the root volume of a running instance; raises WrongState while it is only being attached."""
    root = tx.session.scalar(
        select(Volume).where(
            Volume.instance_id == instance.id,
            Volume.device_name == instance.root_device_name,
            Volume.attachment_state == "attached",
        )
    )
    if root is None:
        raise WrongState("instance", f"The root volume of the instance '{instance.id}' is not attached yet.")
    return root


def _require_alone(tx: Transaction, instance: Instance) -> None:
    """Raise WrongState while another task replaces the root volume of an instance."""
    other = select(ReplaceRootVolumeTask.id).where(
        ReplaceRootVolumeTask.instance_id == instance.id, ReplaceRootVolumeTask.state.in_(root_replacement.ACTIVE)
    )
    if (task_id := tx.session.scalar(other.limit(1))) is not None:
        raise WrongState("instance", f"The root volume of the instance '{instance.id}' is being replaced by {task_id}.")


def _launch_snapshot(tx: Transaction, root: Volume) -> str | None:
    """Return the snapshot of an instance's launch state: that of its first root volume, or of an image's since."""
    made = select(ReplaceRootVolumeTask.launch_snapshot_id).where(
        ReplaceRootVolumeTask.instance_id == root.instance_id,
        ReplaceRootVolumeTask.new_volume_id == root.id,
        ReplaceRootVolumeTask.state == root_replacement.SUCCEEDED,
    )
    return tx.session.scalar(made) or root.snapshot_id


def _source(  # noqa: PLR0917 - what the request names, and what that must agree with
    tx: Transaction, caller: Caller, instance: Instance, root: Volume, asked: NewTask, launched_with: str | None
) -> _Source | None:
    """Return what the new volume is made of; None for a volume that is there."""
    if asked.volume_id is not None:
        return None
    if asked.image_id is not None:
        return _of_image(tx, images.find_launchable(tx, caller, asked.image_id), instance, root)
    if asked.snapshot_id is not None:
        snapshot = snapshots.find_usable(tx, caller, asked.snapshot_id)
        if snapshot.volume_id not in _lineage(tx, root):
            raise InvalidParameter(
                f"Invalid snapshot for root volume for virt {instance.id}. The snapshot should be of one of the root "
                "volumes attached to the instance in the past"
            )
        return _Source(snapshot, root.size)
    found = tx.session.get(Snapshot, launched_with or "")
    if found is None or not snapshots.is_usable(found):
        raise InvalidParameter(
            f"The root volume of the instance '{instance.id}' cannot be restored to its launch state: "
            f"{'it was made of no snapshot' if launched_with is None else f'{launched_with} is not available'}."
        )
    return _Source(found, root.size)


def _lineage(tx: Transaction, root: Volume) -> set[str]:
    """Return the ids of an instance's root volume and of those that it has replaced."""
    done = select(ReplaceRootVolumeTask.old_volume_id).where(
        ReplaceRootVolumeTask.instance_id == root.instance_id,
        ReplaceRootVolumeTask.state == root_replacement.SUCCEEDED,
    )
    return {root.id, *tx.session.scalars(done)}


def _of_image(tx: Transaction, image: Image, instance: Instance, root: Volume) -> _Source:
    """Return the root disk of an image that an instance can have."""
    if image.architecture != instance.architecture:
        raise InvalidParameter(
            f"The architecture '{image.architecture}' of the image '{image.id}' is not '{instance.architecture}', that "
            f"of the instance '{instance.id}'."
        )
    if boot_modes.CURRENT[image.boot_mode] != boot_modes.CURRENT[instance.boot_mode]:
        raise Unsupported(f"The image '{image.id}' has another boot mode than the instance '{instance.id}'.")
    if bool(image.tpm_support) != (instance.sealed_tpm_key is not None):
        raise Unsupported(f"Of the image '{image.id}' and the instance '{instance.id}', only one has a NitroTPM.")
    device = next(one for one in block_devices.of_image(tx, image.id) if one.device_name == image.root_device_name)
    snapshot = tx.session.get_one(Snapshot, device.snapshot_id)  # an image's snapshots are not deleted
    if not snapshots.is_usable(snapshot):
        raise WrongState("image", f"The image ID '{image.id}' is not available; {device.snapshot_id} is not whole.")
    size = device.volume_size or snapshot.volume_size
    if size < root.size:
        raise InvalidParameter(
            f"The root volume of the image '{image.id}' ({size} GiB) is smaller than that of the instance ({root.size} "
            "GiB)."
        )
    return _Source(snapshot, size, image)


def _build(tx: Transaction, cloud: Cloud, root: Volume, source: _Source, now: datetime) -> Volume:
    """Make the row of the new volume, of the type, speed and key of the old one; it is `creating`."""
    if source.size < source.snapshot.volume_size:
        raise InvalidParameter(
            f"Volume of size {source.size}GB is smaller than snapshot '{source.snapshot.id}', expect size >= "
            f"{source.snapshot.volume_size}GB"
        )
    iops = root.iops if root.volume_type in ("gp3", "io1", "io2") else None
    throughput = root.throughput if root.volume_type == "gp3" else None
    shape = complete(Shape(source.size, root.volume_type, iops, throughput))
    key = root.kms_key_id if root.encrypted else None
    key_id = ebs_encryption.key_for(tx, cloud, root.account_id, source.snapshot, encrypted=root.encrypted, key=key)
    made = volume_life.build(cloud, root.account_id, root.zone, shape, source.snapshot, key_id=key_id, now=now)
    made.state = volume_life.CREATING
    volume_usage.begin(tx, made, now)
    return made


def _own(tx: Transaction, caller: Caller, instance: Instance, root: Volume, volume_id: str) -> Volume:
    """Return a free volume that an instance can have as its root."""
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    volume_attachments.require_attachable(tx, volume, instance)
    if root.encrypted and not volume.encrypted:
        raise InvalidParameter(f"The volume '{volume.id}' must be encrypted, as the root volume '{root.id}' is.")
    return volume
