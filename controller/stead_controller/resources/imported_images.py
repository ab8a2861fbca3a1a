"""Image files that an operator brings in become AMIs; hosts fetch them as bases of root disks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select

from stead_controller.db.tables import Image, ImageBlockDevice, Instance, Tag
from stead_controller.errors import AlreadyExists, InUse, InvalidParameter, MalformedId, NotFound
from stead_controller.hosts import desired_state
from stead_controller.resources import block_devices
from stead_controller.resources.owners import CLOUD_ACCOUNT
from stead_controller.resources.transaction import Transaction
from stead_proto import ids

_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A checked image file: `virtual_size` and `file_size` in bytes, `sha256` in hex."""

    format: str
    virtual_size: int
    file_size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ImageWish:
    """What the operator said of an image."""

    name: str
    description: str = ""
    architecture: str = "x86_64"
    boot_mode: str = "legacy-bios"
    public: bool = True
    account_id: str = ""
    root_device_name: str = "/dev/sda1"
    tags: Mapping[str, str] = field(default_factory=dict)


def check_wish(tx: Transaction, wish: ImageWish) -> None:
    """Refuse an image that could not be added, before its bytes are sent; raises BadRequest and AlreadyExists."""
    if not 3 <= len(wish.name) <= 128 or not wish.name.isprintable():
        raise InvalidParameter("An image's name has 3 to 128 printable characters.")
    if wish.architecture != "x86_64":
        raise InvalidParameter(f"Images for '{wish.architecture}' are not supported: only x86_64 is.")
    if wish.boot_mode not in ("legacy-bios", "uefi"):
        raise InvalidParameter(f"'{wish.boot_mode}' is no boot mode: legacy-bios or uefi.")
    owner = wish.account_id or CLOUD_ACCOUNT
    taken = tx.session.scalar(select(Image.id).where(Image.account_id == owner, Image.name == wish.name))
    if taken is not None:
        raise AlreadyExists("image", f"AMI name {wish.name} is already in use by AMI {taken}")


def add_image(tx: Transaction, image_id: str, wish: ImageWish, file: ImageFile, now: datetime) -> None:
    """Enter an image whose file is in place."""
    check_wish(tx, wish)
    owner = wish.account_id or CLOUD_ACCOUNT
    snapshot_id = ids.new_id("snapshot")
    tx.session.add(
        Image(
            id=image_id,
            account_id=owner,
            name=wish.name,
            description=wish.description,
            state="available",
            public=wish.public,
            architecture=wish.architecture,
            boot_mode=wish.boot_mode,
            root_device_name=wish.root_device_name,
            snapshot_id=snapshot_id,
            format=file.format,
            sha256=file.sha256,
            file_size=file.file_size,
            virtual_size=file.virtual_size,
            created=now,
        )
    )
    tx.session.flush()
    tx.session.add(
        ImageBlockDevice(
            image_id=image_id,
            device_name=wish.root_device_name,
            snapshot_id=snapshot_id,
            volume_size=-(-file.virtual_size // _GIB),
            volume_type=block_devices.DEFAULT_TYPE,
        )
    )
    rows = [
        {"resource_id": image_id, "key": key, "value": value, "account_id": owner, "resource_type": "image"}
        for key, value in wish.tags.items()
    ]
    if rows:
        tx.session.execute(insert(Tag), rows)


def list_images(tx: Transaction) -> list[Image]:
    """All images of all accounts, oldest first."""
    return list(tx.session.scalars(select(Image).order_by(Image.created, Image.id)))


def remove_image(tx: Transaction, image_id: str) -> None:
    """Forget an image; raises InUse while an instance that is not terminated was launched from it."""
    if not ids.is_id("image", image_id):
        raise MalformedId("image", image_id)
    image = tx.session.get(Image, image_id)
    if image is None:
        raise NotFound("image", image_id)
    user = tx.session.scalar(
        select(Instance.id).where(Instance.image_id == image_id, Instance.state != "terminated").limit(1)
    )
    if user is not None:
        raise InUse(f"{image_id} is the base of {user}'s root disk.")
    desired_state.remove_unused_image(tx, image_id)
    tx.session.execute(delete(Tag).where(Tag.resource_id == image_id))
    tx.session.delete(image)
