"""The trail takes records without waiting, drops what is too much, and writes the rest however often it must try."""

import asyncio
import errno
import os
import tracemalloc
import weakref
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.audit import stored_events
from stead_controller.audit import trail as module
from stead_controller.audit.files import AuditFiles
from stead_controller.audit.stored_events import AuditEvent, Search
from stead_controller.audit.trail import Trail
from stead_controller.db.session import Database
from stead_controller.errors import OutOfRoom
from tests.support.waiting import wait_for

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ALL = Search(None, "", None, None)


@dataclass
class Record:
    number: int
    weight: int = 1
    account_id: str = "1"
    time: datetime = NOW


def draw(record: Record) -> AuditEvent:
    if record.number < 0:
        raise ValueError("no event")
    text = f"event {record.number}"
    return AuditEvent(text, record.account_id, record.time, "N", "s", "u", "k", True, (("t", "one"),), text)


def recall(line: str) -> AuditEvent | None:
    word, _, number = line.partition(" ")
    return draw(Record(int(number))) if word == "event" else None


@pytest.fixture
def database(tmp_path, empty_database_file):
    path = tmp_path / "audit.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def trail(database, tmp_path):
    files = AuditFiles(tmp_path / "audit", days=90, most_bytes=1 << 30)
    return Trail(database, files, draw, recall, lambda: NOW, days=90, most_events=1000)


def stored(database, asked=ALL, limit=10_000, account_id="1"):
    found = database.run_blocking(lambda tx: stored_events.search(tx, account_id, asked, before=None, limit=limit))
    return [int(one.event.event_id.split()[1]) for one in found]


def has_lines(tmp_path, number):
    return (tmp_path / "audit" / "2026-03-04.jsonl").exists() and len(lines(tmp_path)) == number


def lines(tmp_path):
    return (tmp_path / "audit" / "2026-03-04.jsonl").read_text().splitlines()


async def test_what_was_noted_is_in_files_and_database(trail, database, tmp_path):
    for number in range(1200):
        trail.note(Record(number))
    trail.note(Record(1200, account_id=""))
    await trail.close()
    assert stored(database) == list(reversed(range(1200)))
    assert len(lines(tmp_path)) == 1201
    assert trail.dropped == 0


async def test_files_to_which_nothing_was_written_are_not_synced(trail, monkeypatch):
    synced, sync = [], AuditFiles.sync
    monkeypatch.setattr(AuditFiles, "sync", lambda files: synced.append(1) or sync(files))
    await trail.flush()
    assert synced == []
    trail._files.append(["a look"], NOW, lasting=False)
    await trail.flush()
    await trail.flush()
    assert synced == [1]


async def test_too_many_are_dropped_and_counted(trail, database, caplog, monkeypatch):
    monkeypatch.setattr(module, "_MOST_RECORDS", 3)
    for number in range(5):
        trail.note(Record(number))
    await trail.flush()
    assert (stored(database), trail.dropped) == ([2, 1, 0], 2)
    assert [record.message for record in caplog.records] == ["audit_dropped"]
    trail.note(Record(6))
    await trail.flush()
    assert stored(database) == [6, 2, 1, 0]
    assert len(caplog.records) == 1


async def test_large_ones_are_dropped_before_memory_is_full(trail, database):
    trail.note(Record(0, weight=40 << 20))
    trail.note(Record(1, weight=40 << 20))
    await trail.flush()
    trail.note(Record(2, weight=40 << 20))
    await trail.flush()
    assert (stored(database), trail.dropped) == ([2, 0], 1)


async def test_a_database_that_is_away_gets_them_later(trail, database, tmp_path, monkeypatch):
    def away(tx, events):
        raise OSError("the database is away")

    trail.note(Record(0))
    with monkeypatch.context() as patched:
        patched.setattr(stored_events, "add", away)
        with pytest.raises(OSError, match="away"):
            await trail.flush()
        trail.note(Record(1))
        with pytest.raises(OSError, match="away"):
            await trail.flush()
    await trail.flush()
    assert stored(database) == [1, 0]
    assert lines(tmp_path) == ["event 0", "event 1"]


async def test_one_that_cannot_be_made_takes_no_other_with_it(trail, database):
    trail.note(Record(-1))
    trail.note(Record(1))
    await trail.flush()
    assert stored(database) == [1]


async def test_old_ones_and_too_many_go_in_pages(trail, database, monkeypatch):
    monkeypatch.setattr(stored_events, "_PAGE", 7)
    for number in range(20):
        trail.note(Record(number, time=NOW - timedelta(days=91)))
    for number in range(20, 1040):
        trail.note(Record(number))
    await trail.flush()
    await trail.remove_old()
    assert sorted(stored(database)) == list(range(40, 1040))
    assert len(stored(database, Search("ResourceName", "one", None, None))) == 1000


