"""The loss of a controller's disk: all that is in its folder goes, once nobody writes there any more."""

import contextlib
import shutil
from pathlib import Path

from tests.support.waiting import wait_for


def lose(folder: Path) -> None:
    """Remove the state of a controller that was killed; its servers of objects and metrics end, and write until then."""
    wait_for(lambda: not _works_in(folder), f"nobody works in {folder}")
    shutil.rmtree(folder)


def _works_in(folder: Path) -> bool:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                if (process / "cwd").readlink().is_relative_to(folder):
                    return True
    return False
