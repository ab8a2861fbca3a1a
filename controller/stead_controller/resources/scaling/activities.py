"""What groups did and do, as DescribeScalingActivities tells it."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, delete, or_, select

from stead_controller.db.tables import ScalingActivity, ScalingGroup
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import words

FAILED: Final = "Failed"
SUCCESSFUL: Final = "Successful"
CANCELLED: Final = "Cancelled"
IN_PROGRESS: Final = "InProgress"
STARTING: Final = "PreInService"
IN_HOOK: Final = "MidLifecycleAction"

_KEPT: Final = timedelta(weeks=6)
_BATCH: Final = 500
_PROGRESS: Final = {STARTING: 30, IN_PROGRESS: 50, IN_HOOK: 50}


type Activity = ScalingActivity
"""An activity as it is shown."""


@dataclass(frozen=True, slots=True)
class Event:
    """What begins: its description, the cause, and the instance and its place, where there are any."""

    description: str
    cause: str
    instance_id: str | None = None
    details: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ShownActivity:
    """An activity, and whether its group is there."""

    row: ScalingActivity
    is_deleted: bool


def begin(tx: Transaction, group: ScalingGroup, event: Event, status: str, now: datetime) -> ScalingActivity:
    """Write an activity that is under way."""
    row = ScalingActivity(
        id=str(uuid.uuid4()),
        account_id=group.account_id,
        group_id=group.id,
        group_name=group.name,
        instance_id=event.instance_id,
        description=event.description,
        cause=event.cause,
        status=status,
        message=None,
        details=json.dumps(event.details or {}),
        progress=_PROGRESS.get(status, 0),
        started=now,
        ended=None,
    )
    tx.session.add(row)
    return row


def note(
    tx: Transaction, group: ScalingGroup, event: Event, now: datetime, *, failure: str | None = None
) -> ScalingActivity:
    """Write an activity that is over at once; one that failed says why."""
    row = begin(tx, group, event, IN_PROGRESS, now)
    end(row, now, failure=failure)
    return row


def end(row: ScalingActivity, now: datetime, *, failure: str | None = None, status: str | None = None) -> None:
    """End an activity."""
    row.status = status or (SUCCESSFUL if failure is None else FAILED)
    row.message = failure
    row.progress, row.ended = 100, now


def cut_short(tx: Transaction, activity_id: str | None, now: datetime) -> None:
    """Cancel what is under way with an instance, if anything is: another activity takes its place."""
    row = find(tx, activity_id)
    if row is not None and row.ended is None:
        end(row, now, status=CANCELLED, failure=words.CUT_SHORT)


def move(row: ScalingActivity, status: str) -> None:
    """Move an activity that is under way to another of its statuses."""
    row.status, row.progress = status, _PROGRESS[status]


def find(tx: Transaction, activity_id: str | None) -> ScalingActivity | None:
    """Return an activity that is under way."""
    return None if activity_id is None else tx.session.get(ScalingActivity, activity_id)


def are_under_way(tx: Transaction, group_id: str) -> bool:
    """Tell whether a group does something now."""
    latest = select(ScalingActivity.id).where(ScalingActivity.group_id == group_id, ScalingActivity.ended.is_(None))
    return tx.session.scalar(latest.limit(1)) is not None


def describe(
    tx: Transaction,
    account_id: str,
    *,
    group: str | None,
    ids: Sequence[str],
    deleted: bool,
    statuses: Sequence[str] = (),
    after: Sequence[str] | None,
    limit: int,
) -> list[ShownActivity]:
    """List activities of a group or of all, the latest first; those of deleted groups only if `deleted` is set.

    `after` is the time in microseconds and the id of the last one that was shown.
    """
    there = ScalingGroup.id.is_not(None)
    query = (
        select(ScalingActivity, there)
        .outerjoin(ScalingGroup, ScalingGroup.id == ScalingActivity.group_id)
        .where(ScalingActivity.account_id == account_id)
        .order_by(ScalingActivity.started.desc(), ScalingActivity.id.desc())
        .limit(limit)
    )
    if ids:
        query = query.where(ScalingActivity.id.in_(ids))
    if group is not None:
        query = query.where(ScalingActivity.group_name == group)
    if statuses:
        query = query.where(ScalingActivity.status.in_(statuses))
    if not deleted:
        query = query.where(there)
    if after is not None:
        started, last = datetime.fromisoformat(after[0]), after[1]
        earlier = and_(ScalingActivity.started == started, ScalingActivity.id < last)
        query = query.where(or_(ScalingActivity.started < started, earlier))
    return [ShownActivity(row, not is_there) for row, is_there in tx.session.execute(query)]


def forget(tx: Transaction, now: datetime) -> bool:
    """Delete some activities that ended six weeks ago; tells whether there may be more."""
    old = (
        select(ScalingActivity.id)
        .where(ScalingActivity.started < now - _KEPT)
        .order_by(ScalingActivity.started)
        .limit(_BATCH)
    )
    gone = list(tx.session.scalars(old))
    if gone:
        tx.session.execute(delete(ScalingActivity).where(ScalingActivity.id.in_(gone)))
    return len(gone) == _BATCH
