"""Block device mappings of images and instances, in requests and as stored for images."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.catalog import volume_types
from stead_controller.catalog.volume_types import Shape
from stead_controller.db.load import Load, columns_of
from stead_controller.db.prepared import Question
from stead_controller.db.tables import ImageBlockDevice
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.lookup import batches
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import snapshots

DEFAULT_TYPE: Final = "gp3"
"""The default type of volumes of images."""

INVALID: Final = "InvalidBlockDeviceMapping"
"""EC2's code for mappings that contradict themselves or each other."""

_DEVICE: Final = re.compile(r"(?:/dev/)?(?:sd|xvd|hd)[a-z]{1,2}[0-9]{0,2}\Z")
_SCRATCH: Final = re.compile(r"ephemeral(?:[0-9]|1[0-9]|2[0-3])\Z")
_MOST_DEVICES: Final = 40


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """One mapping of a request; None for absent values. `size` is in GiB."""

    device_name: str
    snapshot_id: str | None = None
    size: int | None = None
    volume_type: str | None = None
    iops: int | None = None
    throughput: int | None = None
    delete_on_termination: bool | None = None
    encrypted: bool | None = None
    kms_key_id: str | None = None
    virtual_name: str | None = None
    no_device: bool = False


type ImageDevice = ImageBlockDevice
"""The row of a mapping that an image has."""

_OF_IMAGES: Final = Load(
    ImageBlockDevice,
    select(*columns_of(ImageBlockDevice))
    .where(ImageBlockDevice.image_id.in_(bindparam("ids", expanding=True)))
    .order_by(ImageBlockDevice.device_name),
)


def of_images(tx: Transaction, image_ids: Iterable[str]) -> dict[str, list[ImageBlockDevice]]:
    """Return the mappings of each image, the devices in order of their names."""
    found: dict[str, list[ImageBlockDevice]] = defaultdict(list)
    for batch in batches(image_ids):
        for device in _OF_IMAGES.all(tx.session, {"ids": batch}):
            found[device.image_id].append(device)
    return found


def question(image_id: str) -> Question:
    """Return what `of_image` asks, so that the database can answer it with others."""
    return _OF_IMAGES.question({"ids": [image_id]})


def of_image(tx: Transaction, image_id: str) -> list[ImageBlockDevice]:
    """Return the mappings of one image, the devices in order of their names."""
    return of_images(tx, [image_id])[image_id]


def is_scratch(virtual_name: str) -> bool:
    """Tell whether a virtual name is one of instance store disks: `ephemeral0` to `ephemeral23`."""
    return _SCRATCH.match(virtual_name) is not None


def check_names(asked: Sequence[BlockDevice]) -> None:
    """Raise InvalidParameter for invalid or duplicate device names."""
    if len(asked) > _MOST_DEVICES:
        raise InvalidParameter(f"An image has at most {_MOST_DEVICES} block devices.", code=INVALID)
    seen: set[str] = set()
    for one in asked:
        if not _DEVICE.match(one.device_name):
            raise InvalidParameter(f"Invalid device name {one.device_name}", code=INVALID)
        if one.device_name in seen:
            raise InvalidParameter(f"The device '{one.device_name}' is used more than once.", code=INVALID)
        seen.add(one.device_name)


def build(tx: Transaction, caller: Caller, image_id: str, asked: Sequence[BlockDevice]) -> list[ImageBlockDevice]:
    """Make the mappings of a new image; raises InvalidParameter, NotFound for snapshots, Unsupported."""
    check_names(asked)
    return [_build(tx, caller, image_id, one) for one in asked]


def _build(tx: Transaction, caller: Caller, image_id: str, one: BlockDevice) -> ImageBlockDevice:
    if one.no_device:
        return ImageBlockDevice(image_id=image_id, device_name=one.device_name, no_device=True)
    if one.virtual_name is not None:
        if not is_scratch(one.virtual_name):
            raise InvalidParameter(f"Invalid virtual name {one.virtual_name}", code=INVALID)
        return ImageBlockDevice(image_id=image_id, device_name=one.device_name, virtual_name=one.virtual_name)
    if one.kms_key_id is not None:
        raise Unsupported("The parameter KmsKeyId is not supported in the mappings of an image.")
    size, encrypted = one.size, bool(one.encrypted)
    if one.snapshot_id is not None:
        snapshot = snapshots.find_usable(tx, caller, one.snapshot_id)
        if size is not None and size < snapshot.volume_size:
            raise InvalidParameter(
                f"Volume of size {size}GB is smaller than snapshot '{snapshot.id}', expect size >= "
                f"{snapshot.volume_size}GB",
                code=INVALID,
            )
        if one.encrypted is not None and one.encrypted != snapshot.encrypted:
            raise InvalidParameter(
                "The parameter encrypted of a block device follows from its snapshot.",
                code="InvalidParameterCombination",
            )
        size, encrypted = size or snapshot.volume_size, snapshot.encrypted
    if size is None:
        raise InvalidParameter(
            f"The device '{one.device_name}' needs a snapshot or a volume size.", code="MissingParameter"
        )
    wanted = Shape(size, one.volume_type or DEFAULT_TYPE, one.iops, one.throughput)
    volume_types.complete(wanted)
    return ImageBlockDevice(
        image_id=image_id,
        device_name=one.device_name,
        snapshot_id=one.snapshot_id,
        volume_size=wanted.size,
        volume_type=wanted.volume_type,
        iops=one.iops,
        throughput=one.throughput,
        delete_on_termination=True if one.delete_on_termination is None else one.delete_on_termination,
        encrypted=encrypted,
    )
