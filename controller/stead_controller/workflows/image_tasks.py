"""Imports files of an account's exchange folder or buckets as images and snapshots, and exports images to files there.

A file is copied before it is examined, so that it cannot be changed while it is read.
"""

import asyncio
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from stead_controller.blocks import image_export
from stead_controller.blocks.bad_image import MOST_BYTES, BadImageError
from stead_controller.blocks.confinement import ConversionError
from stead_controller.blocks.image_blocks import ImageBlocks
from stead_controller.blocks.store import BlockStore
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.db.tables import ImageTask
from stead_controller.resources.images import image_tasks, imported_images
from stead_controller.resources.images.imported_images import ImageFile
from stead_controller.resources.storage import segments
from stead_controller.settings import Settings
from stead_controller.workflows.engine import Done, GiveUp, Life, Next, Outcome, Wait
from stead_proto.v1.blocks_pb2 import Segment

_LOOK_SECONDS: Final = 0.5
_SEGMENTS_AT_ONCE: Final = 4
_PIECE: Final = 8 << 20


class ObjectError(Exception):
    """An object cannot be read or written, and a later attempt would not help; the message is for the user."""


class Objects(Protocol):
    """Access to buckets' objects as files; temporary errors, as of an unavailable server, raise other exceptions."""

    async def fetch(self, account_id: str, bucket: str, key: str, path: Path, most_bytes: int) -> None:
        """Write an object of one of the account's buckets to a new file, durably; raises ObjectError."""

    async def store(self, account_id: str, bucket: str, key: str, path: Path) -> None:
        """Store a file as an object of one of the account's buckets, whole or not at all; raises ObjectError."""


@dataclass(frozen=True, slots=True)
class Places:
    """The places where tasks read and write files; the settings contain the folders."""

    settings: Settings
    objects: Objects
    blocks: BlockStore


class _Task(Life):
    """The base of imports and exports: the folders of the account's files and of the task's own."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        subject_id: str,
        facts: Mapping[str, Any],
        *,
        places: Places,
    ) -> None:
        """Store the dependencies."""
        super().__init__(database, clock, subject_id, facts)
        self._objects = places.objects
        self._blocks = places.blocks
        self._exchange = places.settings.exchange_folder
        self._folder = places.settings.incoming_folder / subject_id

    async def fail(self, message: str) -> None:
        """Mark the task as failed, and remove its copies."""
        await self.database.run(lambda tx: image_tasks.end(tx, self.id, message, self.clock()))
        await asyncio.to_thread(self._clear)

    def _clear(self) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder)


class ImportTask(_Task):
    """The workflow of an import: `begin` copies and checks the file, `watch` awaits the snapshot that is made of it."""

    kind = image_tasks.IMPORT

    async def begin(self) -> Outcome:
        """Copy the file, check it, and begin to read it."""
        task = await self.database.run(lambda tx: image_tasks.find_active(tx, self.id), writes=False)
        if task is None:
            return Done()
        if task.snapshot_id is not None:
            return Next(self.watch)
        try:
            await self._bring(task)
            file = await asyncio.to_thread(self._check, task.format)
        except (BadImageError, ObjectError, OSError) as error:
            words = error.strerror if isinstance(error, OSError) else str(error)
            raise GiveUp(f"ClientError: {task.location}: {words}") from error
        await self.database.run(lambda tx: image_tasks.read(tx, self.id, file, self.clock()))
        return Next(self.watch)

    async def watch(self) -> Outcome:
        """Wait until the snapshot is complete."""
        state = await self.database.run(lambda tx: image_tasks.note(tx, self.id, self.clock()))
        return Wait(_LOOK_SECONDS, "The file is being read.") if state == "pending" else Done()

    @property
    def _path(self) -> Path:
        return self._folder / "image"

    async def _bring(self, task: ImageTask) -> None:
        """Make a copy of the task's file, alone in a folder of its own."""
        await asyncio.to_thread(self._clear)
        self._folder.mkdir(mode=0o700, parents=True)
        if task.bucket == image_tasks.BUCKET:
            await asyncio.to_thread(self._copy, self._exchange / task.account_id / task.location, self._path)
        else:
            await self._objects.fetch(task.account_id, task.bucket, task.location, self._path, MOST_BYTES)

    def _copy(self, source: Path, path: Path) -> None:
        """Copy a regular file, never a link to one."""
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file, path.open("xb") as copy:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= MOST_BYTES:
                raise BadImageError("no file that can be read")
            shutil.copyfileobj(file, copy, _PIECE)
            copy.flush()
            os.fsync(copy.fileno())

    def _check(self, image_format: str) -> ImageFile:
        """Check the copy, whose format is given."""
        image = ImageBlocks(self._path, image_format)
        image.close()
        return ImageFile(self._path, image_format, image.size, self._path.stat().st_size, "")


class ExportTask(_Task):
    """The workflow of an export, in one step: write the disk, convert it, and put it into the folder or bucket."""

    kind = image_tasks.EXPORT

    async def begin(self) -> Outcome:
        """Do the whole export; only a complete file appears in the account's folder or bucket."""
        task = await self.database.run(lambda tx: image_tasks.find_active(tx, self.id), writes=False)
        if task is None or task.image_id is None:
            return Done()
        name = f"{task.location}{task.id}.{task.format}"
        await asyncio.to_thread(self._clear)
        self._folder.mkdir(mode=0o700, parents=True)
        try:
            made = await self._make(task.image_id, task.format)
            if task.bucket == image_tasks.BUCKET:
                await asyncio.to_thread(self._hand_over, made, self._exchange / task.account_id, name)
            else:
                await self._objects.store(task.account_id, task.bucket, name, made)
        except (ConversionError, ObjectError) as error:
            raise GiveUp(f"ServerError: {error}") from error
        except OSError:  # such as a full disk: the step is tried again, and no disk space is used until then
            await asyncio.to_thread(self._clear)
            raise
        await self.database.run(lambda tx: image_tasks.complete(tx, self.id, name))
        await asyncio.to_thread(self._clear)
        return Done()

    async def _make(self, image_id: str, image_format: str) -> Path:
        """Write the disk of an image and convert it to the format."""
        disk = await self.database.run(lambda tx: imported_images.find_disk(tx, image_id, ""), writes=False)

        async def more(first: int) -> list[Segment]:
            return await self.database.run(
                lambda tx: segments.page(tx, disk.snapshot_id, first, _SEGMENTS_AT_ONCE), writes=False
            )

        path = self._folder / "disk"
        await image_export.write_disk(self._blocks, more, path, disk.size, lambda _percent: None)
        return await asyncio.to_thread(image_export.convert, path, image_format)

    def _hand_over(self, made: Path, folder: Path, name: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(made, 0, 0)
        made.chmod(0o600)
        made.rename(folder / name)
