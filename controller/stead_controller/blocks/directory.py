"""Stores blocks as files of a directory.

A file is written under a temporary name, synced and renamed, and its folder is synced: only then may a row refer to it.
Temporary files left by a kill are removed at the next start.
"""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stead_controller.blocks.interface import (
    MOST_BYTES,
    BlockStoreError,
    ListedBlock,
    MissingBlockError,
    decode,
    encode,
)
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BadBlockError
from stead_proto.v1.blocks_pb2 import Block

_INCOMING: Final = "incoming"
_HALF_WRITTEN_SECONDS: Final = 3600.0  # after which nobody writes a file any more
# Errors for a single place that a disk cannot read, or for a single file of a file system.
_UNREADABLE: Final = frozenset(
    {errno.EIO, errno.ENODATA, errno.EREMOTEIO, errno.EILSEQ, errno.EUCLEAN, errno.EBADMSG, errno.EISDIR}
)
_WRITERS: Final = 4  # files that are synced at once: a disk orders them better than we do


class BlockDirectory:
    """Stores blocks below a folder, which only the controller uses."""

    def __init__(self, folder: Path) -> None:
        """Create the folder where it is missing and remove half-written files left by a kill.

        Another controller may be writing some now, with names of its own: those are young.
        """
        self._folder = folder
        self._incoming = folder / _INCOMING
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        self._durable: set[Path] = set()  # folders that are known to be synced in their parents: 65,536 at most
        self._writers = ThreadPoolExecutor(_WRITERS, "blocks")
        self._mark = secrets.token_hex(4)
        oldest = time.time() - _HALF_WRITTEN_SECONDS
        for left in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # the other one has finished it
                if left.stat().st_mtime < oldest:
                    left.unlink()

    def put(self, blocks: Sequence[tuple[BlockName, Block]]) -> None:
        """Store blocks durably; raises BlockStoreError."""
        try:
            written = [self._writers.submit(self._write, one) for one in blocks]
            wait(written)  # all of them: when a failure is raised, none is still being written
            folders = {each.result() for each in written}
            list(self._writers.map(_sync_folder, sorted(folders)))
            # Another process may have created a folder without syncing it yet, so only folders synced here count.
            fresh = folders - self._durable
            list(self._writers.map(_sync_folder, sorted({folder.parent for folder in fresh})))
            if fresh:
                _sync_folder(self._folder)
            self._durable |= fresh
        except OSError as error:
            raise BlockStoreError(f"a block cannot be written: {error.strerror}") from error

    def get(self, name: BlockName) -> Block:
        """Return a checked block; raises MissingBlockError, BadBlockError, BlockStoreError."""
        try:
            with (self._folder / name.path).open("rb") as file:
                stored = file.read(MOST_BYTES + 1)
        except FileNotFoundError as error:
            raise MissingBlockError(f"block {name.digest.hex()} is not in the store") from error
        except OSError as error:
            kind = BadBlockError if error.errno in _UNREADABLE else BlockStoreError
            raise kind(f"block {name.digest.hex()} cannot be read: {error.strerror}") from error
        return decode(name, stored)

    def remove(self, names: Sequence[BlockName]) -> None:
        """Remove copies; raises BlockStoreError."""
        try:
            for name in names:
                (self._folder / name.path).unlink(missing_ok=True)
        except OSError as error:
            raise BlockStoreError(f"a block cannot be removed: {error.strerror}") from error

    def list_all(self) -> Iterator[ListedBlock]:
        """List all copies, one small folder at a time; raises BlockStoreError."""
        try:
            for first in _entries(self._folder):
                if first == _INCOMING or first.startswith("."):
                    continue
                for second in _entries(self._folder / first):
                    yield from self._list_folder(f"{first}/{second}")
        except OSError as error:
            raise BlockStoreError(f"the blocks cannot be listed: {error.strerror}") from error

    def _list_folder(self, folder: str) -> Iterator[ListedBlock]:
        for entry in _entries(self._folder / folder):
            name = BlockName.of_path(f"{folder}/{entry}")
            if name is None:
                continue
            with contextlib.suppress(FileNotFoundError):  # removed in the meantime, so not listed
                status = (self._folder / name.path).stat()
                yield ListedBlock(name, datetime.fromtimestamp(status.st_mtime, UTC), status.st_size)

    def _write(self, one: tuple[BlockName, Block]) -> Path:
        """Write one file and rename it; return the folder that must be synced to make it durable."""
        name, block = one
        path = self._folder / name.path
        part = self._incoming / f"{path.name}.{self._mark}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(encode(block))
                file.flush()
                os.fsync(file.fileno())
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            part.rename(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return path.parent


def _entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208 - only names are needed, and there may be many


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
