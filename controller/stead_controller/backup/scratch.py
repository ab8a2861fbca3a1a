"""A private folder for a while, in /var/tmp or $TMPDIR; the next one removes what a killed process has left."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "stead-backup."
_TOP: Final = "/var/tmp"  # noqa: S108 - private folders in it; /tmp may have no room for a database
_NEW_SECONDS: Final = 60.0


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder, and remove it at the end."""
    top = Path(os.environ.get("TMPDIR") or _TOP)
    _remove_left(top)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=top) as made:
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield Path(made)
        finally:
            os.close(handle)


def _remove_left(top: Path) -> None:
    for left in top.glob(f"{_PREFIX}*"):
        try:
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # another user's, or just removed
            continue
        try:
            found = os.fstat(handle)
            is_new = time.time() - found.st_mtime < _NEW_SECONDS  # it may be just about to be locked
            if found.st_uid == os.geteuid() and not is_new:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
        except BlockingIOError:  # in use
            continue
        finally:
            os.close(handle)
