"""One running program per lock file: the kernel knows the holder, even if a full disk prevented a pid file.

A POSIX record lock (fcntl_locking(2)): it ends with its process, is not inherited by children, and any process that
can open the file can ask the kernel for the holder's process id.
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

FILE_NAME: Final = "running"  # in a program's state directory
SERVING_FILE_NAME: Final = "serving"  # the same of the controller's process that serves, which its parent replaces
_FLOCK: Final = "hhqqi0q"  # struct flock with 64-bit off_t: type, whence, start, length, process id


class TakenError(Exception):
    """Another process holds the file."""


def take(path: Path) -> None:
    """Lock the file until this process ends; raises TakenError while another process holds it, and OSError.

    This process must not open the file again: closing any descriptor of it would release the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise TakenError(f"process {holder(path)} runs with {path.parent} already") from None


def holder(path: Path) -> int | None:
    """Return the id, in our PID namespace, of the process that holds the file; None if none or not permitted."""
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
