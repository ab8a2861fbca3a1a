"""Room is reserved where there is twice as much, given up once, and taken again; changes are refused without it."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stead_controller.errors import OutOfRoom
from stead_controller.room import Room

KIB = 1 << 10


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes the file system says are free to all; 1 GiB more are left to root."""

    def say(bytes_free: int) -> None:
        found = SimpleNamespace(f_bavail=bytes_free // KIB, f_bfree=(bytes_free + (1 << 30)) // KIB, f_frsize=KIB)
        monkeypatch.setattr(os, "statvfs", lambda _: found)

    say(1 << 30)
    return say


def test_some_is_reserved_where_there_is_twice_as_much(tmp_path: Path, free: Callable[[int], None]) -> None:
    room = Room(tmp_path, 64 * KIB)
    free(128 * KIB - KIB)
    assert not room.take()
    free(128 * KIB)
    assert room.take()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 64 * KIB
    assert (tmp_path / "reserve").stat().st_mode & 0o777 == 0o600
    free(64 * KIB)
    assert Room(tmp_path, 64 * KIB).take(), "of what an earlier run has reserved nothing more is needed"


def test_changes_are_refused_before_the_end_and_after_it(tmp_path: Path, free: Callable[[int], None]) -> None:
    room = Room(tmp_path, 64 * KIB)
    with pytest.raises(OutOfRoom):
        room.require()
    room.begin()
    room.require()
    free(64 * KIB - KIB)
    with pytest.raises(OutOfRoom):
        room.require()
    free(1 << 30)
    room.require()
    assert room.give_up()
    assert not (tmp_path / "reserve").exists()
    assert not room.give_up(), "there is nothing left that would help"
    with pytest.raises(OutOfRoom):
        room.require()
    assert room.take()
    room.require()


def test_deletions_may_use_half_of_what_is_reserved(tmp_path: Path, free: Callable[[int], None]) -> None:
    room = Room(tmp_path, 64 * KIB)
    room.begin()
    free(0)
    room.require_for_deletion()
    assert room.give_up(), "a change met the full disk"
    free(32 * KIB)
    room.require_for_deletion()
    free(32 * KIB - KIB)
    with pytest.raises(OutOfRoom):
        room.require_for_deletion()


def test_a_start_on_a_full_disk_has_what_the_last_run_reserved(tmp_path: Path, free: Callable[[int], None]) -> None:
    Room(tmp_path, 64 * KIB).begin()
    free(0)
    again = Room(tmp_path, 64 * KIB)
    again.begin()
    assert not (tmp_path / "reserve").exists()
    assert again.is_full
