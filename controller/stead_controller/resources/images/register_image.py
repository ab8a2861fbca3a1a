"""RegisterImage: create an image from existing snapshots.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import boot_modes, ids
from stead_controller.db.tables import Image, ImageBlockDevice
from stead_controller.errors import AlreadyExists, InvalidCombination, InvalidParameter, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.images import firmware, image_attributes, uefi_data
from stead_controller.resources.storage import block_devices
from stead_controller.resources.storage.block_devices import BlockDevice

TPM_VERSION: Final = "v2.0"
_NAME: Final = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}\Z")


@dataclass(frozen=True, slots=True)
class NewImage:
    """What RegisterImage asks for."""

    name: str
    devices: tuple[BlockDevice, ...]
    description: str = ""
    architecture: str = "x86_64"
    root_device_name: str = "/dev/sda1"
    boot_mode: str = ""  # that of its architecture
    ena_support: bool = False
    sriov_net_support: str = ""
    imds_support: str = ""
    tpm_support: str = ""
    uefi_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def register(tx: Transaction, caller: Caller, asked: NewImage, now: datetime) -> str:
    """Make an image and return its id.

    Raises InvalidParameter, AlreadyExists for its name, NotFound for snapshots, WrongState for unfinished ones.
    """
    check_name(tx, caller.account_id, asked.name)
    image_attributes.check_description(asked.description)
    boot_mode = firmware.settle_boot_mode(asked.architecture, asked.boot_mode)
    if asked.imds_support not in ("", "v2.0"):
        raise InvalidParameter(f"Value ({asked.imds_support}) for parameter imdsSupport is invalid.")
    if asked.tpm_support not in ("", TPM_VERSION):
        raise InvalidParameter(f"Value ({asked.tpm_support}) for parameter tpmSupport is invalid.")
    if asked.tpm_support and boot_mode != boot_modes.UEFI:
        raise InvalidCombination("An image with TPM support needs the boot mode uefi.")
    if asked.uefi_data and boot_modes.CURRENT[boot_mode] != boot_modes.UEFI:
        raise InvalidCombination("An image with UEFI data needs the boot mode uefi or uefi-preferred.")
    if asked.uefi_data and asked.architecture != "x86_64":
        raise Unsupported(f"UEFI data is not supported with images of the architecture {asked.architecture}.")
    variables = uefi_data.parse(asked.uefi_data) if asked.uefi_data else None
    if asked.sriov_net_support not in ("", "simple"):
        raise InvalidParameter(f"Value ({asked.sriov_net_support}) for parameter sriovNetSupport is invalid.")
    image_id = ids.new_id("image")
    devices = block_devices.build(tx, caller, image_id, asked.devices)
    root = find_root(devices, asked.root_device_name)
    image = Image(
        id=image_id,
        account_id=caller.account_id,
        name=asked.name,
        description=asked.description,
        state="available",
        public=False,
        architecture=asked.architecture,
        boot_mode=boot_mode,
        root_device_name=asked.root_device_name,
        snapshot_id=root.snapshot_id or "",
        format="",
        sha256="",
        file_size=0,
        virtual_size=(root.volume_size or 0) << 30,
        created=now,
        ena_support=asked.ena_support,
        sriov_net_support=asked.sriov_net_support,
        imds_support=asked.imds_support,
        tpm_support=asked.tpm_support,
        uefi_data=variables,
    )
    add(tx, caller, image, devices, asked.tags)
    return image_id


def add(
    tx: Transaction, caller: Caller, image: Image, devices: list[ImageBlockDevice], image_tags: Mapping[str, str]
) -> None:
    """Add an image's rows and the caller's tags."""
    tx.session.add(image)
    tx.session.flush()
    tx.session.add_all(devices)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [("image", image.id)], {"image": image_tags})


def find_root(devices: list[ImageBlockDevice], name: str) -> ImageBlockDevice:
    """Return the root device's mapping, which must be of a snapshot; raises InvalidParameter."""
    for device in devices:
        if device.device_name == name:
            if device.snapshot_id is None:
                break
            return device
    raise InvalidParameter(
        f"The root device '{name}' needs a block device mapping with a snapshot.", code="InvalidBlockDeviceMapping"
    )


def check_name(tx: Transaction, account_id: str, name: str) -> None:
    """Raise InvalidParameter for an invalid image name, AlreadyExists for one that the account uses."""
    if not _NAME.match(name):
        raise InvalidParameter(
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '[', "
            "']', ' ', '.', '/', '-', ''', '@' and '_'",
            code="InvalidAMIName.Malformed",
        )
    taken = tx.session.scalar(select(Image.id).where(Image.account_id == account_id, Image.name == name))
    if taken is not None:
        raise AlreadyExists("image", f"AMI name {name} is already in use by AMI {taken}")
