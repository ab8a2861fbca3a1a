"""A base that is being filled: a sparse file, the map of the blocks present, and the list of its segments.

The map is written only after its blocks are on the disk, so after a power cut it may miss blocks but never has too
many. One process at a time fills a base, which the lock on the map ensures.
"""

import fcntl
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stead_agent.disks.bases.block_map import BadBlockMapError, BlockMap, Presence, block_map_of
from stead_agent.disks.bases.interface import BaseError
from stead_proto.tls import sync_directory, write_private
from stead_proto.v1.blocks_pb2 import Segment

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_SAVE_BYTES: Final = 64 << 20  # at most so much must be fetched again after a power cut


class Filling:
    """The files of one base below a folder, opened; close it, or use it as a context manager."""

    def __init__(self, folder: Path, base_id: str, size: int, segments: Iterable[Segment]) -> None:
        """Open the existing files, or create them. With the list of segments of an earlier run, none are requested.

        Raises BaseError, also when another process fills it; OSError when there is no room.
        """
        self.id = base_id
        self.path = folder / f"{base_id}.raw"
        self._map_path = folder / f"{base_id}.map"
        self._list_path = folder / f"{base_id}.list"
        self._guard = threading.Lock()
        self._unsaved = 0
        self._lock = os.open(folder / f"{base_id}.lock", _NEW, 0o600)
        self.file = -1
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.block_map = self._load_block_map(size, segments)
            self.presence = self._load_presence(size)
            self.file = os.open(self.path, _NEW, 0o600)
            os.ftruncate(self.file, size)
        except BlockingIOError as error:
            self.close()
            raise BaseError(f"{base_id}: another process fetches it already") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for handle in (self.file, self._lock):
            if handle >= 0:
                os.close(handle)
        self.file = self._lock = -1

    def put(self, block: int, content: bytes) -> None:
        """Write a block that has arrived and was checked; from any thread."""
        offset, length = self.block_map.span(block)
        view = memoryview(content)[:length]
        while view:
            written = os.pwrite(self.file, view, offset)
            view, offset = view[written:], offset + written
        with self._guard:
            self.presence.add(block)
            self._unsaved += length
            due = self._unsaved >= _SAVE_BYTES
        if due:
            self.save()

    def save(self) -> None:
        """Sync the blocks that have arrived so far to disk, and then their map."""
        with self._guard:
            content = self.presence.content()
            self._unsaved = 0
        os.fdatasync(self.file)
        write_private(self._map_path, content)

    def missing(self) -> Iterator[int]:
        """List the blocks that have not arrived, ascending."""
        return (block for block in sorted(self.block_map.digests) if block not in self.presence)

    def _load_block_map(self, size: int, segments: Iterable[Segment]) -> BlockMap:
        try:
            if self._list_path.exists():
                return block_map_of(size, _read_list(self._list_path))
            stored = list(segments)
            block_map = block_map_of(size, stored)
        except BadBlockMapError as error:
            self._list_path.unlink(missing_ok=True)
            raise BaseError(f"{self.id}: {error}") from error
        write_private(self._list_path, b"".join(_framed(segment) for segment in stored))
        return block_map

    def _load_presence(self, size: int) -> Presence:
        try:
            return Presence.of(self._map_path.read_bytes(), size)
        except FileNotFoundError:
            return Presence.empty(size)
        except BadBlockMapError as error:
            self._map_path.unlink()
            raise BaseError(f"{self.id}: {error}") from error


def whole_file(folder: Path, base_id: str, *, sealed: bool) -> Path:
    """Return the path of a complete base; only its server can decrypt a sealed (encrypted) one."""
    return folder / f"{base_id}.{'sealed' if sealed else 'raw'}"


def publish(filling: Filling, final: Path, mode: int = 0o444) -> None:
    """Give a complete base its final name, and delete its other files."""
    os.fchmod(filling.file, mode)
    os.fsync(filling.file)
    filling.path.rename(final)
    sync_directory(final.parent)
    discard(filling.path.parent, filling.id)


def discard(folder: Path, base_id: str) -> None:
    """Remove the files of an incomplete base."""
    for suffix in ("raw", "map", "list", "lock"):
        (folder / f"{base_id}.{suffix}").unlink(missing_ok=True)
    for draft in folder.glob(f".{base_id}.*"):  # its writer was killed
        draft.unlink(missing_ok=True)


def ids_in(folder: Path) -> frozenset[str]:
    """List the bases that are being filled in a folder."""
    return frozenset(path.stem for path in folder.glob("*.lock"))


def _framed(segment: Segment) -> bytes:
    content = segment.SerializeToString()
    return len(content).to_bytes(4, "big") + content


def _read_list(path: Path) -> Iterator[Segment]:
    with path.open("rb") as file:
        while head := file.read(4):
            content = file.read(int.from_bytes(head, "big"))
            yield Segment.FromString(content)
