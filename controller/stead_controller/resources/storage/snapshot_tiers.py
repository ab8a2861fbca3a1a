"""The tiers of snapshots: what accounts ask to be archived and restored, and how far that is.

An archived snapshot is a full copy by itself, and cannot be used until it is restored, for some days or for ever.
See https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import Snapshot, SnapshotTier
from stead_controller.errors import (
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
    WrongState,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags, workflow_rows
from stead_controller.resources.storage import snapshot_tier_life, snapshots
from stead_controller.resources.storage.snapshots import NO_VOLUME

ARCHIVED_PER_VOLUME: Final = 25
ARCHIVING_PER_ACCOUNT: Final = 25
RESTORING_PER_ACCOUNT: Final = 5
"""EC2's default quotas: https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html#archive-quotas."""

LONGEST_DAYS: Final = 180
_PATIENCE: Final = timedelta(hours=72)  # as long as EC2 takes at most
_OPERATION: Final = (
    select(SnapshotTier.operation + "-" + SnapshotTier.status)
    .where(SnapshotTier.snapshot_id == Snapshot.id)
    .correlate(Snapshot)
    .scalar_subquery()
)

FILTERS: Final[dict[str, Condition]] = {
    "last-tiering-operation": text(_OPERATION),
    "snapshot-id": text(Snapshot.id),
    "volume-id": text(Snapshot.volume_id),
}


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """RestoreSnapshotTier: for how many days, or for ever."""

    snapshot_id: str
    days: int | None = None
    permanent: bool = False


class TierStatus(NamedTuple):
    """A snapshot with its last archiving or restoring, None if there was none, and its tags."""

    snapshot: Snapshot
    tier: SnapshotTier | None
    tags: Sequence[tuple[str, str]]


def archive(tx: Transaction, caller: Caller, snapshot_id: str, now: datetime) -> SnapshotTier:
    """Begin to archive one of the caller's snapshots; it can be used until that is done, and not after it.

    Raises MalformedId, NotFound, WrongState, InUse while an image of the caller uses it, LimitExceeded.
    """
    snapshot = _find_whole(tx, caller, snapshot_id)
    tier = tx.session.get(SnapshotTier, snapshot.id)
    if tier is not None and (tier.archived is not None or tier.status == "in-progress"):
        raise WrongState("snapshot", f"The snapshot {snapshot.id} is archived, or being archived, already.")
    if (image_id := snapshot_tier_life.image_of(tx, snapshot)) is not None:
        raise InUse(
            f"The snapshot {snapshot.id} is currently in use by {image_id}, which must be disabled before.",
            code="InvalidSnapshot.InUse",
        )
    _require_less(tx, ARCHIVING_PER_ACCOUNT, "can be archived at the same time", *_in_progress(caller, "archival"))
    if snapshot.volume_id != NO_VOLUME:
        of_volume = Snapshot.volume_id == snapshot.volume_id, Snapshot.account_id == caller.account_id
        archived = SnapshotTier.archived.is_not(None) | (SnapshotTier.status == "in-progress")
        _require_less(tx, ARCHIVED_PER_VOLUME, "of a volume can be archived", *of_volume, archived)
    return _begin(tx, snapshot, "archival", snapshot_tier_life.ARCHIVE, now)


def restore(tx: Transaction, caller: Caller, asked: RestoreRequest, now: datetime) -> SnapshotTier:
    """Begin to restore an archived snapshot, or change for how long one is restored, which is done at once.

    Raises MalformedId, NotFound, WrongState, InvalidParameter, InvalidCombination, MissingParameter, LimitExceeded.
    """
    if asked.permanent and asked.days is not None:
        raise InvalidCombination("TemporaryRestoreDays and PermanentRestore exclude each other.")
    if not asked.permanent and asked.days is None:
        raise MissingParameter("TemporaryRestoreDays or PermanentRestore")
    if asked.days is not None and not 1 <= asked.days <= LONGEST_DAYS:
        raise InvalidParameter(
            f"Value ({asked.days}) for parameter TemporaryRestoreDays is invalid: it must be from 1 to {LONGEST_DAYS}."
        )
    snapshot = _find_whole(tx, caller, asked.snapshot_id)
    tier = tx.session.get(SnapshotTier, snapshot.id)
    if tier is None or tier.archived is None:
        raise WrongState("snapshot", f"The snapshot {snapshot.id} is not archived.")
    if tier.status == "in-progress":
        raise WrongState("snapshot", f"The snapshot {snapshot.id} is being restored already.")
    operation = "permanent-restore" if asked.permanent else "temporary-restore"
    if snapshot.storage_tier == "standard":
        tier.operation, tier.status, tier.detail, tier.started = operation, "completed", "", now
        snapshot_tier_life.finish_restore(tx, snapshot, tier, asked.days, now)
        return tier
    _require_less(
        tx,
        RESTORING_PER_ACCOUNT,
        "can be restored at the same time",
        *_in_progress(caller, "temporary-restore", "permanent-restore"),
    )
    tier = _begin(tx, snapshot, operation, snapshot_tier_life.RESTORE, now)
    tier.restore_days = asked.days
    return tier


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[TierStatus]:
    """Find the caller's own snapshots with their tiers, sorted by id."""
    mine = Snapshot.account_id == caller.account_id, Snapshot.state != "deleting"
    found = lookup.select_ids(tx, caller, Snapshot.id, asked, *mine, conditions=FILTERS)
    tagged = tags.pairs_of(tx, caller.account_id, found)
    tiers = {
        tier.snapshot_id: tier
        for batch in lookup.batches(found)
        for tier in tx.session.scalars(select(SnapshotTier).where(SnapshotTier.snapshot_id.in_(batch)))
    }
    rows = lookup.rows(tx, Snapshot, found)
    return [TierStatus(row, tiers.get(row.id), tagged.get(row.id, ())) for row in rows]


def _find_whole(tx: Transaction, caller: Caller, snapshot_id: str) -> Snapshot:
    snapshot = snapshots.find_own(tx, caller, snapshot_id)
    if snapshot.state != "completed":
        raise WrongState("snapshot", f"Snapshot {snapshot_id} is not completed; its state is {snapshot.state}.")
    return snapshot


def _in_progress(caller: Caller, *operations: str) -> tuple[ColumnElement[bool], ...]:
    return (
        Snapshot.account_id == caller.account_id,
        SnapshotTier.status == "in-progress",
        SnapshotTier.operation.in_(operations),
    )


def _require_less(tx: Transaction, most: int, what: str, *where: ColumnElement[bool]) -> None:
    """Raise LimitExceeded where there are as many as there may be."""
    found = select(func.count()).select_from(SnapshotTier).join(Snapshot, Snapshot.id == SnapshotTier.snapshot_id)
    alive = Snapshot.state != "deleting"
    if tx.session.scalars(found.where(*where, alive)).one() >= most:
        raise LimitExceeded(f"At most {most} snapshots {what}.", code="ResourceLimitExceeded")


def _begin(tx: Transaction, snapshot: Snapshot, operation: str, kind: str, now: datetime) -> SnapshotTier:
    tier = tx.session.get(SnapshotTier, snapshot.id)
    if tier is None:
        tier = SnapshotTier(snapshot_id=snapshot.id)
        tx.session.add(tier)
    tier.operation, tier.status, tier.detail = operation, "in-progress", ""
    tier.started, tier.progress = now, 0
    tier.operation_id = ids.new_id("snapshot")  # the workflow before it may not be over yet
    tx.session.flush()
    workflow_rows.begin(tx, kind, tier.operation_id, {"snapshot": snapshot.id}, now=now, patience=_PATIENCE)
    return tier
