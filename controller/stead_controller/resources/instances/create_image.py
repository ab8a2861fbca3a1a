"""CreateImage: make an image from an instance's volumes as they are at one instant.

Without NoReboot, a running instance is rebooted, so that its guest flushes everything to disk; its host takes the
snapshots right after the reset, before the firmware boots again. The workflow in `workflows/create_image.py` does the
rest. See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import boot_modes, ids
from stead_controller.db.tables import Image, ImageBlockDevice, Instance, Snapshot, Volume
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import workflow_rows
from stead_controller.resources.images import image_attributes, register_image
from stead_controller.resources.instances import reboot_instances
from stead_controller.resources.storage import block_devices, create_snapshots
from stead_controller.resources.storage.block_devices import BlockDevice
from stead_controller.resources.storage.create_snapshots import OfInstance

CREATE: Final = "create-image"
"""The kind of workflow that finishes an image; its subject is the image."""

_PATIENCE: Final = timedelta(hours=24)
_INVALID: Final = "InvalidBlockDeviceMapping"


@dataclass(frozen=True, slots=True)
class OfRunning:
    """CreateImage, parsed; `tags` are by resource type, for the image and for its snapshots."""

    instance_id: str
    name: str
    description: str = ""
    no_reboot: bool = False
    devices: tuple[BlockDevice, ...] = ()
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    boot_mode: str = ""  # the image's, if it is not to be the instance's: uefi


def create(tx: Transaction, caller: Caller, asked: OfRunning, now: datetime) -> str:
    """Begin an image and return its id.

    Raises MalformedId, NotFound, WrongState, AlreadyExists, InvalidParameter, LimitExceeded, Unsupported.
    """
    instance = lookup.find(tx, caller, "instance", Instance, asked.instance_id)
    if instance.state not in ("running", "stopped"):
        raise WrongState("instance", f"Instance '{instance.id}' is not 'running' or 'stopped'.", code="IncorrectState")
    if asked.boot_mode not in ("", boot_modes.UEFI):
        raise InvalidParameter(f"Value ({asked.boot_mode}) for parameter bootModeOverride is invalid.")
    register_image.check_name(tx, caller.account_id, asked.name)
    image_attributes.check_description(asked.description)
    volumes = _volumes(tx, instance)
    _check_devices(tx, caller, instance, volumes, asked.devices)
    source = tx.session.get(Image, instance.image_id)
    image = Image(
        id=ids.new_id("image"),
        account_id=caller.account_id,
        name=asked.name,
        description=asked.description,
        state="pending",
        public=False,
        architecture=instance.architecture,
        boot_mode=asked.boot_mode or instance.boot_mode,
        root_device_name=instance.root_device_name,
        snapshot_id="",
        format="",
        sha256="",
        file_size=0,
        virtual_size=0,
        created=now,
        imds_support=source.imds_support if source is not None else "",
        tpm_support=register_image.TPM_VERSION if instance.sealed_tpm_key else "",
        uefi_data=instance.uefi_data,
        source_instance_id=instance.id,
        source_image_id=source.id if source is not None and source.account_id == caller.account_id else None,
    )
    register_image.add(tx, caller, image, [], asked.tags.get("image", {}))
    reboots = instance.state == "running" and not asked.no_reboot
    if reboots:
        reboot_instances.reboot_instances(tx, caller, [instance.id])
    _take(tx, caller, image, asked, now, after_reboot=instance.reboot_count if reboots else 0)
    workflow_rows.begin(tx, CREATE, image.id, {}, now=now, patience=_PATIENCE)
    return image.id


def _take(tx: Transaction, caller: Caller, image: Image, asked: OfRunning, now: datetime, *, after_reboot: int) -> None:
    """Begin the snapshots of an image and write its mappings."""
    image_id = image.id
    instance = tx.session.get_one(Instance, asked.instance_id)
    said = {device.device_name: device for device in asked.devices}
    volumes = _volumes(tx, instance)
    left_out = [one.id for one in volumes if one.device_name in said and said[one.device_name].no_device]
    taken = create_snapshots.of_instance(
        tx,
        caller,
        OfInstance(
            instance.id,
            description=f"Created by CreateImage({instance.id}) for {image_id}",
            exclude_volume_ids=tuple(left_out),
            tags=asked.tags.get("snapshot", {}),
            after_reboot=after_reboot,
        ),
        now,
    )
    snapshot_ids = {one.snapshot.volume_id: one.snapshot.id for one in taken}
    devices = [
        _of_volume(image_id, volume, snapshot_ids[volume.id], said.pop(volume.device_name or "", None))
        for volume in volumes
        if volume.id in snapshot_ids
    ]
    added = [one for one in said.values() if not one.no_device]
    tx.session.add_all([*devices, *block_devices.build(tx, caller, image_id, added)])
    root = next(one for one in devices if one.device_name == instance.root_device_name)
    image.snapshot_id = root.snapshot_id or ""
    image.virtual_size = (root.volume_size or 0) << 30
    tx.session.flush()


def settle(tx: Transaction, image_id: str) -> str:
    """Make an image available once its snapshots are complete, and return the snapshots' states, joined.

    Empty: it is available, or deleted. With `error` among them it will never be available.
    """
    image = tx.session.get(Image, image_id)
    if image is None or image.state != "pending":
        return ""
    wanted = [device.snapshot_id for device in block_devices.of_image(tx, image_id) if device.snapshot_id]
    found = {one.id: one.state for one in tx.session.scalars(select(Snapshot).where(Snapshot.id.in_(wanted)))}
    states = {found.get(snapshot_id, "error") for snapshot_id in wanted}
    if states <= {"completed"}:
        image.state = "available"
        return ""
    return " ".join(sorted("error" if state == "deleting" else state for state in states))


def fail(tx: Transaction, image_id: str, message: str) -> None:
    """Fail an image; its snapshots stay until they are deleted."""
    image = tx.session.get(Image, image_id)
    if image is not None and image.state == "pending":
        image.state, image.state_reason = "failed", message[:255]


def _volumes(tx: Transaction, instance: Instance) -> list[Volume]:
    attached = ("attached", "attaching")
    query = select(Volume).where(Volume.instance_id == instance.id, Volume.attachment_state.in_(attached))
    volumes = list(tx.session.scalars(query.order_by(Volume.device_name)))
    if not any(volume.device_name == instance.root_device_name for volume in volumes):
        raise InvalidParameter(f"Instance does not have a volume attached at root ({instance.root_device_name})")
    return volumes


def _check_devices(
    tx: Transaction, caller: Caller, instance: Instance, volumes: Sequence[Volume], asked: Sequence[BlockDevice]
) -> None:
    """Refuse early what would be refused when the snapshots are begun."""
    block_devices.check_names(asked)
    own = {volume.device_name for volume in volumes}
    for one in asked:
        if one.device_name in own and (one.snapshot_id or one.virtual_name or one.encrypted is not None):
            raise InvalidParameter(
                f"The device '{one.device_name}' is one of the instance: neither a snapshot, encryption nor a virtual "
                "name can be given for it.",
                code=_INVALID,
            )
        if one.no_device and one.device_name == instance.root_device_name:
            raise InvalidParameter(f"The root device '{one.device_name}' cannot be left out.", code=_INVALID)
    added = [one for one in asked if one.device_name not in own and not one.no_device]
    block_devices.build(tx, caller, "", added)
    for volume in volumes:
        said = next((one for one in asked if one.device_name == volume.device_name), None)
        if said is not None and said.size is not None and said.size < volume.size:
            raise InvalidParameter(
                f"Volume of size {said.size}GB is smaller than the volume {volume.id} of {volume.size}GB", code=_INVALID
            )


def _of_volume(image_id: str, volume: Volume, snapshot_id: str, said: BlockDevice | None) -> ImageBlockDevice:
    """Make the mapping of a volume's snapshot from the volume, overridden by the request's mapping."""
    said = said or BlockDevice(volume.device_name or "")
    same_type = said.volume_type in (None, volume.volume_type)
    ends = said.delete_on_termination
    return ImageBlockDevice(
        image_id=image_id,
        device_name=said.device_name,
        snapshot_id=snapshot_id,
        volume_size=said.size or volume.size,
        volume_type=said.volume_type or volume.volume_type,
        iops=said.iops or (volume.iops if same_type and volume.volume_type in ("gp3", "io1", "io2") else None),
        throughput=said.throughput or (volume.throughput if same_type and volume.volume_type == "gp3" else None),
        delete_on_termination=volume.delete_on_termination if ends is None else ends,
        encrypted=volume.encrypted,
    )
