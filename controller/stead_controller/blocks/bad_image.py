"""The error for image files that are refused, and how the checks of all formats read a file."""

from collections.abc import Callable
from typing import Final

MOST_BYTES: Final = 64 << 40
"""EBS's largest volume."""

SECTOR: Final = 512

# Reads `length` bytes at an offset of the file; fewer where it ends.
Read = Callable[[int, int], bytes]


class BadImageError(ValueError):
    """A file that is not an acceptable image; the message tells the operator why."""


def check_disk_size(size: int) -> int:
    """Return the size of a disk in bytes if a volume can have it; raises BadImageError."""
    if not 0 < size <= MOST_BYTES or size % SECTOR:
        raise BadImageError(f"the image claims a disk of {size} bytes")
    return size
