"""The trail takes records without waiting, drops what is too much, and writes the rest however often it must try."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.audit import trail as module
from stead_controller.audit.files import AuditFiles
from stead_controller.audit.trail import Trail
from stead_controller.db import migrate
from stead_controller.db.session import Database
from stead_controller.resources import audit_events
from stead_controller.resources.audit_events import AuditEvent, Search

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


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'audit.sqlite'}")
    migrate.upgrade(database.engine)
    yield database
    database.close()


@pytest.fixture
def trail(database, tmp_path):
    files = AuditFiles(tmp_path / "audit", days=90, most_bytes=1 << 30)
    return Trail(database, files, draw, lambda: NOW, days=90, most_events=1000)


def kept(database, asked=ALL, limit=10_000):
    found = database.run_blocking(lambda tx: audit_events.search(tx, "1", asked, before=None, limit=limit))
    return [int(one.event.event_id.split()[1]) for one in found]


def lines(tmp_path):
    return (tmp_path / "audit" / "2026-03-04.jsonl").read_text().splitlines()


async def test_what_was_noted_is_in_files_and_database(trail, database, tmp_path):
    for number in range(1200):
        trail.note(Record(number))
    trail.note(Record(1200, account_id=""))
    await trail.close()
    assert kept(database) == list(reversed(range(1200)))
    assert len(lines(tmp_path)) == 1201
    assert trail.dropped == 0


async def test_too_many_are_dropped_and_counted(trail, database, caplog, monkeypatch):
    monkeypatch.setattr(module, "_MOST_RECORDS", 3)
    for number in range(5):
        trail.note(Record(number))
    await trail.flush()
    assert (kept(database), trail.dropped) == ([2, 1, 0], 2)
    assert [record.message for record in caplog.records] == ["audit_dropped"]
    trail.note(Record(6))
    await trail.flush()
    assert kept(database) == [6, 2, 1, 0]
    assert len(caplog.records) == 1


async def test_large_ones_are_dropped_before_memory_is_full(trail, database):
    trail.note(Record(0, weight=40 << 20))
    trail.note(Record(1, weight=40 << 20))
    await trail.flush()
    trail.note(Record(2, weight=40 << 20))
    await trail.flush()
    assert (kept(database), trail.dropped) == ([2, 0], 1)


async def test_a_database_that_is_away_gets_them_later(trail, database, tmp_path, monkeypatch):
    def away(tx, events):
        raise OSError("the database is away")

    trail.note(Record(0))
    with monkeypatch.context() as patched:
        patched.setattr(audit_events, "add", away)
        with pytest.raises(OSError, match="away"):
            await trail.flush()
        trail.note(Record(1))
        with pytest.raises(OSError, match="away"):
            await trail.flush()
    await trail.flush()
    assert kept(database) == [1, 0]
    assert lines(tmp_path) == ["event 0", "event 1"]


async def test_one_that_cannot_be_made_takes_no_other_with_it(trail, database):
    trail.note(Record(-1))
    trail.note(Record(1))
    await trail.flush()
    assert kept(database) == [1]


async def test_old_ones_and_too_many_go_in_pages(trail, database, monkeypatch):
    monkeypatch.setattr(audit_events, "_PAGE", 7)
    for number in range(20):
        trail.note(Record(number, time=NOW - timedelta(days=91)))
    for number in range(20, 1040):
        trail.note(Record(number))
    await trail.flush()
    await trail.remove_old()
    assert sorted(kept(database)) == list(range(40, 1040))
    assert len(kept(database, Search("ResourceName", "one", None, None))) == 1000
