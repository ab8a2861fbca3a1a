"""Folders in memory for tests whose files need no disk: on one, each commit of a database waits for it.

A test process has one folder, which it locks; what a killed one has left is removed by the next that starts.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

_MEMORY: Final = Path("/dev/shm")  # nosec: a file system in memory on every Linux
_PREFIX: Final = "stead-tests."
_ROOM: Final = 2 << 30  # bytes that must be free: what the tests of a folder hold at any time is a tenth of that
_NAME_LENGTH: Final = 24  # characters: the path of a socket has 107


class Folders:
    """Makes folders below one, as pytest.TempPathFactory does."""

    def __init__(self, base: Path) -> None:
        """Begin in an empty folder, made by the caller."""
        self._base = base
        self._made = 0

    def mktemp(self, basename: str) -> Path:
        """Make an empty folder that only its owner may read, whose name begins so, and return its path."""
        folder = self._base / f"{basename}{self._made}"
        self._made += 1
        folder.mkdir(mode=0o700)
        return folder


@pytest.fixture(name="memory_of_tests", scope="session")
def folder_of_process() -> Iterator[Path | None]:
    """A folder in memory of this process; None where the machine has no room for one."""
    try:
        room = os.statvfs(_MEMORY)
    except OSError:
        yield None
        return
    if room.f_bavail * room.f_frsize < _ROOM:
        yield None
        return
    _remove_left()
    folder, descriptor = _locked_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # a controller that is ending may still write
    os.close(descriptor)


@pytest.fixture(name="tmp_path_factory", scope="session")
def maker_in_memory(memory_of_tests: Path | None, request: pytest.FixtureRequest) -> Any:
    """Maker of folders for a session or a module, in memory where there is room."""
    if memory_of_tests is not None:
        return Folders(memory_of_tests)
    return request.config._tmp_path_factory  # type: ignore[attr-defined]  # pytest's own, which this replaces


@pytest.fixture(name="tmp_path")
def folder_in_memory(tmp_path_factory: Any, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of the test's own, removed after it."""
    folder = tmp_path_factory.mktemp(re.sub(r"\W", "_", request.node.name)[:_NAME_LENGTH])
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # likewise


def _locked_folder() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY))
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # another run took it for one that was left
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists():  # nobody took it for one that was left
            return folder, descriptor
        os.close(descriptor)


def _remove_left() -> None:
    for folder in _MEMORY.glob(f"{_PREFIX}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # somebody else's, or removed by another process just now
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:  # its process runs
            continue
        finally:
            os.close(descriptor)
