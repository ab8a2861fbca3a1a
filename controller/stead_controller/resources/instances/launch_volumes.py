"""The disks of a launch: combine the image's and the request's block device mappings to volumes and scratch disks.

For a device in both, the request's values override the image's; values that it leaves out stay.
See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import device_names
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.catalog.volume_types import Shape, check_root, complete
from stead_controller.db import load
from stead_controller.db.tables import Image, ImageBlockDevice, Instance, InstanceStoreDisk, Snapshot, Volume
from stead_controller.errors import InvalidParameter, LimitExceeded, MissingParameter, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from stead_controller.resources.storage import block_devices, ebs_encryption, snapshots, volume_life
from stead_controller.resources.storage.block_devices import BlockDevice

_INVALID: Final = "InvalidBlockDeviceMapping"
_GB: Final = 1000**3


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """One volume that each instance of a launch gets."""

    device_name: str
    shape: Shape
    snapshot: Snapshot | None
    key_id: str | None  # of KMS; None = not encrypted
    delete_on_termination: bool

    @property
    def need(self) -> DiskNeed:
        """The room that it takes."""
        return DiskNeed(self.shape.size, self.shape.volume_type)


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """The disks of each instance of a launch: volumes, the root first, and the device names of scratch disks."""

    volumes: tuple[VolumePlan, ...]
    scratch: tuple[str, ...] = ()

    @property
    def needs(self) -> list[DiskNeed]:
        """The room that the volumes take, in order."""
        return [volume.need for volume in self.volumes]


def plan(
    tx: Transaction, caller: Caller, image: Image, kind: InstanceType, asked: Sequence[BlockDevice], *, cloud: Cloud
) -> DiskPlan:
    """Determine the disks of an instance.

    Raises InvalidParameter, InvalidCombination, MissingParameter, NotFound and WrongState for snapshots.
    """
    block_devices.check_names(asked)
    own = {device.device_name: device for device in block_devices.of_image(tx, image.id)}
    said = {device.device_name: device for device in asked}
    named = {name: said.get(name) for name in (image.root_device_name, *own)} | said
    _check_root(image, own.get(image.root_device_name), said.get(image.root_device_name))
    volumes: list[VolumePlan] = []
    scratch: dict[int, str] = {}
    points: dict[str, str] = {}
    for name, request in named.items():
        image_device = own.get(name)
        virtual_name = _virtual_name(image_device, request)
        if request is not None and request.no_device:
            continue
        if request is None and image_device is not None and image_device.no_device:
            continue
        point = device_names.point(name) or name
        if point in points:
            raise InvalidParameter(f"The devices '{points[point]}' and '{name}' are one.", code=_INVALID)
        points[point] = name
        if virtual_name is None:
            volumes.append(_volume(tx, caller, image, image_device, request or BlockDevice(name), cloud=cloud))
        else:
            scratch[_number(virtual_name)] = name
    for planned in volumes:
        if planned.device_name == image.root_device_name:
            check_root(planned.shape.volume_type)
    volumes.sort(key=lambda volume: (volume.device_name != image.root_device_name, volume.device_name))
    return DiskPlan(tuple(volumes), tuple(_scratch(kind, scratch, named)))


def check_number(kind: InstanceType, disks: DiskPlan, interfaces: int) -> None:
    """Raise LimitExceeded when a type does not have the slots for these disks and this number of interfaces."""
    if len(disks.volumes) + len(disks.scratch) + interfaces > kind.max_volumes:
        raise LimitExceeded(
            f"Instances of the type {kind.name} have at most {kind.max_volumes} volumes and network interfaces.",
            code="AttachmentLimitExceeded",
        )


def _check_root(image: Image, image_device: ImageBlockDevice | None, request: BlockDevice | None) -> None:
    if request is None:
        return
    if request.no_device or request.virtual_name is not None:
        raise InvalidParameter(f"The root device '{request.device_name}' must be a volume.", code=_INVALID)
    of_image = image_device.snapshot_id if image_device is not None else image.snapshot_id
    if request.snapshot_id not in (None, of_image):
        raise InvalidParameter("snapshotId cannot be modified on root device", code=_INVALID)


def _virtual_name(image_device: ImageBlockDevice | None, request: BlockDevice | None) -> str | None:
    """Return a device's scratch disk name, None for a volume; the request overrides the image."""
    if request is not None:
        if request.virtual_name is not None and not block_devices.is_scratch(request.virtual_name):
            raise InvalidParameter(f"Invalid virtual name {request.virtual_name}", code=_INVALID)
        return request.virtual_name
    return (image_device.virtual_name or None) if image_device is not None else None


def _number(virtual_name: str) -> int:
    return int(virtual_name.removeprefix("ephemeral"))


def _scratch(kind: InstanceType, mapped: dict[int, str], named: Collection[str]) -> Iterator[str]:
    """Give the device names of a type's scratch disks: as mapped, else free ones where the type gives all of them."""
    store = kind.instance_store
    if store is None:
        return
    free = device_names.free(named)
    for number in range(store.count):
        if number in mapped or not store.only_if_mapped:
            yield mapped.get(number) or next(free)


