"""ImportImage, ImportSnapshot and ExportImage: convert files of the account to images, and back.

They are objects of its own buckets, or files of its exchange folder, which stands for a bucket of the name `exchange`;
nothing is ever fetched from a URL. The work is done by the workflows
in `workflows/image_tasks.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import Image, ImageTask, Snapshot
from stead_controller.errors import InvalidParameter, NotFound, Unsupported, WrongState
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources import workflow_rows as workflows
from stead_controller.resources.images import firmware, image_attributes, images, imported_images
from stead_controller.resources.images.imported_images import ImageFile, ImageRequest
from stead_controller.resources.storage import buckets, ebs_encryption, volume_keys
from stead_controller.resources.storage.volume_keys import SealedKey
from stead_controller.resources.tags import Tagged

BUCKET: Final = "exchange"
IMPORT_IMAGE: Final = "import-image-task"
IMPORT_SNAPSHOT: Final = "import-snapshot-task"
EXPORT_IMAGE: Final = "export-image-task"
# The kinds of workflows, whose subjects are the tasks.
IMPORT: Final = "import-task"
EXPORT: Final = "export-task"

FILTERS: Final[dict[str, Condition]] = {"task-state": text(ImageTask.state)}

_PATIENCE: Final = timedelta(hours=24)
_IMPORTED: Final = {"RAW": "raw", "VMDK": "vmdk", "VHD": "vhd", "VHDX": "vhdx", "QCOW2": "qcow2"}
_EXPORTED: Final = {"RAW": "raw", "VMDK": "vmdk", "VHD": "vhd"}
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}\Z")
_KEY_BYTES: Final = 1000  # an export's key has the id of its task, too
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,99})?\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a file in a request."""

    bucket: str = ""
    key: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class NewTask:
    """The parameters of a new task; `format` is EC2's, `image_id` is the exported image."""

    kind: str
    format: str
    place: Place
    description: str = ""
    boot_mode: str = ""
    architecture: str = "x86_64"
    image_id: str | None = None
    encrypted: bool = False
    kms_key_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


type Task = ImageTask
"""The row of a task."""


def begin(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: NewTask, *, repeatable: Repeatable, now: datetime
) -> str:
    """Begin a task and return its id.

    Raises InvalidParameter, Unsupported for unsupported locations, IdempotencyMismatch; MalformedId, NotFound,
    NotAuthorized and WrongState for images.
    """
    return client_tokens.once(tx, caller, repeatable, now, lambda: _begin(tx, caller, cloud, asked, now))


def _begin(tx: Transaction, caller: Caller, cloud: Cloud, asked: NewTask, now: datetime) -> str:
    image_attributes.check_description(asked.description)
    exports = asked.kind == EXPORT_IMAGE
    known = _EXPORTED if exports else _IMPORTED
    if asked.format.upper() not in known:
        raise InvalidParameter(f"Value ({asked.format}) for the disk image's format is invalid: {', '.join(known)}.")
    firmware.settle_boot_mode(asked.architecture, asked.boot_mode)
    location = _location(tx, caller, asked.place, exports=exports)
    task = ImageTask(
        id=ids.new_id(asked.kind),
        account_id=caller.account_id,
        kind=asked.kind,
        state="active",
        description=asked.description,
        format=known[asked.format.upper()],
        bucket=asked.place.bucket,
        location=location,
        boot_mode=asked.boot_mode,
        architecture=asked.architecture,
        created=now,
        encrypted=False,
    )
    if not exports:
        key_id = ebs_encryption.key_for(
            tx, cloud, caller.account_id, None, encrypted=asked.encrypted, key=asked.kms_key_id
        )
        if key_id is not None:
            volume_keys.encrypt(cloud, task, key_id, None)
    if asked.image_id is not None:
        image = images.find_own(tx, caller, asked.image_id)
        disk = imported_images.find_disk(tx, image.id, "")
        task.image_id, task.snapshot_id = image.id, disk.snapshot_id
    tx.session.add(task)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [(asked.kind, task.id)], {asked.kind: asked.tags})
    workflows.begin(tx, EXPORT if exports else IMPORT, task.id, {}, now=now, patience=_PATIENCE)
    return task.id


def _location(tx: Transaction, caller: Caller, place: Place, *, exports: bool) -> str:
    """Return a file's name in the exchange folder, or an object's key in an own bucket; for an export a prefix."""
    if place.url:
        raise Unsupported(f"Nothing is fetched from a URL: name an object of a bucket, or a file by bucket '{BUCKET}'.")
    if place.bucket != BUCKET:
        _check_bucket(tx, caller, place.bucket)
        is_named = len(place.key.encode()) <= _KEY_BYTES and (exports or place.key != "")
    else:
        is_named = (_PREFIX if exports else _FILE).match(place.key) is not None
    if not is_named:
        raise InvalidParameter(f"'{place.key}' is no name of a file.", code="InvalidParameterValue")
    return place.key


