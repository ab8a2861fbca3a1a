"""A power cut between any two writes to the controller's database: what was answered is there, and rows agree (FAULTS 10).

SQLite syncs its log before a commit returns (`db/test_migrate.py` checks that setting). So a cut leaves the log as
long as it was at the last answer, and of what was written after that any part, in sectors; and while the log is brought
into the file, any of the file's pages old or new.
"""

import itertools
import random

import pytest
from sqlalchemy import select

from stead_controller.db.session import Database
from stead_controller.db.tables import NetworkInterface, Tag
from stead_controller.resources.network import network_interface_life
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest
from tests.support.rows import NOW
from tests.unit.controller.resources.test_address_races import check

COMMITS = 8
CUTS = 6  # of each commit
SECTOR = 512


@pytest.fixture
def database(tmp_path, world_file):
    """A database with a new log."""
    path = tmp_path / "stead.sqlite"
    path.write_bytes(world_file[0])
    made = Database(f"sqlite:///{path}")
    yield made
    made.close()


@pytest.fixture
def answered(world, run, tmp_path):
    """The file, and after each commit the log and the interfaces that there must be since; every third ends one."""
    run(lambda _tx: None)
    file, log = tmp_path / "stead.sqlite", tmp_path / "stead.sqlite-wal"
    known: list[str] = []
    moments = [(log.read_bytes(), frozenset(known))]
    for number in range(COMMITS):
        if number % 3 == 2:
            run(network_interface_life.delete, world.one.caller, known.pop(0), NOW)
        else:
            request = CreateRequest(
                world.one.subnet_ids[0], AddressRequest(secondary_count=2), tags={"network-interface": {"of": "this"}}
            )
            known.append(run(network_interface_life.create, world.one.caller, request, NOW))
        moments.append((log.read_bytes(), frozenset(known)))
    return file, moments


def after_a_cut(tmp_path, file, log):
    """The interfaces that a new controller finds in a file and a log; all that must agree does."""
    folder = tmp_path / "cut"
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        each.unlink()
    (folder / "stead.sqlite").write_bytes(file)
    (folder / "stead.sqlite-wal").write_bytes(log)
    database = Database(f"sqlite:///{folder / 'stead.sqlite'}")
    try:
        with database.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        database.run_blocking(check)
        there, tagged = (
            frozenset(database.run_blocking(lambda tx, column=column: tx.session.scalars(select(column)).all()))
            for column in (NetworkInterface.id, Tag.resource_id)
        )
        assert there == tagged
        return there
    finally:
        database.close()


def test_of_a_cut_commit_there_is_all_or_nothing(answered, tmp_path):
    file, moments = answered
    chance = random.Random(10)
    content = file.read_bytes()
    for (before, old), (after, new) in itertools.pairwise(moments):
        assert after[: len(before)] == before  # the log only grew
        assert after_a_cut(tmp_path, content, before) == old
        for cut in range(CUTS):
            part = bytearray(after[: chance.randrange(len(before) + 1, len(after))])
            if cut % 2:  # its sectors were written in another order
                part = bytearray(after)
                for start in range(-(-len(before) // SECTOR) * SECTOR, len(after), SECTOR):
                    if chance.random() < 0.3:
                        part[start : start + SECTOR] = bytes(len(part[start : start + SECTOR]))
            assert after_a_cut(tmp_path, content, bytes(part)) in {old, new}
    assert after_a_cut(tmp_path, content, moments[-1][0]) == moments[-1][1]


def test_a_cut_while_the_log_is_brought_into_the_file_loses_nothing(answered, database, tmp_path):
    file, moments = answered
    log, known = moments[-1]
    before = file.read_bytes()
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        (page,) = connection.exec_driver_sql("PRAGMA page_size").one()
    after = file.read_bytes()
    assert after != before
    chance = random.Random(10)
    for _ in range(CUTS):
        mixed = b"".join(
            chance.choice([before[start : start + page], after[start : start + page]])
            for start in range(0, len(after), page)
        )
        assert after_a_cut(tmp_path, mixed, log) == known
