"""One running program per file: who holds it is known from the kernel, whatever a full disk has kept from being noted.

A POSIX record lock (fcntl_locking(2)): it ends with its process, is not inherited by children, and whoever can open the
file can ask the kernel for the holder's process id.
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

FILE_NAME: Final = "running"  # in a program's state directory
_FLOCK: Final = "hhqqi0q"  # struct flock where off_t has 64 bits: type, whence, start, length, process id


class TakenError(Exception):
    """Another process holds the file."""


def take(path: Path) -> None:
    """Hold the file until this process ends; raises TakenError while another one does, and OSError.

    The file must not be opened again by this process: any close of it would end the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise TakenError(f"process {holder(path)} runs with {path.parent} already") from None


def holder(path: Path) -> int | None:
    """Return the id of the process that holds the file, as seen from here; None when nobody does or we may not look."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None
