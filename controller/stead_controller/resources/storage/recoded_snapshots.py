"""Snapshots with the content of another one under a different key (or of an unencrypted one): all blocks are new.

They are pending, without a host, until the controller has encrypted all blocks: `workflows/recode_snapshot.py`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stead_controller.db.tables import Snapshot
from stead_controller.request.transaction import Transaction
from stead_controller.resources import workflow_rows
from stead_controller.resources.storage import segments, snapshot_life
from stead_proto.v1.blocks_pb2 import Segment

RECODE: Final = "recode-snapshot"
"""The kind of workflow that encrypts a snapshot's blocks; its subject is the snapshot."""

_PATIENCE: Final = timedelta(hours=24)
_REASON_LENGTH: Final = 512


@dataclass(frozen=True, slots=True)
class Recoding:
    """What is to be done: sealed keys, None where blocks are not encrypted."""

    source_id: str
    source_key: bytes | None
    key: bytes | None
    size: int  # bytes of the disk


def complete_or_begin(tx: Transaction, snapshot: Snapshot, source: Snapshot | None, now: datetime) -> None:
    """Copy the content of its source to a new snapshot: at once if both have the same key, else by a workflow."""
    if source is None or source.sealed_key == snapshot.sealed_key:
        snapshot_life.complete(tx, snapshot, now, inherits=True)
    else:
        workflow_rows.begin(tx, RECODE, snapshot.id, {}, now=now, patience=_PATIENCE)


def find(tx: Transaction, snapshot_id: str) -> Recoding | None:
    """Return the work for a snapshot; None when it is done, or the snapshot is deleted."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.state != "pending" or snapshot.parent_id is None:
        return None
    source = tx.session.get_one(Snapshot, snapshot.parent_id)
    return Recoding(source.id, source.sealed_key, snapshot.sealed_key, snapshot.size)


def next_segment(tx: Transaction, snapshot_id: str, source_id: str, first: int) -> Segment | None:
    """Return the source's next segment, from a position on, that is not in the snapshot yet."""
    while found := segments.page(tx, source_id, first, 1):
        if segments.at(tx, snapshot_id, found[0].position) is None:
            return found[0]
        first = found[0].position + 1
    return None


def progress(tx: Transaction, snapshot_id: str, percent: int) -> None:
    """Note how far a snapshot is."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is not None and snapshot.state == "pending":
        snapshot.progress = percent


def inherit(tx: Transaction, snapshot_id: str, now: datetime) -> None:
    """Copy all segments of the source: the keys are the same."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is not None and snapshot.state == "pending":
        snapshot_life.complete(tx, snapshot, now, inherits=True)


def complete(tx: Transaction, snapshot_id: str, now: datetime) -> None:
    """Complete a snapshot that has all its segments; it shares nothing with its source any more."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is not None and snapshot.state == "pending":
        snapshot.parent_id = None
        snapshot_life.complete(tx, snapshot, now)


def fail(tx: Transaction, snapshot_id: str, message: str) -> None:
    """Fail a snapshot."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is not None and snapshot.state == "pending":
        snapshot_life.fail(tx, snapshot, message[:_REASON_LENGTH])
