"""Read, change and reset attributes of images, above all the launch permissions."""

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
    """Accounts that have, get or lose the launch permission, or everyone (`all`)."""

    accounts: tuple[str, ...] = ()
    all: bool = False


def find_with(tx: Transaction, caller: Caller, image_id: str, attribute: str) -> ImageAttributes:
    """Return an image whose attribute, by EC2's name, the caller may read.

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
    """Make EC2's error for an attribute that images do not have or that does not support the operation."""
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
    """Require metadata tokens for an image's instances, which cannot be undone; raises as the others."""
    if value != "v2.0":
        raise InvalidParameter(
            f'Invalid attribute item value "{value}" for imdsSupport: v2.0', code="InvalidAMIAttributeItemValue"
        )
    images.find_own(tx, caller, image_id).imds_support = value


def change_permissions(
    tx: Transaction, caller: Caller, cloud: Cloud, image_id: str, *, add: Permissions, remove: Permissions
) -> None:
    """Change launch permissions; encrypted images cannot be public, and not shared under the account's first key.

    Raises MalformedId, NotFound, NotAuthorized, InvalidParameter for an invalid account, Unsupported for what cannot be
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
    """Tell whether a snapshot of an image is encrypted under its account's initial (AWS managed) key."""
    own = [device.snapshot_id for device in block_devices.of_image(tx, image.id) if device.encrypted]
    keys = select(Snapshot.account_id, Snapshot.kms_key_id).where(Snapshot.id.in_([each for each in own if each]))
    return any(ebs_encryption.is_managed_key(cloud, *row) for row in tx.session.execute(keys).all())


def reset(tx: Transaction, caller: Caller, image_id: str, attribute: str) -> None:
    """Remove all launch permissions; raises MalformedId, NotFound, NotAuthorized, InvalidParameter."""
    if attribute != "launchPermission":
        raise invalid_request()
    remove_permissions(tx, images.find_own(tx, caller, image_id))


def give_up_permission(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Remove the launch permission of the caller's account, which must be named in it.

    Raises MalformedId, NotFound, NotAuthorized for the account's own and for public images.
    """
    image = images.find_visible(tx, caller, image_id)
    named = (ImagePermission.image_id == image.id, ImagePermission.account_id == caller.account_id)
    held = tx.session.execute(delete(ImagePermission).where(*named).returning(ImagePermission.image_id)).first()
    if held is None:
        raise NotAuthorized(f"Not authorized for images: [{image_id}]", code="AuthFailure")


def remove_permissions(tx: Transaction, image: Image) -> None:
    """Remove all launch permissions of other accounts."""
    image.public = False
    tx.session.execute(delete(ImagePermission).where(ImagePermission.image_id == image.id))


def permissions(tx: Transaction, image: ImageAttributes) -> Permissions:
    """Return who besides its owner may launch an image, the accounts sorted."""
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
