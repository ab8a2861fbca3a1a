"""CopyImage: an image of the caller's own with the same disks.

The snapshots are copied with it, which moves no block. See
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopyImage.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stead_controller.db.tables import Image, ImageBlockDevice, Snapshot
from stead_controller.errors import Unsupported, WrongState
from stead_controller.resources import (
    block_devices,
    client_tokens,
    create_snapshots,
    image_attributes,
    images,
    register_image,
    tags,
)
from stead_controller.resources.caller import Caller
from stead_controller.resources.client_tokens import Repeatable
from stead_controller.resources.transaction import Transaction
from stead_proto import ids

_SAME = ("architecture", "boot_mode", "root_device_name", "imds_support", "ena_support", "sriov_net_support")
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
    """What CopyImage asks for; `tags` are by resource type."""

    source_id: str
    name: str
    description: str = ""
    encrypted: bool = False
    copy_tags: bool = False
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def copy(tx: Transaction, caller: Caller, asked: CopyOf, *, repeatable: Repeatable, now: datetime) -> str:
    """Make an image of the caller's own of one that it sees, and give its id.

    Raises MalformedId, NotFound, WrongState, AlreadyExists, InvalidParameter, LimitExceeded, Unsupported,
    IdempotencyMismatch.
    """
    return client_tokens.once(tx, caller, repeatable, now, lambda: _copy(tx, caller, asked, now))


def _copy(tx: Transaction, caller: Caller, asked: CopyOf, now: datetime) -> str:
    source = images.find_visible(tx, caller, asked.source_id)
    if source.state not in ("available", "disabled"):
        raise WrongState("image", f"The image ID '{source.id}' is not available; its state is {source.state}.")
    register_image.check_name(tx, caller.account_id, asked.name)
    image_attributes.check_description(asked.description)
    devices = block_devices.of_image(tx, source.id)
    if asked.encrypted and not all(device.encrypted for device in devices if device.snapshot_id):
        raise Unsupported("Encrypting what is not encrypted is not supported: snapshot encrypted volumes instead.")
    image_id = ids.new_id("image")
    text = f"Copied for DestinationAmi {image_id} from SourceAmi {source.id}"
    copies = [_device(tx, caller, image_id, device, text, now) for device in devices]
    image = Image(
        id=image_id,
        account_id=caller.account_id,
        name=asked.name,
        description=asked.description or source.description,
        state="available",
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
    copied = tags.of(tx, caller.account_id, [source.id]).get(source.id, ()) if asked.copy_tags else ()
    own = {tag["Key"]: tag["Value"] for tag in copied}
    register_image.add(tx, caller, image, copies, own | dict(asked.tags.get("image", {})))
    snapshots = [("snapshot", device.snapshot_id) for device in copies if device.snapshot_id]
    tags.create_on_launch(tx, caller, snapshots, asked.tags)
    return image_id


def _device(  # noqa: PLR0917 - what a copy of a device is made of
    tx: Transaction, caller: Caller, image_id: str, device: ImageBlockDevice, text: str, now: datetime
) -> ImageBlockDevice:
    """Copy a mapping with its snapshot; who sees an image may use its snapshots."""
    made = ImageBlockDevice(image_id=image_id, **{name: getattr(device, name) for name in _OF_DEVICE})
    if device.snapshot_id is not None:
        snapshot = tx.session.get(Snapshot, device.snapshot_id)
        if snapshot is None or snapshot.state != "completed":
            raise WrongState("image", f"The snapshot {device.snapshot_id} of the image is not available.")
        made.snapshot_id = create_snapshots.copy_of(tx, caller, snapshot, text, now)
    return made
