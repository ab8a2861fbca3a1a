"""The loss of a controller's disk: who works in its folder ends, and all that is there goes."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.waiting import wait_for


def lose(folder: Path) -> None:
    """Remove the state of a controller that was killed; its servers of objects and metrics, which outlive it, end, too."""
    for process in _working_in(folder):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(process, signal.SIGKILL)
    wait_for(lambda: not list(_working_in(folder)), f"nobody works in {folder}")
    shutil.rmtree(folder)


def _working_in(folder: Path) -> Iterator[int]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                if (process / "cwd").readlink().is_relative_to(folder):
                    yield int(process.name)