def _volume(
    tx: Transaction,
    caller: Caller,
    image: Image,
    image_device: ImageBlockDevice | None,
    request: BlockDevice,
    *,
    cloud: Cloud,
) -> VolumePlan:
    """Combine the mappings of a request and an image for one volume."""
    snapshot = _snapshot(tx, caller, image, image_device, request)
    of_image = image_device if image_device is not None and request.snapshot_id is None else None
    size = request.size
    if size is None and of_image is not None:
        size = of_image.volume_size
    if size is None and snapshot is None:
        raise MissingParameter("size or snapshotId")
    return VolumePlan(
        device_name=request.device_name,
        shape=complete(_shape(image_device, request, volume_life.size_of(size, snapshot, code=_INVALID))),
        snapshot=snapshot,
        key_id=_key(tx, caller, image_device, request, snapshot, cloud=cloud),
        delete_on_termination=_ends(image_device, request),
    )


def _snapshot(
    tx: Transaction, caller: Caller, image: Image, image_device: ImageBlockDevice | None, request: BlockDevice
) -> Snapshot | None:
    """Return the snapshot of a volume; a caller who may launch an image may use its snapshots."""
    of_image = image_device.snapshot_id if image_device is not None else None
    if request.snapshot_id not in (None, of_image):
        return snapshots.find_usable(tx, caller, request.snapshot_id)
    if of_image is None:
        return None
    found = load.get(tx.session, Snapshot, of_image)
    if found is None or not snapshots.is_usable(found):
        raise WrongState("image", f"The image ID '{image.id}' is not available; its snapshot {of_image} is not whole.")
    return found


def _shape(image_device: ImageBlockDevice | None, request: BlockDevice, size: int) -> Shape:
    """Combine types and speeds: an image's speed is used only with its type."""
    own_type = image_device.volume_type if image_device is not None else block_devices.DEFAULT_TYPE
    if image_device is None or request.volume_type not in (None, own_type):
        return Shape(size, request.volume_type or own_type, request.iops, request.throughput)
    iops = request.iops if request.iops is not None else image_device.iops
    throughput = request.throughput if request.throughput is not None else image_device.throughput
    return Shape(size, own_type, iops, throughput)


def _key(
    tx: Transaction,
    caller: Caller,
    image_device: ImageBlockDevice | None,
    request: BlockDevice,
    snapshot: Snapshot | None,
    *,
    cloud: Cloud,
) -> str | None:
    """Say under which key of KMS a volume is encrypted, or None."""
    by_snapshot = snapshot is not None and snapshot.encrypted
    if request.encrypted is False and by_snapshot:
        raise InvalidParameter(
            "The parameter encrypted cannot be false for a volume of an encrypted snapshot.",
            code="InvalidParameterCombination",
        )
    by_image = image_device is not None and image_device.encrypted
    encrypted = request.encrypted if request.encrypted is not None else by_image
    return ebs_encryption.key_for(tx, cloud, caller.account_id, snapshot, encrypted=encrypted, key=request.kms_key_id)


def _ends(image_device: ImageBlockDevice | None, request: BlockDevice) -> bool:
    if request.delete_on_termination is not None:
        return request.delete_on_termination
    return image_device.delete_on_termination if image_device is not None else True


def build_volumes(
    cloud: Cloud, instance: Instance, disks: DiskPlan, pools: Sequence[str], now: datetime
) -> list[Volume]:
    """Make the rows of an instance's volumes, with its host as their home, in these pools."""
    made = []
    for planned, pool in zip(disks.volumes, pools, strict=True):
        volume = volume_life.build(
            cloud,
            instance.account_id,
            instance.zone,
            planned.shape,
            planned.snapshot,
            key_id=planned.key_id,
            now=now,
            host_id=instance.host_id,
            attached_host_id=instance.host_id,
            pool=pool,
            state="in-use",
            instance_id=instance.id,
            device_name=planned.device_name,
            attachment_state="attaching",
            attach_time=now,
            delete_on_termination=planned.delete_on_termination,
            generation=1,
        )
        made.append(volume)
    return made


def scratch_size(kind: InstanceType) -> int:
    """Tell how large each scratch disk of a type is, in bytes; 0 where it has none."""
    return kind.instance_store.size * _GB if kind.instance_store is not None else 0


def build_scratch(instance: Instance, kind: InstanceType, names: Sequence[str]) -> list[InstanceStoreDisk]:
    """Make the rows of an instance's scratch disks, of the size that its type has them in."""
    size = scratch_size(kind)
    return [
        InstanceStoreDisk(instance_id=instance.id, number=number, device_name=name, size=size)
        for number, name in enumerate(names)
    ]


def change_scratch(tx: Transaction, instance: Instance, kind: InstanceType, taken: Collection[str]) -> None:
    """Give an instance the scratch disks of another type; `taken` are the device names of its volumes."""
    query = select(InstanceStoreDisk).where(InstanceStoreDisk.instance_id == instance.id)
    names: dict[int, str] = {}
    for disk in tx.session.scalars(query).all():
        names[disk.number] = disk.device_name
        tx.session.delete(disk)
    tx.session.flush()
    tx.session.add_all(build_scratch(instance, kind, list(_scratch(kind, names, [*taken, *names.values()]))))