def _check_bucket(tx: Transaction, caller: Caller, name: str) -> None:
    """Raise InvalidParameter for a bucket that is not the account's, as for an absent one."""
    try:
        is_own = buckets.find(tx, name).account_id == caller.account_id
    except NotFound:
        is_own = False
    if not is_own:
        raise InvalidParameter(
            f"The bucket '{name}' does not exist. '{BUCKET}' stands for the exchange folder of your account.",
            code="InvalidS3Bucket",
        )


def cancel(tx: Transaction, caller: Caller, task_id: str, now: datetime) -> Task:
    """Cancel an active import and return it; raises MalformedId, NotFound, WrongState."""
    kind = IMPORT_SNAPSHOT if ids.is_id(IMPORT_SNAPSHOT, task_id) else IMPORT_IMAGE
    task = lookup.find(tx, caller, kind, ImageTask, task_id)
    if task.state != "active":
        raise WrongState(kind, f"The task {task_id} is not active; its state is {task.state}.", code="IncorrectState")
    end(tx, task.id, "Cancelled", now)
    return task


def describe(tx: Transaction, caller: Caller, kind: str, asked: Selection) -> list[Tagged[Task]]:
    """Find the caller's tasks of a kind with their tags, sorted by id; raises MalformedId, NotFound."""
    mine = (ImageTask.account_id == caller.account_id, ImageTask.kind == kind)
    lookup.require(tx, kind, ImageTask.id, asked.ids, *mine)
    found = lookup.select_ids(tx, caller, ImageTask.id, asked, *mine, conditions=FILTERS)
    return tags.with_tags(tx, caller.account_id, lookup.rows(tx, ImageTask, found))


def active(tx: Transaction) -> set[str]:
    """Return the ids of the tasks that are under way."""
    return set(tx.session.scalars(select(ImageTask.id).where(ImageTask.state == "active")))


def find_active(tx: Transaction, task_id: str) -> ImageTask | None:
    """Return a task unless it has ended."""
    task = tx.session.get(ImageTask, task_id)
    return task if task is not None and task.state == "active" else None


def read(tx: Transaction, task_id: str, file: ImageFile, now: datetime) -> None:
    """Begin to read the file of an import, once."""
    task = find_active(tx, task_id)
    if task is None or task.snapshot_id is not None:
        return
    key = None if task.sealed_key is None else SealedKey(task.sealed_key, task.kms_key_id)
    if task.kind == IMPORT_SNAPSHOT:
        task.snapshot_id = imported_images.add_snapshot(tx, task.account_id, file, key, now)
        return
    request = ImageRequest(
        task.id,
        task.description,
        architecture=task.architecture,
        boot_mode=task.boot_mode,
        public=False,
        account_id=task.account_id,
        key=key,
    )
    task.image_id = ids.new_id("image")
    imported_images.add_image(tx, task.image_id, request, file, now)
    task.snapshot_id = tx.session.get_one(Image, task.image_id).snapshot_id


def note(tx: Transaction, task_id: str, now: datetime) -> str:
    """Record the progress of an import's snapshot, and return its state; the task ends with it."""
    task = find_active(tx, task_id)
    if task is None:
        return "ended"
    snapshot = tx.session.get(Snapshot, task.snapshot_id)
    if snapshot is None or snapshot.state == "deleting":
        end(tx, task_id, "ClientError: The snapshot was deleted.", now)
        return "ended"
    task.progress = snapshot.progress
    if snapshot.state == "completed":
        task.state = "completed"
    elif snapshot.state == "error":
        end(tx, task_id, f"ClientError: {snapshot.state_message}", now)
    return snapshot.state


def complete(tx: Transaction, task_id: str, location: str) -> None:
    """Complete an export with this file name."""
    task = find_active(tx, task_id)
    if task is not None:
        task.state, task.progress, task.location = "completed", 100, location


def end(tx: Transaction, task_id: str, message: str, now: datetime) -> None:
    """Fail or cancel a task and remove what an import has created; EC2 calls either `deleted`."""
    task = find_active(tx, task_id)
    if task is None:
        return
    task.state, task.status_message = "deleted", message[:512]
    if task.kind != EXPORT_IMAGE and task.snapshot_id is not None:
        imported_images.discard(tx, task.image_id, task.snapshot_id, now)
