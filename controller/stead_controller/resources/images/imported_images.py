"""Convert imported image files to snapshots and, for an operator's files, to AMIs with one disk.

While a file is read its image and its snapshot are pending (`workflows/ingest_image.py`); if the snapshot fails, what
is made from it fails too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import insert, select

from stead_controller.catalog import ids
from stead_controller.db.tables import Image, ImageBlockDevice, Instance, Snapshot, Tag
from stead_controller.errors import (
    AlreadyExists,
    InUse,
    InvalidParameter,
    MalformedId,
    NotFound,
    Unsupported,
    WrongState,
)
from stead_controller.request.cloud import Cloud
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.request.transaction import Transaction
from stead_controller.resources import workflow_rows
from stead_controller.resources.images import firmware, image_life
from stead_controller.resources.storage import (
    block_devices,
    ebs_encryption,
    snapshot_damage,
    snapshot_life,
    volume_keys,
)
from stead_controller.resources.storage.snapshots import NO_VOLUME
from stead_controller.resources.storage.volume_keys import SealedKey

INGEST: Final = "ingest-image"
"""The kind of workflow that reads a file; its subject is the snapshot."""

_GIB: Final = 1 << 30
_PATIENCE: Final = timedelta(hours=24)
_REASON_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A checked image file, alone in its folder: `virtual_size` and `file_size` in bytes, `sha256` in hex."""

    path: Path
    format: str
    virtual_size: int
    file_size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The operator's parameters of an image."""

    name: str
    description: str = ""
    architecture: str = "x86_64"
    boot_mode: str = ""  # that of its architecture
    public: bool = True
    account_id: str = ""
    root_device_name: str = "/dev/sda1"
    tags: Mapping[str, str] = field(default_factory=dict)
    key: SealedKey | None = None


def check_request(tx: Transaction, request: ImageRequest) -> None:
    """Refuse an image that could not be added, before its bytes are sent.

    Raises BadRequest, AlreadyExists, and Unsupported for a public one of an account that has all encrypted.
    """
    if not 3 <= len(request.name) <= 128 or not request.name.isprintable():
        raise InvalidParameter("An image's name has 3 to 128 printable characters.")
    firmware.settle_boot_mode(request.architecture, request.boot_mode)
    if request.public and _is_encrypted(tx, request):
        raise Unsupported("Images with encrypted snapshots cannot be public.", code="OperationNotPermitted")
    owner = request.account_id or CLOUD_ACCOUNT
    taken = tx.session.scalar(select(Image.id).where(Image.account_id == owner, Image.name == request.name))
    if taken is not None:
        raise AlreadyExists("image", f"AMI name {request.name} is already in use by AMI {taken}")


def bring_image(  # noqa: PLR0917 - who has what made of which file, where and when
    tx: Transaction, cloud: Cloud, image_id: str, request: ImageRequest, file: ImageFile, now: datetime
) -> None:
    """Add an operator's image, encrypted if its account encrypts by default; raises as `add_image`."""
    key = None
    if _is_encrypted(tx, request):
        kms_key_id = ebs_encryption.key_for(tx, cloud, request.account_id, None, encrypted=True, key=None)
        key = volume_keys.new_key(cloud, kms_key_id or "")
    add_image(tx, image_id, replace(request, key=key), file, now)


def _is_encrypted(tx: Transaction, request: ImageRequest) -> bool:
    return bool(request.account_id) and ebs_encryption.is_by_default(tx, request.account_id)


