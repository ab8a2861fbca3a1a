"""The desired state on disk: what was stored is what is loaded, through kills and full disks."""

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.desired import SqliteStore, Store, StoreError, without_key
from stead_agent.wanted import Held, Key, Wanted, change_of
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1.host_pb2 import DesiredState
from tests.support import desired_states as make
from tests.support.examples import examples
from tests.support.simulated_agent import Bench, MemoryStore

MACHINE = Key(pb.KIND_MACHINE, "i-1")


def _same(one: Wanted, other: Wanted) -> bool:
    return _all_of(one) == _all_of(other)


def _all_of(wanted: Wanted) -> tuple[object, ...]:
    """Give all that must outlive the agent; the keys of what must go need not."""
    stones = {
        key: (each.revision, each.force, each.done, without_key(each.body) if each.body is not None else None)
        for key, each in wanted.tombstones.items()
    }
    holdings = {name: wanted.held(name) for name in wanted.holding_machines()}
    known = (wanted.revision, wanted.epoch, wanted.is_partial, wanted.unclaimed)
    return (*known, wanted.resources, stones, holdings)


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
    wanted.hold("i-1", Held(frozenset({"vol-1"}), frozenset({"eni-1"})))
    again = SqliteStore(tmp_path / "desired.sqlite").load()
    assert _same(again, wanted)
    assert again.tombstones[MACHINE].force
    assert again.held("i-1") == Held(frozenset({"vol-1"}), frozenset({"eni-1"}))
    assert again.holding_machines() == {"i-1"}
    store.done(MACHINE, wanted.tombstones[MACHINE].revision)
    wanted.mark_done(MACHINE)
    assert _same(SqliteStore(tmp_path / "desired.sqlite").load(), wanted)
    store.forget([(MACHINE, wanted.tombstones[MACHINE].revision)])
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


def test_resources_of_a_later_release_are_asked_for_again(tmp_path: Path) -> None:
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


MOVES = st.sampled_from(["put", "remove", "force", "done", "done of before", "forget", "hold", "let go", "full", "new"])