async def test_data_has_files_of_its_own(database, tmp_path):
    files, data_files = (
        AuditFiles(tmp_path / "audit", days=90, most_bytes=1 << 30, kind=kind) for kind in ("", "data")
    )

    def drawn(record):
        return replace(draw(record), is_data=record.number % 2 == 1)

    trail = Trail(database, files, drawn, recall, lambda: NOW, days=90, most_events=1000, data_files=data_files)
    for number in range(4):
        trail.note(Record(number))
    await trail.close()
    assert lines(tmp_path) == ["event 0", "event 2"]
    assert (tmp_path / "audit" / "2026-03-04.data.jsonl").read_text().splitlines() == ["event 1", "event 3"]
    await trail.remove_old()


async def test_half_a_line_of_data_is_removed_before_another_is_added(database, tmp_path):
    files, data_files = (
        AuditFiles(tmp_path / "audit", days=90, most_bytes=1 << 30, kind=kind) for kind in ("", "data")
    )
    data_files.append(["whole"], NOW)
    path = tmp_path / "audit" / "2026-03-04.data.jsonl"
    path.write_text("whole\nhal")
    trail = Trail(
        database, files, draw, recall, lambda: NOW, days=90, most_events=1000, data_files=data_files
    )  # fmt: skip
    await trail.recover()
    assert path.read_text() == "whole\n"


async def test_calls_of_one_account_do_not_displace_anothers(trail, database):
    for number in range(10):
        trail.note(Record(number, account_id="1"))
    for number in range(10, 1500):
        trail.note(Record(number, account_id="2"))
    await trail.flush()
    await trail.remove_old()
    assert sorted(stored(database)) == list(range(10))
    assert sorted(stored(database, account_id="2")) == list(range(510, 1500))


@given(counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50)), most=st.integers(0, 120))
def test_records_are_dropped_of_the_accounts_that_have_most(counts, most):
    gone = stored_events.too_many(counts, most)
    left = {account: count - gone.get(account, 0) for account, count in counts.items()}
    assert all(count >= 0 for count in left.values())
    assert sum(left.values()) <= most
    if not gone:
        assert left == counts
        return
    assert sum(left.values()) > most - len(counts)  # but for what cannot be shared equally
    level = max(left.values())
    assert all(count == left[account] or left[account] == level for account, count in counts.items())


async def test_a_record_is_in_the_file_long_before_it_is_a_row(trail, database, tmp_path, monkeypatch):
    """Nobody asks it to: it writes as soon as something is noted, and again later."""
    monkeypatch.setattr(module, "_SAVE_SECONDS", 1000)
    running = asyncio.create_task(trail.run())
    for number in range(3):
        trail.note(Record(number))
        is_there = partial(has_lines, tmp_path, number + 1)
        await asyncio.to_thread(wait_for, is_there, "the file has it")
    assert stored(database) == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await trail.close()
    assert stored(database) == [2, 1, 0]


