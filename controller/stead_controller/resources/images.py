"""Images: which of them a caller sees, and how they look."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, false, or_, select

from stead_controller.db.tables import Image
from stead_controller.errors import InvalidParameter, MissingParameter, NotFound, Unsupported, WrongState
from stead_controller.resources import lookup, tags
from stead_controller.resources.caller import Caller
from stead_controller.resources.conditions import (
    NEVER,
    Condition,
    Selection,
    constant,
    flag,
    instant,
    number,
    text,
)
from stead_controller.resources.owners import CLOUD_ACCOUNT, CLOUD_ALIAS, accounts_of
from stead_controller.resources.transaction import Transaction

_GIB: Final = 1 << 30
_PLATFORM: Final = "Linux/UNIX"

_whole_gib = (Image.virtual_size + _GIB - 1) // _GIB
_location = case((Image.account_id == CLOUD_ACCOUNT, CLOUD_ALIAS), else_=Image.account_id) + "/" + Image.name

# Known to EC2, of no image here.
_ABSENT: Final = (
    "image-watermark.source-image-creation-time",
    "image-watermark.source-image-id",
    "image-watermark.source-image-region",
    "image-watermark.watermark-creation-time",
    "image-watermark.watermark-key",
    "imds-support",
    "instance-type-specification.supported-instance-type",
    "instance-type-specification.unsupported-instance-type",
    "kernel-id",
    "platform",
    "product-code",
    "product-code.type",
    "public-ssm-parameter-name",
    "ramdisk-id",
    "scan-result.critical-fix-available-since",
    "scan-result.finding-scan-date",
    "scan-result.high-fix-available-since",
    "scan-result.highest-finding-severity-label",
    "scan-result.informational-fix-available-since",
    "scan-result.low-fix-available-since",
    "scan-result.medium-fix-available-since",
    "source-image-id",
    "source-image-region",
    "source-instance-id",
    "sriov-net-support",
    "state-reason-code",
    "state-reason-message",
    "tpm-support",
)

FILTERS: Final[dict[str, Condition]] = dict.fromkeys(_ABSENT, NEVER) | {
    "architecture": text(Image.architecture),
    "block-device-mapping.delete-on-termination": constant("true"),
    "block-device-mapping.device-name": text(Image.root_device_name),
    "block-device-mapping.encrypted": constant("false"),
    "block-device-mapping.snapshot-id": text(Image.snapshot_id),
    "block-device-mapping.volume-size": number(_whole_gib),
    "block-device-mapping.volume-type": constant("gp3"),
    "boot-mode": text(Image.boot_mode),
    "creation-date": instant(Image.created),
    "description": text(Image.description),
    "ena-support": constant("true"),
    "free-tier-eligible": constant("false"),
    "hypervisor": constant("xen"),
    "image-allowed": constant("true"),
    "image-id": text(Image.id),
    "image-type": constant("machine"),
    "is-public": flag(Image.public),
    "manifest-location": text(_location),
    "name": text(Image.name),
    "owner-alias": text(case((Image.account_id == CLOUD_ACCOUNT, CLOUD_ALIAS))),
    "owner-id": text(Image.account_id),
    "platform-details": constant(_PLATFORM),
    "root-device-name": text(Image.root_device_name),
    "root-device-type": constant("ebs"),
    "state": text(Image.state),
    "usage-operation": constant("RunInstances"),
    "virtualization-type": constant("hvm"),
}


@dataclass(frozen=True, slots=True)
class ImageSelection:
    """What DescribeImages asks for: owners (accounts, `self`, aliases) and whom the images must be executable by."""

    selection: Selection = field(default_factory=Selection)
    owners: tuple[str, ...] = ()
    executable_by: tuple[str, ...] = ()


def find_launchable(tx: Transaction, caller: Caller, image_id: str) -> Image:
    """Give an image that the caller may launch; raises MalformedId, NotFound, WrongState."""
    image = _find_visible(tx, caller, image_id)
    if image.state != "available":
        raise WrongState("image", f"The image ID '{image_id}' is not available; its state is {image.state}.")
    return image


def describe(tx: Transaction, caller: Caller, asked: ImageSelection) -> list[dict[str, Any]]:
    """List images that the caller sees in EC2's shape, sorted by id.

    Raises MalformedId, NotFound for ids, InvalidParameter for owners.
    """
    lookup.require(tx, "image", Image.id, asked.selection.ids, _visible(caller))
    ids = lookup.select_ids(
        tx,
        caller,
        Image.id,
        asked.selection,
        _visible(caller),
        *_owned(caller, asked.owners),
        *_executable(caller, asked.executable_by),
        conditions=FILTERS,
    )
    found = lookup.rows(tx, Image, ids)
    tagged = tags.of(tx, caller.account_id, [image.id for image in found])
    return [_shown(image, tagged.get(image.id)) for image in found]


def describe_attribute(tx: Transaction, caller: Caller, image_id: str, attribute: str) -> dict[str, Any]:
    """Give one attribute of the caller's own image in EC2's shape; raises MalformedId, NotFound, InvalidParameter."""
    image = _find_visible(tx, caller, image_id)
    if image.account_id != caller.account_id and attribute not in ("description", "bootMode", "blockDeviceMapping"):
        raise NotFound("image", image_id)
    shown: dict[str, Any] = {"ImageId": image.id}
    match attribute:
        case "description":
            shown["Description"] = {"Value": image.description}
        case "launchPermission":
            shown["LaunchPermissions"] = [{"Group": "all"}] if image.public else []
        case "blockDeviceMapping":
            shown["BlockDeviceMappings"] = _mappings(image)
        case "bootMode":
            shown["BootMode"] = {"Value": image.boot_mode}
        case "productCodes":
            shown["ProductCodes"] = []
        case "kernel" | "ramdisk" | "sriovNetSupport" | "tpmSupport" | "uefiData" | "imdsSupport" | "lastLaunchedTime":
            pass  # attributes that no image here has: EC2 answers with the id alone
        case "deregistrationProtection":
            shown["DeregistrationProtection"] = {"Value": "disabled"}
        case "":
            raise MissingParameter("Attribute")
        case _:
            raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")
    return shown


def _find_visible(tx: Transaction, caller: Caller, image_id: str) -> Image:
    lookup.check_form("image", [image_id])
    image = tx.session.scalar(select(Image).where(Image.id == image_id, _visible(caller)))
    if image is None:
        raise NotFound("image", image_id)
    return image


def _visible(caller: Caller) -> ColumnElement[bool]:
    return or_(Image.account_id == caller.account_id, and_(Image.public.is_(True), Image.state == "available"))


def _owned(caller: Caller, owners: Sequence[str]) -> list[ColumnElement[bool]]:
    if not owners:
        return []
    return [Image.account_id.in_(accounts_of(caller, owners))]


def _executable(caller: Caller, users: Sequence[str]) -> list[ColumnElement[bool]]:
    """Keep what one of the users may launch by a permission, which an owner needs not."""
    if not users:
        return []
    if any(user not in ("all", "self", caller.account_id) for user in users):
        raise Unsupported("Images are shared with everybody or nobody; single accounts have no permissions.")
    return [Image.public.is_(True) if "all" in users else false()]


def _shown(image: Image, image_tags: list[dict[str, str]] | None) -> dict[str, Any]:
    is_own = image.account_id == CLOUD_ACCOUNT
    shown: dict[str, Any] = {
        "ImageId": image.id,
        "Name": image.name,
        "Description": image.description or None,
        "ImageLocation": f"{CLOUD_ALIAS if is_own else image.account_id}/{image.name}",
        "ImageOwnerAlias": CLOUD_ALIAS if is_own else None,
        "OwnerId": image.account_id,
        "State": image.state,
        "CreationDate": image.created.isoformat("T", "milliseconds").replace("+00:00", "Z"),
        "Public": image.public,
        "Architecture": image.architecture,
        "BootMode": image.boot_mode,
        "ImageType": "machine",
        "PlatformDetails": _PLATFORM,
        "UsageOperation": "RunInstances",
        "BlockDeviceMappings": _mappings(image),
        "RootDeviceName": image.root_device_name,
        "RootDeviceType": "ebs",
        "EnaSupport": True,
        "SriovNetSupport": "simple",
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
        "Tags": image_tags,
    }
    return shown


def _mappings(image: Image) -> list[dict[str, Any]]:
    return [
        {
            "DeviceName": image.root_device_name,
            "Ebs": {
                "SnapshotId": image.snapshot_id,
                "VolumeSize": -(-image.virtual_size // _GIB),
                "VolumeType": "gp3",
                "DeleteOnTermination": True,
                "Encrypted": False,
            },
        }
    ]
