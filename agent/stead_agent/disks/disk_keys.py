"""Keys of encrypted disks on their way to a program: in memory, as a file without a name, and in no argument."""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from stead_agent.disks.disk_sources import passphrase_of

KEY_NAME: Final = "key"
"""By what name QEMU's block options refer to a key that was handed over."""


@contextlib.contextmanager
def handed_over(content: bytes) -> Iterator[int]:
    """Have some bytes in memory, as a file that a program of any user can open by the handle that it inherits."""
    handle = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(handle, content)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def passphrase(encryption_key: bytes) -> Iterator[tuple[list[str], int]]:
    """Give the options that make a program of QEMU's read a disk's passphrase, and the handle that it must inherit."""
    with handed_over(passphrase_of(encryption_key)) as handle:
        yield ["--object", f"secret,id={KEY_NAME},format=raw,file=/proc/self/fd/{handle}"], handle
