"""Scheduled actions of groups: put, found, deleted, and done when they are due.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, exists, func, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import ScalingGroup, ScheduledAction
from stead_controller.errors import AlreadyExists, InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import activities, groups, recurrence, words
from stead_controller.resources.scaling.activities import Event

MOST: Final = 125
"""Scheduled actions of a group, as in AWS."""

UTC_ZONE: Final = "Etc/UTC"

_SUSPENDED: Final = "ScheduledActions"


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What is scheduled: sizes, of which None stay as they are, once at `start`, or again and again until `end`."""

    name: str
    start: datetime | None = None
    end: datetime | None = None
    recurrence: str | None = None
    time_zone: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    desired: int | None = None


@dataclass(frozen=True, slots=True)
class ShownAction:
    """A scheduled action with its group's name and its ARN."""

    group: str
    arn: str
    row: ScheduledAction


@dataclass(frozen=True, slots=True)
class ActionSearch:
    """Which actions are asked for: of a group, of these names, due from a time on and until another."""

    group: str | None = None
    names: Collection[str] = ()
    earliest: datetime | None = None
    latest: datetime | None = None


def put(tx: Transaction, caller: Caller, group_name: str, asked: ActionRequest, now: datetime) -> None:
    """Schedule an action, or change the one of this name.

    Raises NotFound, WrongState, InvalidParameter, LimitExceeded, and AlreadyExists for a time at which the group has
    another.
    """
    group = groups.find(tx, caller, group_name)
    _check(asked, now)
    row = tx.session.get(ScheduledAction, (group.id, asked.name))
    others = ScheduledAction.group_id == group.id, ScheduledAction.name != asked.name
    if row is None:
        if tx.session.scalars(select(func.count()).select_from(ScheduledAction).where(*others)).one() >= MOST:
            raise LimitExceeded(f"An AutoScalingGroup can have at most {MOST} scheduled actions.")
        row = ScheduledAction(group_id=group.id, name=asked.name, token=str(uuid.uuid4()))
    due = asked.start if asked.start is not None else _next(asked.recurrence, asked.time_zone, now)
    if due is None or (asked.end is not None and due > asked.end):
        raise InvalidParameter("The scheduled action would never happen before its EndTime.")
    same = select(ScheduledAction.name).where(*others, ScheduledAction.due == due).limit(1)
    if (other := tx.session.scalar(same)) is not None:
        raise AlreadyExists("scheduled-action", f"The scheduled action {other} is at the same time already.")
    for name in ("start", "end", "recurrence", "time_zone", "min_size", "max_size", "desired"):
        setattr(row, name, getattr(asked, name))
    row.due = due
    tx.session.add(row)
    tx.session.flush()


def search(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: ActionSearch, *, after: Sequence[str] | None, limit: int
) -> list[ShownAction]:
    """List actions by the names of their groups and their own; `after` are both; raises NotFound for no group."""
    query = select(ScheduledAction, ScalingGroup).join(ScalingGroup, ScalingGroup.id == ScheduledAction.group_id)
    query = query.where(ScalingGroup.account_id == caller.account_id)
    if asked.group is not None:
        groups.require(tx, caller, asked.group)
        query = query.where(ScalingGroup.name == asked.group)
    if asked.names:
        query = query.where(ScheduledAction.name.in_(asked.names))
    else:  # times are not looked at if names are given
        if asked.earliest is not None:
            query = query.where(ScheduledAction.due >= asked.earliest)
        if asked.latest is not None:
            query = query.where(ScheduledAction.due <= asked.latest)
    if after is not None:
        group, name = after
        beyond = (ScalingGroup.name == group) & (ScheduledAction.name > name)
        query = query.where((ScalingGroup.name > group) | beyond)
    found = tx.session.execute(query.order_by(ScalingGroup.name, ScheduledAction.name).limit(limit))
    return [ShownAction(group.name, _arn_of(cloud, group, row), row) for row, group in found]