async def test_rows_follow_by_themselves(trail, database, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_SECONDS", 0.01)
    running = asyncio.create_task(trail.run())
    trail.note(Record(7))
    await asyncio.to_thread(wait_for, lambda: stored(database) == [7], "the row is there")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_stop_in_the_middle_writes_nothing_twice(trail, database, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_SECONDS", 0)
    running = asyncio.create_task(trail.run())
    for number in range(600):
        trail.note(Record(number))
        if number % 50 == 0:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await trail.close()
    assert stored(database) == list(reversed(range(600)))
    assert lines(tmp_path) == [f"event {number}" for number in range(600)]


async def test_records_not_yet_saved_before_a_kill_are_saved_later(trail, database, tmp_path):
    for number in range(3):
        trail.note(Record(number))
    await trail.flush()
    with (tmp_path / "audit" / "2026-03-04.jsonl").open("a") as file:
        file.write("no event\nevent 3\nevent 4\nevent 5 that was cut o")
    await trail.recover()
    assert stored(database) == [4, 3, 2, 1, 0]
    await trail.recover()
    assert stored(database) == [4, 3, 2, 1, 0]
    trail.note(Record(6))
    await trail.flush()
    assert lines(tmp_path)[-3:] == ["event 3", "event 4", "event 6"]
    assert stored(database, Search("ResourceName", "one", None, None)) == [6, 4, 3, 2, 1, 0]


class Line(str):
    """A line of a file of which it is seen whether it is in memory still."""

    __slots__ = ("__weakref__",)


async def test_what_was_read_at_the_start_does_not_stay_in_memory(trail, database, monkeypatch):
    lines = [Line(f"event {number}") for number in range(3)]
    seen = [weakref.ref(line) for line in lines]
    monkeypatch.setattr(AuditFiles, "newest", lambda *_: [lines.pop(0) for _ in range(len(lines))])
    task = asyncio.create_task(trail.run())
    try:
        await asyncio.to_thread(wait_for, lambda: stored(database) == [2, 1, 0], "they are saved", 20)
        await asyncio.to_thread(wait_for, lambda: not any(ref() for ref in seen), "they are forgotten", 20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_only_as_much_is_looked_at_as_may_be_missing(trail, database, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 10)
    for number in range(50):
        trail.note(Record(number))
    await trail.flush()
    with (tmp_path / "audit" / "2026-03-04.jsonl").open("a") as file:
        file.writelines(f"event {number}\n" for number in range(50, 65))
        file.writelines("a stranger\n" for _ in range(25))
    asked = []
    missing = stored_events.missing
    monkeypatch.setattr(stored_events, "missing", lambda tx, events: asked.append(len(events)) or missing(tx, events))
    await trail.recover()
    assert stored(database) == list(reversed(range(65)))
    assert asked == [0, 0, 5, 10, 10]


async def test_a_database_that_is_away_for_long_leaves_it_to_the_files(trail, database, tmp_path, monkeypatch, caplog):
    def away(tx, events):
        raise OSError("the database is away")

    monkeypatch.setattr(module, "_MOST_RECORDS", 5)
    with monkeypatch.context() as patched:
        patched.setattr(stored_events, "add", away)
        for number in range(0, 15, 5):
            for one in range(number, number + 5):
                trail.note(Record(one))
            with pytest.raises(OSError, match="away"):
                await trail.flush()
    await trail.flush()
    assert stored(database) == [14, 13, 12, 11, 10]
    assert len(lines(tmp_path)) == 15
    assert "audit_rows_dropped" in [record.message for record in caplog.records]


@pytest.fixture
async def running(trail):
    """The trail, which writes what it is given."""
    task = asyncio.create_task(trail.run())
    yield trail
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_who_waits_goes_on_when_the_record_is_in_the_file(running, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_SECONDS", 1000)
    await asyncio.wait_for(running.keep(Record(1), lasting=True), 60)
    assert lines(tmp_path) == ["event 1"]
    await asyncio.wait_for(asyncio.gather(*(running.keep(Record(n), lasting=False) for n in range(2, 50))), 60)
    assert sorted(lines(tmp_path)) == sorted(f"event {number}" for number in range(1, 50))


async def test_what_has_changed_something_is_on_the_disk_and_what_only_read_follows(trail, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    for number, lasting, expected in ((1, False, 0), (2, True, 1), (3, False, 1)):
        written = asyncio.create_task(trail.keep(Record(number), lasting=lasting))
        await asyncio.sleep(0)
        await trail._write_all()
        await written
        assert (len(lines(tmp_path)), len(synced)) == (number, expected)
    await trail.flush()
    assert len(synced) == 2
    await trail.flush()
    assert len(synced) == 2


class FullDisk:
    """A disk that is full, until what is reserved is given up or somebody makes room."""

    def __init__(self, monkeypatch, reserved=0):
        self.room = 0
        self.reserved = reserved
        append = AuditFiles.append

        def appended(files, lines, now, *, lasting=True):
            if lines and not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= bool(lines)
            append(files, lines, now, lasting=lasting)

        monkeypatch.setattr(AuditFiles, "append", appended)

    def give_up(self):
        self.room, self.reserved = self.room + self.reserved, 0
        return self.room > 0


async def test_on_a_full_disk_what_is_reserved_is_used_then_who_waits_is_refused(
    database, tmp_path, monkeypatch, caplog
):
    disk = FullDisk(monkeypatch, reserved=2)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    files = AuditFiles(tmp_path / "audit", days=90, most_bytes=1 << 30)
    trail = Trail(database, files, draw, recall, lambda: NOW, days=90, most_events=1000, room=disk)
    task = asyncio.create_task(trail.run())
    for number in (1, 2):
        await asyncio.wait_for(trail.keep(Record(number), lasting=True), 60)
    with pytest.raises(OutOfRoom):
        await asyncio.wait_for(trail.keep(Record(3), lasting=True), 60)
    assert lines(tmp_path) == ["event 1", "event 2"]
    disk.room = 10
    await asyncio.to_thread(wait_for, lambda: len(lines(tmp_path)) == 3, "it is written when there is room")
    await asyncio.wait_for(trail.keep(Record(4), lasting=True), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await trail.close()
    assert lines(tmp_path) == [f"event {number}" for number in (1, 2, 3, 4)]
    assert stored(database) == [4, 3, 2, 1]


async def test_what_cannot_be_written_for_long_takes_no_more_memory_than_so_much(trail, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_MOST_RECORDS", 5)
    disk = FullDisk(monkeypatch)
    for number in range(12):
        trail.note(Record(number))
        with pytest.raises(OSError, match="No space"):
            await trail.flush()
    assert trail.dropped == 7
    disk.room = 100
    await trail.flush()
    assert lines(tmp_path) == [f"event {number}" for number in range(7, 12)]


async def test_who_is_dropped_is_refused(trail, monkeypatch):
    monkeypatch.setattr(module, "_MOST_RECORDS", 0)
    with pytest.raises(OutOfRoom):
        await trail.keep(Record(1), lasting=True)


def test_a_record_is_packed_in_little_memory_and_read_as_it_was(database):
    text = "".join(f"part {number}, " for number in range(3000))
    event = replace(draw(Record(1)), text=text)
    tracemalloc.start()
    try:
        packed = stored_events._packed(text)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(packed) < len(text) / 3
    assert most < len(text) + (128 << 10)
    database.run_blocking(lambda tx: stored_events.add(tx, [event]))
    (found,) = database.run_blocking(lambda tx: stored_events.search(tx, "1", ALL, before=None, limit=2))
    assert found.event.text == text
