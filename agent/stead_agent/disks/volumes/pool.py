"""The interface of a storage pool: it stores qcow2 disks in files, on block devices or in Ceph images.

One format everywhere, so that all pools have the same features: overlays over bases that may still be being fetched,
bitmaps of what changed since a snapshot, encryption. A pool only decides where the bytes are.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from stead_agent.disks.disk_sources import BlockSource, FileSource, RbdSource
from stead_agent.disks.qcow2 import HEADER_BYTES, EmptyDisk
from stead_agent.disks.volumes.interface import Capacity, VolumeError

_DISK_NAME: Final = re.compile(r"(vol-[0-9a-f]{8,17}|(?P<machine>i-[0-9a-f]{8,17})-store[0-9]{1,3})\Z")
# qcow2's tables take 1/6500 of the disk and each dirty bitmap 1/500,000; clusters leaked by a crash add to that.
_TABLES: Final = 1024
_MARGIN: Final = 64 << 20
_SECTOR: Final = 512


class Pool(Protocol):
    """A storage pool. All methods block, may be repeated and are thread-safe; errors are VolumeErrors."""

    name: str

    @property
    def backend(self) -> str:
        """The kind of the pool."""

    def source(self, name: str) -> FileSource | BlockSource | RbdSource | None:
        """Return where the disk is, or None when it is not in this pool."""

    def read_start(self, name: str) -> bytes:
        """Read the first bytes of a disk, which contain its header; FileNotFoundError when it is not in this pool."""

    def make(self, name: str, size: int, disk: EmptyDisk) -> None:
        """Create a disk atomically, with room for so many bytes of guest data and what the format adds.

        The disk and its name are synced when this returns.
        """

    def adopt(self, name: str, owners: Sequence[str]) -> bool:
        """Take over the disk that one of these removed hosts had in this pool; return False when there is none.

        Processes that still have it open can no longer write to it when this returns.
        """

    def shared_id(self) -> str:
        """Return a globally unique id of the pool if other hosts can share it; else ""."""

    def make_room(self, name: str, size: int) -> None:
        """Ensure that there is room for a disk that is about to grow."""

    def has_room(self) -> bool:
        """Tell whether there is room for writes to disks; if not, the trash is emptied, for the next time."""

    def discard(self, name: str, *, at_once: bool = False) -> None:
        """Remove the disk of this name; it can be rescued from the trash for a while, unless `at_once`."""

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""

    def give_up(self) -> None:
        """Delete all disks of this host and its trash: none of them will be used again."""

    def names(self) -> frozenset[str]:
        """List the complete disks in this pool."""

    def capacity(self) -> Capacity:
        """Return the room in the pool."""


def is_disk_name(name: str) -> bool:
    """Tell whether this is a valid name of a disk: a volume's id or an instance store disk's."""
    return _DISK_NAME.match(name) is not None


def checked(name: str) -> str:
    """Refuse an invalid disk name: names become paths and arguments."""
    if not is_disk_name(name):
        raise VolumeError(f"not an id: {name!r}")
    return name


def machine_of(name: str) -> str | None:
    """Return the machine whose instance store a disk is; None for a volume."""
    found = _DISK_NAME.match(name)
    return found["machine"] if found else None


def room_for(size: int) -> int:
    """Return how large a block device must be for a disk of so many bytes."""
    room = size + size // _TABLES + _MARGIN
    return -(-room // _SECTOR) * _SECTOR


def read_start(path: Path) -> bytes:
    """Read the first bytes of a file or block device."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.pread(handle, HEADER_BYTES, 0)
    finally:
        os.close(handle)
