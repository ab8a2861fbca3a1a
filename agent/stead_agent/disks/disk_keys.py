"""Passes keys of encrypted disks to programs: in anonymous memory files, never in arguments."""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from stead_agent.disks.disk_sources import passphrase_of

KEY_NAME: Final = "key"
"""The id by which QEMU's block options refer to a key that was handed over."""


@contextlib.contextmanager
def handed_over(content: bytes) -> Iterator[int]:
    """Yield a file descriptor of an in-memory file with some bytes, which a child of any user can inherit and open."""
    handle = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(handle, content)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def passphrase(encryption_key: bytes) -> Iterator[tuple[list[str], int]]:
    """Yield the options with which a QEMU program reads a disk's passphrase, and the descriptor to be inherited."""
    with handed_over(passphrase_of(encryption_key)) as handle:
        yield ["--object", f"secret,id={KEY_NAME},format=raw,file=/proc/self/fd/{handle}"], handle
