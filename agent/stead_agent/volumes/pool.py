"""The promise of a place where disks are kept: each a qcow2 disk, in a file or on a block device, under a name of ours.

One format everywhere, so that all pools have the same features: overlays over bases that may still be on their way,
bitmaps of what changed since a snapshot, encryption. What a pool adds is where the bytes are.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from stead_agent.disk_sources import BlockSource, FileSource
from stead_agent.qcow2 import HEADER_BYTES, Header, Qcow2Error, parse_header
from stead_agent.volumes.interface import Capacity, VolumeError

_DISK_NAME: Final = re.compile(r"(vol-[0-9a-f]{8,17}|(?P<machine>i-[0-9a-f]{8,17})-store[0-9]{1,3})\Z")

# Writes a whole new disk at a path, a new file or a block device that reads as zeroes.
Fill = Callable[[Path], None]


class Pool(Protocol):
    """A place for disks. All is blocking, repeatable and safe for several threads; errors are VolumeErrors."""

    name: str

    @property
    def backend(self) -> str:
        """What kind of pool it is."""

    def source(self, name: str) -> FileSource | BlockSource | None:
        """Tell where the disk is, or None when it is not in this pool."""

    def make(self, name: str, size: int, fill: Fill) -> None:
        """Make a disk, whole or not at all, with room for so many bytes of a guest's and what the format adds.

        It has its name, and is on the disk with it, when this returns.
        """

    def make_room(self, name: str, size: int) -> None:
        """Have room for a disk that is about to grow."""

    def has_room(self) -> bool:
        """Tell whether what is written to disks finds room; when not, the trash is emptied, for the next time."""

    def discard(self, name: str, *, at_once: bool = False) -> None:
        """Have no disk of this name any more; it can be rescued from the trash for a while, unless `at_once`."""

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""

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


def read_start(path: Path) -> bytes:
    """Read the first bytes of a disk, of which its header is."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.pread(handle, HEADER_BYTES, 0)
    finally:
        os.close(handle)


def read_header(path: Path) -> Header:
    """Read what a qcow2 disk says of itself; raises VolumeError, and FileNotFoundError."""
    try:
        return parse_header(read_start(path))
    except Qcow2Error as error:
        raise VolumeError(f"{path.stem}: {error}") from error
