"""The disk of an agent's desired state is full (FAULTS 20): removals are still stored, all else whole or not at all."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead_agent.desired import SqliteStore, StoreError
from stead_agent.reserve import RESERVED_BYTES
from stead_agent.wanted import Held, Key, change_of
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1.host_pb2 import DesiredState
from tests.support import desired_states as make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "stead-test", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def _fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - how it always ends


def test_removals_are_stored_on_a_full_disk_and_nothing_by_halves(small_disk: Path) -> None:
    path, sender = small_disk / "desired.sqlite", make.Sender()
    reserve, ballast = small_disk / "desired.reserve", small_disk / "ballast"
    store = SqliteStore(path)
    wanted = store.load()

    def save(message: DesiredState) -> None:
        change = change_of(wanted, message)
        assert change is not None
        store.save(change)
        wanted.install(change)

    groups = [make.group(f"sg-{number}") for number in range(2000)]
    save(sender.change(make.host_network(), *make.launch(), *groups, full=True))
    assert reserve.stat().st_blocks * 512 == RESERVED_BYTES
    assert reserve.stat().st_mode & 0o777 == 0o600
    _fill(ballast)
    save(sender.change(gone=[Key(pb.KIND_MACHINE, "i-1"), *(Key(pb.KIND_SECURITY_GROUP, each.id) for each in groups)]))
    assert not reserve.exists(), "what was reserved was used"
    store.hold("i-1", Held())
    _fill(ballast)
    before = wanted.revision

    def save_many() -> None:
        for number in range(100):  # the log may have room left of before
            save(sender.change(*(make.group(f"sg-{number}-{each}") for each in range(500))))

    with pytest.raises(StoreError, match="full"):
        save_many()
    store.close()

    again = SqliteStore(path)  # an agent that starts on the full disk
    assert again.load().revision == wanted.revision >= before
    assert set(again.load().resources) == set(wanted.resources)
    again.close()
    ballast.unlink()
    store = SqliteStore(path)
    assert reserve.exists()
    save(sender.full())
    store.close()


def test_what_is_reserved_is_reserved_again_where_there_is_room(small_disk: Path) -> None:
    ballast, reserve = small_disk / "ballast", small_disk / "desired.reserve"
    _fill(ballast)
    os.truncate(ballast, ballast.stat().st_size - RESERVED_BYTES * 3 // 2)
    store = SqliteStore(small_disk / "desired.sqlite")
    assert not reserve.exists(), "half of the room is for others"
    store.hold("i-1", Held(frozenset({"vol-1"})))
    assert not reserve.exists()
    ballast.unlink()
    store.hold("i-1", Held())
    assert reserve.exists()
    store._quick.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="readonly"):
        store.hold("i-1", Held(frozenset({"vol-1"})))
    assert reserve.exists(), "that is for full disks alone"
    store.close()
