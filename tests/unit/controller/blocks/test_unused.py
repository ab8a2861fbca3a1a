"""Whether there is anything for a collection is asked by one statement, and without it nothing is written."""

from datetime import timedelta
from unittest.mock import Mock

import pytest
from sqlalchemy import event, insert

from stead_controller.blocks.store import BlockStore
from stead_controller.db.tables import (
    ArchivedPiece,
    BlockSegment,
    CondemnedBlock,
    Snapshot,
    SnapshotSegment,
    SnapshotTier,
    StoredBlock,
    WrittenBlock,
)
from tests.support.rows import NOW
from tests.support.world import database, world, world_file
from tests.unit.controller.test_due_works import filled

__all__ = ["database", "world", "world_file"]

_GRACE = timedelta(hours=1)
_OF = {"snapshot_id": "snap-1"}
_ENDED = {"id": "snap-1", "storage_tier": "archive", "state": "completed"}
_TIER = _OF | {"status": "archival-completed"}


@pytest.fixture
def store(database):
    made = BlockStore(database, Mock(), lambda: NOW, grace=_GRACE)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("rows", "is_met"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(
            [(StoredBlock, {"reference_count": 0, "unused_since": NOW - 2 * _GRACE})],
            True,
            id="block without references",
        ),
        pytest.param(
            [(StoredBlock, {"reference_count": 0, "unused_since": NOW - _GRACE / 2})], False, id="in its time of grace"
        ),
        pytest.param(
            [(StoredBlock, {"reference_count": 1, "unused_since": NOW - 2 * _GRACE})], False, id="block in use"
        ),
        pytest.param([(CondemnedBlock, {})], True, id="condemned block"),
        pytest.param([(BlockSegment, {"reference_count": 0})], True, id="segment without references"),
        pytest.param([(BlockSegment, {"reference_count": 1})], False, id="segment in use"),
        pytest.param([(Snapshot, {"state": "deleting"})], True, id="deleted snapshot"),
        pytest.param(
            [(Snapshot, {"state": "error", "id": "snap-1"}), (SnapshotSegment, _OF)],
            True,
            id="segment of one that failed",
        ),
        pytest.param(
            [(Snapshot, {"state": "error", "id": "snap-1"}), (WrittenBlock, _OF)], True, id="block of one that failed"
        ),
        pytest.param([(Snapshot, {"state": "error"})], False, id="failed snapshot without blocks"),
        pytest.param(
            [(Snapshot, _ENDED), (SnapshotTier, _TIER | {"archived": NOW}), (SnapshotSegment, _OF)],
            True,
            id="segment of an archived one",
        ),
        pytest.param(
            [(Snapshot, _ENDED), (SnapshotTier, _TIER | {"archived": None}), (ArchivedPiece, _OF)],
            True,
            id="piece of an archive that was given up",
        ),
        pytest.param([(Snapshot, _ENDED), (SnapshotSegment, _OF)], False, id="segment of a snapshot"),
    ],
)
def test_what_there_is_to_collect_is_found(database, world, store, rows, is_met):
    def ask(tx):
        tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for model, values in rows:
            tx.session.execute(insert(model).values(filled(model, values)))
        return store._unused.is_met(tx, NOW)

    assert database.run_blocking(ask, dry_run=True) == is_met


async def test_without_anything_to_collect_nothing_is_written(database, world, store):
    asked = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert not await store.collect()
    assert [each.split()[0] for each in asked] == ["SELECT"]
