"""Attributes of images one by one: read, changed, reset; above all who may launch an image."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select

from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import Image, ImagePermission, Snapshot
from stead_controller.errors import InvalidParameter, MissingParameter, NotAuthorized, Unsupported, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.owners import is_account
from stead_controller.request.transaction import Transaction
from stead_controller.resources.images import images
from stead_controller.resources.storage import block_devices, ebs_encryption, public_sharing

ATTRIBUTES: Final = frozenset(
    {
        "blockDeviceMapping",
        "bootMode",
        "deregistrationProtection",
        "description",
        "imdsSupport",
        "kernel",
        "lastLaunchedTime",
        "launchPermission",
        "productCodes",
        "ramdisk",
        "sriovNetSupport",
        "tpmSupport",
        "uefiData",
    }
)
"""The attributes of images, as DescribeImageAttribute names them."""

_LENGTH: Final = 255


type ImageAttributes = Image
"""The row of an image, which has its attributes."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Who has, gets or loses the right to launch an image: accounts, or all."""

    accounts: tuple[str, ...] = ()
    all: bool = False


def find_with(tx: Transaction, caller: Caller, image_id: str, attribute: str) -> ImageAttributes:
    """Give an image of which this attribute, by EC2's name, may be read.

    Raises MalformedId, NotFound, NotAuthorized for another's image, InvalidParameter, MissingParameter.
    """
    if not attribute:
        raise MissingParameter("Attribute")
    if attribute not in ATTRIBUTES:
        raise invalid_request()
    image = images.find_own(tx, caller, image_id)
    if attribute == "blockDeviceMapping":
        # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImageAttribute.html
        raise NotAuthorized("Unauthorized attempt to access restricted resource", code="AuthFailure")
    return image


def invalid_request() -> InvalidParameter:
    """What EC2 answers where an attribute is to be shown or reset that images have not, or not so."""
    return InvalidParameter("The request received was invalid.", code="InvalidRequest")


def set_description(tx: Transaction, caller: Caller, image_id: str, description: str) -> None:
    """Change an image's description; raises MalformedId, NotFound, NotAuthorized, InvalidParameter."""
    check_description(description)
    images.find_own(tx, caller, image_id).description = description


def check_description(description: str) -> None:
    """Raise InvalidParameter for a description that is too long."""
    if len(description) > _LENGTH:
        raise InvalidParameter(
            f"Invalid attribute item value: a description has at most {_LENGTH} characters",
            code="InvalidAMIAttributeItemValue",
        )


def set_imds_support(tx: Transaction, caller: Caller, image_id: str, value: str) -> None:
    """Say that an image's instances need tokens for metadata, which cannot be taken back; raises as the others."""
    if value != "v2.0":
        raise InvalidParameter(
            f'Invalid attribute item value "{value}" for imdsSupport: v2.0', code="InvalidAMIAttributeItemValue"
        )
    images.find_own(tx, caller, image_id).imds_support = value


def change_permissions(
    tx: Transaction, caller: Caller, cloud: Cloud, image_id: str, *, add: Permissions, remove: Permissions
) -> None:
    """Let others launch an image, or no longer; an encrypted one not everybody, and nobody under the first key.

    Raises MalformedId, NotFound, NotAuthorized, InvalidParameter for what is no account, Unsupported for what cannot be
    shared so, WrongState for an image that is not available.
    """
    image = images.find_own(tx, caller, image_id)
    if image.state != "available":
        raise WrongState("image", f"The image ID '{image_id}' is not available; its state is {image.state}.")
    _check_accounts((*add.accounts, *remove.accounts))
    if add.all:
        if any(device.encrypted for device in block_devices.of_image(tx, image.id)):
            raise Unsupported("Images with encrypted snapshots cannot be public.", code="OperationNotPermitted")
        public_sharing.check_image(tx, image.account_id)
        image.public = True
    if add.accounts and _is_of_managed_key(tx, cloud, image):
        raise Unsupported("Images encrypted with EBS default key cannot be shared.", code="OperationNotPermitted")
    if remove.all:
        image.public = False
    for account in dict.fromkeys(add.accounts):
        insert_if_absent(tx.session, ImagePermission, {"image_id": image.id, "account_id": account})
    if remove.accounts:
        gone = ImagePermission.account_id.in_(remove.accounts)
        tx.session.execute(delete(ImagePermission).where(ImagePermission.image_id == image.id, gone))


def _is_of_managed_key(tx: Transaction, cloud: Cloud, image: Image) -> bool:
    """Tell whether a snapshot of an image is under the key that its account has at first."""
    own = [device.snapshot_id for device in block_devices.of_image(tx, image.id) if device.encrypted]
    keys = select(Snapshot.account_id, Snapshot.kms_key_id).where(Snapshot.id.in_([each for each in own if each]))
    return any(ebs_encryption.is_managed_key(cloud, *row) for row in tx.session.execute(keys).all())


def reset(tx: Transaction, caller: Caller, image_id: str, attribute: str) -> None:
    """Let nobody but the owner launch an image; raises MalformedId, NotFound, NotAuthorized, InvalidParameter."""
    if attribute != "launchPermission":
        raise invalid_request()
    remove_permissions(tx, images.find_own(tx, caller, image_id))


def give_up_permission(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Take the right to launch an image from the caller's account, which must have been named.

    Raises MalformedId, NotFound, NotAuthorized for what is the account's own or is everybody's.
    """
    image = images.find_visible(tx, caller, image_id)
    named = (ImagePermission.image_id == image.id, ImagePermission.account_id == caller.account_id)
    held = tx.session.execute(delete(ImagePermission).where(*named).returning(ImagePermission.image_id)).first()
    if held is None:
        raise NotAuthorized(f"Not authorized for images: [{image_id}]", code="AuthFailure")


def remove_permissions(tx: Transaction, image: Image) -> None:
    """Take the right to launch an image from all others."""
    image.public = False
    tx.session.execute(delete(ImagePermission).where(ImagePermission.image_id == image.id))


def permissions(tx: Transaction, image: ImageAttributes) -> Permissions:
    """Tell who beside its owner may launch an image, the accounts sorted."""
    accounts = select(ImagePermission.account_id).where(ImagePermission.image_id == image.id)
    named = tx.session.scalars(accounts.order_by(ImagePermission.account_id))
    return Permissions(tuple(named), all=image.public)


def _check_accounts(accounts: Iterable[str]) -> None:
    for account in accounts:
        if not is_account(account):
            raise InvalidParameter(
                f'Invalid attribute item value "{account}" for userId item type.',
                code="InvalidAMIAttributeItemValue",
            )