def add_image(tx: Transaction, image_id: str, request: ImageRequest, file: ImageFile, now: datetime) -> None:
    """Add an image whose file is in place and begin to read it; raises BadRequest and AlreadyExists."""
    check_request(tx, request)
    owner = request.account_id or CLOUD_ACCOUNT
    snapshot_id = ids.new_id("snapshot")
    _add_snapshot(tx, owner, snapshot_id, file, request.key, now)
    tx.session.add(
        Image(
            id=image_id,
            account_id=owner,
            name=request.name,
            description=request.description,
            state="pending",
            public=request.public,
            architecture=request.architecture,
            boot_mode=firmware.settle_boot_mode(request.architecture, request.boot_mode),
            root_device_name=request.root_device_name,
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
            device_name=request.root_device_name,
            snapshot_id=snapshot_id,
            volume_size=-(-file.virtual_size // _GIB),
            volume_type=block_devices.DEFAULT_TYPE,
            encrypted=request.key is not None,
        )
    )
    rows = [
        {"resource_id": image_id, "key": key, "value": value, "account_id": owner, "resource_type": "image"}
        for key, value in request.tags.items()
    ]
    if rows:
        tx.session.execute(insert(Tag), rows)


def _add_snapshot(  # noqa: PLR0917 - whose snapshot is made of what, with which key and when
    tx: Transaction, owner: str, snapshot_id: str, file: ImageFile, key: SealedKey | None, now: datetime
) -> None:
    """Add a pending snapshot and begin to read its file."""
    tx.session.add(
        Snapshot(
            id=snapshot_id,
            account_id=owner,
            volume_id=NO_VOLUME,
            volume_size=-(-file.virtual_size // _GIB),
            size=file.virtual_size,
            state="pending",
            description="Imported from an image file",
            started=now,
            encrypted=key is not None,
            sealed_key=key.sealed if key is not None else None,
            kms_key_id=key.kms_key_id if key is not None else None,
        )
    )
    facts = {"path": str(file.path), "format": file.format}
    workflow_rows.begin(tx, INGEST, snapshot_id, facts, now=now, patience=_PATIENCE)


def add_snapshot(tx: Transaction, owner: str, file: ImageFile, key: SealedKey | None, now: datetime) -> str:
    """Add a pending snapshot, begin to read its file, and return its id."""
    snapshot_id = ids.new_id("snapshot")
    _add_snapshot(tx, owner, snapshot_id, file, key, now)
    return snapshot_id


def discard(tx: Transaction, image_id: str | None, snapshot_id: str, now: datetime) -> None:
    """Remove what a failed import has created."""
    image = tx.session.get(Image, image_id) if image_id is not None else None
    if image is not None:
        image_life.forget(tx, image)
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is not None:
        image_life.delete_unused(tx, snapshot, now)


def key_of(tx: Transaction, snapshot_id: str) -> bytes | None:
    """Return the sealed key of a snapshot that is made from a file; None if it is not encrypted, or deleted."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    return None if snapshot is None else snapshot.sealed_key


def progress(tx: Transaction, snapshot_id: str, percent: int) -> None:
    """Note how far a snapshot is."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is not None and snapshot.state == "pending":
        snapshot.progress = percent


def complete(tx: Transaction, snapshot_id: str, now: datetime) -> None:
    """Complete a snapshot whose blocks are stored, and make the images that waited for it available."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.state != "pending":
        return
    snapshot_life.complete(tx, snapshot, now)
    tx.session.flush()
    for image in _waiting(tx, snapshot_id):
        image.state = "available"
        if snapshot_damage.lacks_data(tx, image.id):
            image.state, image.state_reason = "error", snapshot_damage.OF_IMAGE
        snapshot.public = image.public


def fail(tx: Transaction, snapshot_id: str, message: str) -> None:
    """Fail a snapshot, and the images that waited for it."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.state != "pending":
        return
    snapshot_life.fail(tx, snapshot, message[:_REASON_LENGTH])
    for image in _waiting(tx, snapshot_id):
        image.state, image.state_reason = "failed", message[:_REASON_LENGTH]


def _waiting(tx: Transaction, snapshot_id: str) -> list[Image]:
    """Return the pending images that are made from a snapshot's file."""
    return list(tx.session.scalars(select(Image).where(Image.snapshot_id == snapshot_id, Image.state == "pending")))


@dataclass(frozen=True, slots=True)
class Ingestion:
    """The progress of an image: its state, why it failed, and the percentage of its disk that is stored."""

    state: str
    reason: str
    percent: int


def ingestion(tx: Transaction, image_id: str) -> Ingestion:
    """Return the progress of an image; a deleted one has failed."""
    image = tx.session.get(Image, image_id)
    if image is None:
        return Ingestion("failed", "The image was removed.", 0)
    snapshot = tx.session.get(Snapshot, image.snapshot_id)
    return Ingestion(image.state, image.state_reason, 0 if snapshot is None else snapshot.progress)


def coming(tx: Transaction) -> set[str]:
    """Return the ids of the images whose files are being read."""
    return set(tx.session.scalars(select(Image.id).where(Image.state == "pending", Image.format != "")))


def list_images(tx: Transaction) -> list[Image]:
    """All images of all accounts, oldest first."""
    return list(tx.session.scalars(select(Image).order_by(Image.created, Image.id)))


@dataclass(frozen=True, slots=True)
class StoredDisk:
    """A disk in the block store, of `size` bytes."""

    snapshot_id: str
    size: int


def find_disk(tx: Transaction, image_id: str, device_name: str) -> StoredDisk:
    """Find a disk of an image, the root's where no device is named.

    Raises MalformedId, NotFound, InvalidParameter for a device that is no snapshot, WrongState, Unsupported.
    """
    if not ids.is_id("image", image_id):
        raise MalformedId("image", image_id)
    image = tx.session.get(Image, image_id)
    if image is None:
        raise NotFound("image", image_id)
    name = device_name or image.root_device_name
    devices = {device.device_name: device for device in block_devices.of_image(tx, image_id)}
    snapshot_id = devices[name].snapshot_id if name in devices else None
    if snapshot_id is None:
        raise InvalidParameter(f"{image_id} has no snapshot at {name}, but at: {', '.join(devices)}.")
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.state != "completed":
        raise WrongState("image", f"{snapshot_id} of {image_id} is not complete.")
    if snapshot.encrypted:
        raise Unsupported("Encrypted images cannot be exported.")
    return StoredDisk(snapshot.id, snapshot.size)


def remove_image(tx: Transaction, image_id: str, now: datetime) -> None:
    """Remove an image and delete its snapshots that no other image uses.

    Raises MalformedId, NotFound, and InUse while an instance that is not terminated was launched from it.
    """
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
    snapshot_ids = [device.snapshot_id for device in block_devices.of_image(tx, image_id) if device.snapshot_id]
    image_life.forget(tx, image)
    for snapshot_id in snapshot_ids:
        snapshot = tx.session.get(Snapshot, snapshot_id)
        if snapshot is not None and snapshot.account_id == image.account_id:
            image_life.delete_unused(tx, snapshot, now)
