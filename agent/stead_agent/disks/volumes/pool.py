"""The promise of a place where disks are kept: each a qcow2 disk, in a file, on a block device or in an image of Ceph.

One format everywhere, so that all pools have the same features: overlays over bases that may still be on their way,
bitmaps of what changed since a snapshot, encryption. What a pool adds is where the bytes are.
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
# qcow2's tables take 1/6500 of the disk and each bitmap of changes 1/500,000; clusters leaked by a crash come on top.
_TABLES: Final = 1024
_MARGIN: Final = 64 << 20
_SECTOR: Final = 512


class Pool(Protocol):
    """A place for disks. All is blocking, repeatable and safe for several threads; errors are VolumeErrors."""

    name: str

    @property
    def backend(self) -> str:
        """What kind of pool it is."""

    def source(self, name: str) -> FileSource | BlockSource | RbdSource | None:
        """Tell where the disk is, or None when it is not in this pool."""

    def read_start(self, name: str) -> bytes:
        """Read the first bytes of a disk, of which its header is; FileNotFoundError when it is not in this pool."""

    def make(self, name: str, size: int, disk: EmptyDisk) -> None:
        """Make a disk, whole or not at all, with room for so many bytes of a guest's and what the format adds.

        It has its name, and is on the disk with it, when this returns.
        """

    def adopt(self, name: str, owners: Sequence[str]) -> bool:
        """Take over the disk that one of these hosts, which are given up, had in this pool; say no when there is none.

        Whoever still has it open can write to it no more when this returns.
        """

    def shared_id(self) -> str:
        """Name the pool among all pools, if other hosts can have just this one too; else it is empty."""

    def make_room(self, name: str, size: int) -> None:
        """Have room for a disk that is about to grow."""

    def has_room(self) -> bool:
        """Tell whether what is written to disks finds room; when not, the trash is emptied, for the next time."""

    def discard(self, name: str, *, at_once: bool = False) -> None:
        """Have no disk of this name any more; it can be rescued from the trash for a while, unless `at_once`."""

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""

    def give_up(self) -> None:
        """Delete all disks of this host and what is in the trash: none of them is used any more, or ever will be."""

    def names(self) -> frozenset[str]:
        """List the disks that are here, whole."""

    def capacity(self) -> Capacity:
        """Tell how much room there is."""


def is_disk_name(name: str) -> bool:
    """Tell whether this is a name that a disk of ours can have: a volume's id or an instance store disk's."""
    return _DISK_NAME.match(name) is not None


def checked(name: str) -> str:
    """Refuse a name that is no disk's: names become paths and arguments."""
    if not is_disk_name(name):
        raise VolumeError(f"not an id: {name!r}")
    return name


def machine_of(name: str) -> str | None:
    """Name the machine whose instance store a disk is; None for a volume."""
    found = _DISK_NAME.match(name)
    return found["machine"] if found else None


def room_for(size: int) -> int:
    """Tell how large a block device must be for a disk of so many bytes."""
    room = size + size // _TABLES + _MARGIN
    return -(-room // _SECTOR) * _SECTOR


def read_start(path: Path) -> bytes:
    """Read the first bytes of a file or block device."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.pread(handle, HEADER_BYTES, 0)
    finally:
        os.close(handle)
