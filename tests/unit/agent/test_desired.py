"""The desired state on disk: what was stored is what is loaded, through kills and full disks."""

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.desired import SqliteStore, StoreError
from stead_agent.wanted import Held, Key, Wanted, change_of
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1.host_pb2 import DesiredState
from tests.support import desired_states as make
from tests.support.simulated_agent import MemoryStore

MACHINE = Key(pb.KIND_MACHINE, "i-1")


def _same(one: Wanted, other: Wanted) -> bool:
    return (one.revision, one.epoch, one.resources, one.tombstones, one.unclaimed) == (
        other.revision,
        other.epoch,
        other.resources,
        other.tombstones,
        other.unclaimed,
    )


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    store, wanted, sender = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender()
    for message in (
        sender.change(make.host_network(), *make.launch(), full=True),
        sender.change(make.group(port=80)),
        sender.change(gone=(MACHINE,), force=True),
    ):
        change = change_of(wanted, message)
        assert change is not None
        store.save(change)
        wanted.install(change)
    store.hold("i-1", Held(frozenset({"vol-1"}), frozenset({"eni-1"})))
    store.hold("i-2", Held(frozenset({"vol-2"})))
    store.hold("i-2", Held())
    again = SqliteStore(tmp_path / "desired.sqlite").load()
    assert _same(again, wanted)
    assert again.tombstones[MACHINE].force
    assert again.held("i-1") == Held(frozenset({"vol-1"}), frozenset({"eni-1"}))
    assert again.holding_machines() == {"i-1"}
    store.done(MACHINE)
    wanted.mark_done(MACHINE)
    assert _same(SqliteStore(tmp_path / "desired.sqlite").load(), wanted)
    store.forget([MACHINE])
    assert SqliteStore(tmp_path / "desired.sqlite").load().tombstones == {}


def test_what_an_older_database_does_not_know_is_remembered_as_such(tmp_path: Path) -> None:
    store, wanted, sender, older = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender(), make.Sender("two")
    for message in (
        sender.change(make.host_network(), *make.launch(), full=True),
        older.change(make.host_network(), full=True),
        older.change(make.volume("vol-1")),
    ):
        change = change_of(wanted, message)
        assert change is not None
        store.save(change)
        wanted.install(change)
        assert _same(SqliteStore(tmp_path / "desired.sqlite").load(), wanted)
    assert MACHINE in wanted.unclaimed
    assert Key(pb.KIND_VOLUME, "vol-1") not in wanted.unclaimed


