"""One running program per lock file: the kernel knows the holder, even if a full disk prevented a pid file.

A POSIX record lock (fcntl_locking(2)): it ends with its process, is not inherited by children, and any process that
can open the file can ask the kernel for the holder's process id.

A program may have a stand-by, which takes its place when it dies. The program has the file's first byte, the stand-by
the second, and who comes new wants both: as long as either lives there is no instant at which another could begin.
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

FILE_NAME: Final = "running"  # in a program's state directory
SERVING_FILE_NAME: Final = "serving"  # the same of the controller's process that serves, which its parent replaces
SUCCESSOR_FILE_NAME: Final = (
    "succeeding"  # of a controller that is to take another one's place and has not proven itself
)
CHANGING_FILE_NAME: Final = "changing"  # of what changes the database once nobody serves, before anybody else does
SUCCEEDS: Final = "STEAD_SUCCEEDS"
"""An environment variable: set, a program that can do so takes the place of the one that holds its file."""
_PROGRAM, _STAND_BY, _ASIDE = 0, 1, 2  # the bytes of the file; earlier releases have let go of the last
_FLOCK: Final = "hhqqi0q"  # struct flock with 64-bit off_t: type, whence, start, length, process id


class TakenError(Exception):
    """Another process holds the file."""


def take(path: Path) -> int:
    """Lock the file until this process ends, and return its descriptor.

    Raises TakenError while another process or its stand-by holds it, and OSError. This process must not open the file
    again: closing any descriptor of it would release the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise TakenError(f"process {holder(path)} runs with {path.parent} already") from None
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _STAND_BY)
    return descriptor


def stand_by(descriptor: int) -> None:
    """Hold a file that this process's parent has taken, with its descriptor, for when that dies; raises OSError."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _STAND_BY)


def take_over(descriptor: int, path: Path) -> None:
    """Take the file of a parent that has died, whose stand-by this process was.

    Raises TakenError if the file at the path is not the one that the parent had taken any more, and OSError.
    """
    for byte in (_PROGRAM, _ASIDE):
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _STAND_BY)
    if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
        raise TakenError(f"{path} was removed")


def holder(path: Path) -> int | None:
    """Return the id, in our PID namespace, of the process that holds the file; None if none or not permitted.

    Of a program that has just died it is the stand-by.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # The first again: a stand-by may have gone from one to the other meanwhile.
        found = (_holder_of(descriptor, byte) for byte in (_PROGRAM, _STAND_BY, _PROGRAM))
        return next((pid for pid in found if pid is not None), None)
    finally:
        os.close(descriptor)


def stands_aside(path: Path) -> bool:
    """Tell whether who holds the file is of a release that stands aside while another one proves itself."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return _holder_of(descriptor, _ASIDE) is not None
    finally:
        os.close(descriptor)


def _holder_of(descriptor: int, byte: int) -> int | None:
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None