def remove(tx: Transaction, caller: Caller, group_name: str, name: str) -> None:
    """Delete an action; raises NotFound, WrongState."""
    group = groups.find(tx, caller, group_name)
    row = tx.session.get(ScheduledAction, (group.id, name))
    if row is None:
        raise NotFound("scheduled-action", name, message=f"Scheduled action name not found: {name}")
    tx.session.delete(row)
    tx.session.flush()


DUE: Final = DueRows(exists().where(ScheduledAction.due <= bindparam("now")))
"""Whether an action is to be done."""


def do_one(tx: Transaction, now: datetime) -> bool:
    """Do the action that is longest due, and schedule it again or delete it; tells whether there was one.

    What was missed while no controller ran is done once.
    """
    row = tx.session.scalar(
        select(ScheduledAction)
        .where(ScheduledAction.due <= now)
        .order_by(ScheduledAction.due, ScheduledAction.group_id, ScheduledAction.name)
        .limit(1)
    )
    if row is None:
        return False
    group = tx.session.get_one(ScalingGroup, row.group_id)
    if not group.deleting and _SUSPENDED not in group.suspended:
        _resize(tx, group, row, now)
    following = None if row.recurrence is None else _next(row.recurrence, row.time_zone, now)
    if following is None or (row.end is not None and following > row.end):
        tx.session.delete(row)
    else:
        row.due = following
    tx.session.flush()
    return True


def _resize(tx: Transaction, group: ScalingGroup, row: ScheduledAction, now: datetime) -> None:
    least = group.min_size if row.min_size is None else row.min_size
    most = group.max_size if row.max_size is None else row.max_size
    desired = min(max(group.desired, least), most) if row.desired is None else row.desired
    why = words.at(now, words.scheduled((least, most, desired), group.desired))
    if not least <= desired <= most:
        failure = f"The scheduled action {row.name} wants min: {least}, max: {most}, desired: {desired}."
        activities.note(tx, group, Event(f"Executing scheduled action {row.name}", why), now, failure=failure)
        return
    group.min_size, group.max_size = least, most
    if desired != group.desired:
        groups.change_desired(tx, group, desired, why, now)


def _check(asked: ActionRequest, now: datetime) -> None:
    sizes = [size for size in (asked.min_size, asked.desired, asked.max_size) if size is not None]
    if not sizes:
        raise InvalidParameter("At least one of MinSize, MaxSize and DesiredCapacity must be given.")
    if min(sizes) < 0 or sizes != sorted(sizes):
        raise InvalidParameter("MinSize, DesiredCapacity and MaxSize must not be negative, each at most the next.")
    if asked.start is None and asked.recurrence is None:
        raise InvalidParameter("Either StartTime or Recurrence must be given.")
    if asked.start is not None and asked.start < now:
        raise InvalidParameter("Given start time is in the past.")
    if asked.end is not None and asked.end <= (asked.start or now):
        raise InvalidParameter("EndTime must be after StartTime, and in the future.")
    if asked.recurrence is not None:
        recurrence.parse(asked.recurrence)
    if asked.time_zone is not None:
        if asked.recurrence is None:
            raise InvalidParameter("TimeZone is for actions with a Recurrence.")
        recurrence.check_zone(asked.time_zone)


def _next(expression: str | None, time_zone: str | None, after: datetime) -> datetime | None:
    assert expression is not None, "an action without a start has a recurrence"
    return recurrence.parse(expression).next(after, time_zone or UTC_ZONE)


def _arn_of(cloud: Cloud, group: ScalingGroup, row: ScheduledAction) -> str:
    place = f"arn:{cloud.partition}:autoscaling:{cloud.region}:{group.account_id}"
    action = f"scheduledUpdateGroupAction:{row.token}:autoScalingGroupName/{group.name}"
    return f"{place}:{action}:scheduledActionName/{row.name}"