@settings(deadline=None, max_examples=examples(25))  # it waits for the disk
@given(st.lists(st.tuples(MOVES, st.sampled_from(["vol-1", "vol-2", "sg-1"])), max_size=14))
def test_the_tests_own_store_does_as_the_real_one(moves: list[tuple[str, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        disk, memory, wanted, sender = SqliteStore(Path(folder) / "d"), MemoryStore(), Wanted(), make.Sender()
        for what, name in moves:
            _move(what, name, (disk, memory), wanted, sender)
            assert _same(disk.load(), memory.load())
        assert _same(disk.load(), wanted)
        disk.close()


def _move(what: str, name: str, stores: tuple[Store, ...], wanted: Wanted, sender: make.Sender) -> None:
    """Do one operation on each store and with what is wanted."""
    is_volume = name.startswith("vol")
    key = Key(pb.KIND_VOLUME if is_volume else pb.KIND_SECURITY_GROUP, name)
    stone = wanted.tombstones.get(key)
    revision = stone.revision if stone is not None else 0
    match what:
        case "done" | "done of before":  # of another revision it changes nothing
            for store in stores:
                store.done(key, revision - (what != "done"))
            if what == "done":
                wanted.mark_done(key)
        case "forget":
            for store in stores:
                store.forget([(key, revision)])
                store.forget([(key, revision + 1)])
            wanted.forget([key])
        case "hold" | "let go":
            held = Held(frozenset({"vol-1"}), frozenset({"eni-1"})) if what == "hold" else Held()
            for store in stores:
                store.hold(name, held)
            wanted.hold(name, held)
        case _:
            put = []
            if what == "put":
                put = [
                    make.volume(name, size=len(sender.sent)) if is_volume else make.group(name, port=len(sender.sent))
                ]
                if is_volume:
                    put[0].volume.encrypted, put[0].volume.encryption_key = True, b"k" * 32
            gone = (key,) if what in {"remove", "force"} else ()
            message = sender.change(*put, gone=gone, force=what == "force", full=what == "full" or not sender.sent)
            if what == "new":
                message.resources.append(pb.Resource(id="of-the-future", revision=message.revision))
            change = change_of(wanted, message)
            if change is not None:
                for store in stores:
                    store.save(change)
                wanted.install(change)


def test_removals_of_shared_parts_leave_nothing(tmp_path: Path) -> None:
    store, sender = SqliteStore(tmp_path / "desired.sqlite"), make.Sender()
    bench = Bench(store=store)
    groups = [make.group(f"sg-{number}") for number in range(200)]
    bench.settle(sender.change(make.host_network(), *make.launch(), *groups, full=True))
    gone = [Key(pb.KIND_SECURITY_GROUP, group.id) for group in groups if group.id != "sg-1"]
    for at in range(0, len(gone), 20):
        bench.settle(sender.change(gone=tuple(gone[at : at + 20])))
    assert store.load().tombstones == {}
    assert len(store.load().resources) == len(bench.reconciler.wanted.resources)


def test_tombstones_that_an_earlier_agent_has_left_go(tmp_path: Path) -> None:
    store, sender = SqliteStore(tmp_path / "desired.sqlite"), make.Sender()
    bench = Bench(store=store)
    bench.settle(sender.change(make.host_network(), *make.launch(), make.group("sg-2"), full=True))
    change = change_of(bench.reconciler.wanted, sender.change(gone=(Key(pb.KIND_SECURITY_GROUP, "sg-2"),)))
    assert change is not None
    store.save(change)
    bench.restart()
    bench.settle()
    assert store.load().tombstones == {}


def test_what_was_buried_anew_is_neither_done_nor_forgotten(tmp_path: Path) -> None:
    store, wanted, sender = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender()
    for message in (
        sender.change(make.volume("vol-1", base_id=""), full=True),
        sender.change(gone=(Key(pb.KIND_VOLUME, "vol-1"),)),
        sender.change(make.volume("vol-1", base_id="")),
        sender.change(gone=(Key(pb.KIND_VOLUME, "vol-1"),)),
    ):
        change = change_of(wanted, message)
        assert change is not None
        store.save(change)
        wanted.install(change)
    store.done(Key(pb.KIND_VOLUME, "vol-1"), 2)
    store.forget([(Key(pb.KIND_VOLUME, "vol-1"), 2)])
    assert _same(store.load(), wanted)
    assert not wanted.tombstones[Key(pb.KIND_VOLUME, "vol-1")].done


def test_a_key_that_cannot_be_wiped_now_is_wiped_with_the_next_change(tmp_path: Path) -> None:
    store, wanted, sender = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender()
    key = bytes(range(100, 132))
    volume = make.volume("vol-1", base_id="")
    volume.volume.encrypted, volume.volume.encryption_key = True, key
    first = change_of(wanted, sender.change(make.host_network(), volume, full=True))
    assert first is not None
    store.save(first)
    wanted.install(first)
    change = change_of(wanted, sender.change(gone=(Key(pb.KIND_VOLUME, "vol-1"),)))
    assert change is not None
    store._durable.execute("PRAGMA busy_timeout = 20")
    with closing(sqlite3.connect(tmp_path / "desired.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM resource").fetchall()
        for _ in range(2):
            with pytest.raises(StoreError, match="wiped"):
                store.save(change)
    store.save(change)
    assert not any(key in path.read_bytes() for path in tmp_path.iterdir())


def test_a_key_that_a_killed_agent_has_left_is_wiped(tmp_path: Path) -> None:
    store, wanted, sender = SqliteStore(tmp_path / "desired.sqlite"), Wanted(), make.Sender()
    key = bytes(range(100, 132))
    volume = make.volume("vol-1", base_id="")
    volume.volume.encrypted, volume.volume.encryption_key = True, key
    first = change_of(wanted, sender.change(make.host_network(), volume, full=True))
    assert first is not None
    store.save(first)
    wanted.install(first)
    gone = change_of(wanted, sender.change(gone=(Key(pb.KIND_VOLUME, "vol-1"),)))
    assert gone is not None
    store._wipe_keys = lambda _change: None  # type: ignore[method-assign]  # killed before it
    store.save(gone)
    assert any(key in path.read_bytes() for path in tmp_path.iterdir())
    again = SqliteStore(tmp_path / "desired.sqlite")
    store.close()
    loaded = again.load()
    change = change_of(loaded, sender.change(make.group()))
    assert change is not None
    again.save(change)
    assert not any(key in path.read_bytes() for path in tmp_path.iterdir())
