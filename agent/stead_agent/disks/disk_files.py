"""Writes empty disks to a new file, or to a block device that reads as zeroes."""

import os
import stat
from pathlib import Path

from stead_agent.disks.qcow2 import EmptyDisk


def write_disk(path: Path, disk: EmptyDisk) -> None:
    """Write an empty disk to a new file or to a block device that reads as zeroes, and sync it."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for offset, piece in disk.pieces:
            os.pwrite(handle, piece, offset)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            os.ftruncate(handle, disk.length)
        os.fsync(handle)
    finally:
        os.close(handle)