def test_things_of_the_future_are_asked_for_again(tmp_path: Path) -> None:
    store, sender = SqliteStore(tmp_path / "desired.sqlite"), make.Sender()
    message = sender.change(make.host_network(), full=True)
    message.resources.append(pb.Resource(id="nat-1", revision=1))
    change = change_of(Wanted(), message)
    assert change is not None
    store.save(change)
    wanted = SqliteStore(tmp_path / "desired.sqlite").load()
    assert wanted.is_partial
    delta = change_of(wanted, sender.change(make.base()))
    assert delta is not None
    store.save(delta)
    assert store.load().is_partial
    full = change_of(store.load(), sender.full())
    assert full is not None
    store.save(full)
    assert not store.load().is_partial


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "state" / "desired.sqlite").close()
    assert stat.S_IMODE((tmp_path / "state" / "desired.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("end", ["detached", "removed"])
def test_a_key_that_is_not_needed_any_more_is_in_no_file(tmp_path: Path, end: str) -> None:
    store, wanted, sender = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender()
    key = bytes(range(100, 132))
    volume = make.volume("vol-1", base_id="")
    volume.volume.encrypted, volume.volume.encryption_key = True, key
    without = make.volume("vol-1", base_id="")
    without.volume.encrypted = True

    def save(message: DesiredState) -> bool:
        change = change_of(wanted, message)
        assert change is not None
        store.save(change)
        wanted.install(change)
        return any(key in path.read_bytes() for path in tmp_path.iterdir())

    assert save(sender.change(make.host_network(), volume, full=True))
    gone = (Key(pb.KIND_VOLUME, "vol-1"),)
    assert not save(sender.change(without) if end == "detached" else sender.change(gone=gone))


@pytest.mark.parametrize("end", ["renewed", "stopped", "stopped after a restart", "removed"])
def test_credentials_of_a_role_are_in_no_file_after_their_time(tmp_path: Path, end: str) -> None:
    store, wanted, sender = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender()
    with_role = make.machine("i-1", volumes=(), interfaces=())
    with_role.machine.metadata.role.secret_access_key = "a secret of the role"
    renewed = make.machine("i-1", volumes=(), interfaces=())
    renewed.machine.metadata.role.secret_access_key = "another"

    def save(message: DesiredState) -> bool:
        change = change_of(wanted, message)
        assert change is not None
        store.save(change)
        wanted.install(change)
        return any(b"a secret of the role" in path.read_bytes() for path in tmp_path.iterdir())

    assert save(sender.change(make.host_network(), with_role, full=True))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())
    if end == "stopped after a restart":
        store.close()
        store = SqliteStore(tmp_path / "desired.sqlite")
        store.load()
    without = make.machine("i-1", volumes=(), interfaces=(), power=pb.POWER_STOPPED)
    news = {
        "renewed": lambda: sender.change(renewed),
        "removed": lambda: sender.change(gone=(Key(pb.KIND_MACHINE, "i-1"),)),
    }
    assert not save(news.get(end, lambda: sender.change(without))())


def test_what_the_controller_said_is_synced_to_the_disk(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "desired.sqlite")
    assert store._durable.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._durable.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_change_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    store, wanted, sender = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender()
    first = change_of(wanted, sender.change(make.host_network(), full=True))
    assert first is not None
    store.save(first)
    store._durable.execute("PRAGMA max_page_count = 1")  # as if the disk were full
    wanted.install(first)
    large = change_of(wanted, sender.change(*(make.volume(f"vol-{number}") for number in range(2000))))
    assert large is not None
    with pytest.raises(StoreError, match="full"):
        store.save(large)
    assert _same(SqliteStore(tmp_path / "desired.sqlite").load(), wanted)


def test_a_file_of_a_newer_agent_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "desired.sqlite").close()
    with sqlite3.connect(tmp_path / "desired.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer agent"):
        SqliteStore(tmp_path / "desired.sqlite")


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "desired.sqlite")

    def write(number: int) -> None:
        for turn in range(50):
            store.hold(f"i-{number}-{turn}", Held(frozenset({"vol-1"})))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    change = change_of(Wanted(), make.Sender().change(make.host_network(), full=True))
    assert change is not None
    store.save(change)
    for thread in threads:
        thread.join()
    assert len(store.load().holding_machines()) == 200


@settings(deadline=None, max_examples=40)  # it waits for the disk
@given(st.lists(st.tuples(st.sampled_from(["put", "remove", "done", "full"]), st.sampled_from("12")), max_size=12))
def test_it_is_what_a_dictionary_would_be(moves: list[tuple[str, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        disk, memory, wanted, sender = SqliteStore(Path(folder) / "d"), MemoryStore(), Wanted(), make.Sender()
        for what, name in moves:
            key = Key(pb.KIND_VOLUME, f"vol-{name}")
            if what == "done":
                for store in (disk, memory):
                    store.done(key)
                wanted.mark_done(key)
                continue
            gone = (key,) if what == "remove" else ()
            put = (make.volume(key.id, size=len(sender.sent)),) if what == "put" else ()
            message = sender.change(*put, gone=gone, full=what == "full" or not sender.sent)
            change = change_of(wanted, message)
            if change is not None:
                for store in (disk, memory):
                    store.save(change)
                wanted.install(change)
        assert _same(disk.load(), memory.load())
        assert _same(disk.load(), wanted)
        disk.close()
