"""CopyImage: create an image of the caller with the same disks.

The snapshots are copied with it, which copies no blocks unless they are encrypted again: then the copy is pending
until they are complete. See
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopyImage.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from stead_controller.catalog import ids
from stead_controller.db.tables import Image, ImageBlockDevice, Snapshot
from stead_controller.errors import WrongState
from stead_controller.request import client_tokens
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags, workflow_rows
from stead_controller.resources.images import image_attributes, images, register_image
from stead_controller.resources.storage import block_devices, create_snapshots, snapshots

COPY: Final = "copy-image"
"""The kind of workflow that waits for the snapshots of an image; its subject is the image."""

_PATIENCE: Final = timedelta(hours=25)  # longer than that of a snapshot
_SAME = (
    "architecture",
    "boot_mode",
    "tpm_support",
    "uefi_data",
    "root_device_name",
    "imds_support",
    "ena_support",
    "sriov_net_support",
)
_OF_DEVICE = (
    "device_name",
    "virtual_name",
    "no_device",
    "volume_size",
    "volume_type",
    "iops",
    "throughput",
    "encrypted",
    "delete_on_termination",
)


@dataclass(frozen=True, slots=True)
class CopyOf:
    """CopyImage, parsed; `tags` are by resource type."""

    source_id: str
    name: str
    description: str = ""
    encrypted: bool = False
    kms_key_id: str | None = None
    copy_tags: bool = False
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def copy(tx: Transaction, caller: Caller, cloud: Cloud, asked: CopyOf, *, repeatable: Repeatable, now: datetime) -> str:
    """Create an image of the caller from one that it sees, and return its id.

    Raises MalformedId, NotFound, WrongState, AlreadyExists, InvalidParameter, LimitExceeded,
    IdempotencyMismatch.
    """
    return client_tokens.once(tx, caller, repeatable, now, lambda: _copy(tx, caller, cloud, asked, now))


def _copy(tx: Transaction, caller: Caller, cloud: Cloud, asked: CopyOf, now: datetime) -> str:
    source = images.find_visible(tx, caller, asked.source_id)
    if source.state not in ("available", "disabled"):
        raise WrongState("image", f"The image ID '{source.id}' is not available; its state is {source.state}.")
    register_image.check_name(tx, caller.account_id, asked.name)
    image_attributes.check_description(asked.description)
    devices = block_devices.of_image(tx, source.id)
    image_id = ids.new_id("image")
    text = f"Copied for DestinationAmi {image_id} from SourceAmi {source.id}"
    of_disk = create_snapshots.CopyOf("", text, encrypted=asked.encrypted, kms_key_id=asked.kms_key_id)
    copies = [_device(tx, caller, cloud, image_id, device, of_disk, now) for device in devices]
    made = [tx.session.get_one(Snapshot, device.snapshot_id) for device in copies if device.snapshot_id]
    is_whole = all(snapshot.state == "completed" for snapshot in made)
    image = Image(
        id=image_id,
        account_id=caller.account_id,
        name=asked.name,
        description=asked.description or f"[Copied {source.id} from {cloud.region}] {source.name}",
        state="available" if is_whole else "pending",
        public=False,
        snapshot_id=register_image.find_root(copies, source.root_device_name).snapshot_id or "",
        format="",
        sha256="",
        file_size=0,
        virtual_size=source.virtual_size,
        created=now,
        source_image_id=source.id,
        **{name: getattr(source, name) for name in _SAME},
    )
    copied = tags.pairs_of(tx, caller.account_id, [source.id]).get(source.id, ()) if asked.copy_tags else ()
    register_image.add(tx, caller, image, copies, dict(copied) | dict(asked.tags.get("image", {})))
    tagged = [("snapshot", device.snapshot_id) for device in copies if device.snapshot_id]
    tags.create_on_launch(tx, caller, tagged, asked.tags)
    if not is_whole:
        workflow_rows.begin(tx, COPY, image_id, {}, now=now, patience=_PATIENCE)
    return image_id


def _device(  # noqa: PLR0917 - what a copy of a device is made of
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    image_id: str,
    device: ImageBlockDevice,
    asked: create_snapshots.CopyOf,
    now: datetime,
) -> ImageBlockDevice:
    """Copy a mapping with its snapshot; a caller who sees an image may use its snapshots."""
    made = ImageBlockDevice(image_id=image_id, **{name: getattr(device, name) for name in _OF_DEVICE})
    if device.snapshot_id is not None:
        snapshot = tx.session.get(Snapshot, device.snapshot_id)
        if snapshot is None or not snapshots.is_usable(snapshot):
            raise WrongState("image", f"The snapshot {device.snapshot_id} of the image is not available.")
        made.snapshot_id = create_snapshots.copy_of(tx, caller, cloud, snapshot, asked, now)
        made.encrypted = tx.session.get_one(Snapshot, made.snapshot_id).encrypted
    return made
