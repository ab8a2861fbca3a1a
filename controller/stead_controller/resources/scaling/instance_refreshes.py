"""Instance refreshes of groups, as users start, cancel, roll back and find them. What they do is in `refresh_step.py`.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-instance-refresh.html.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, or_, select

from stead_controller.db.tables import InstanceRefresh, ScalingGroup
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import due_groups, groups

type ShownRefresh = InstanceRefresh
"""A refresh as it is shown."""

PENDING: Final = "Pending"
IN_PROGRESS: Final = "InProgress"
BAKING: Final = "Baking"
CANCELLING: Final = "Cancelling"
CANCELLED: Final = "Cancelled"
ROLLING_BACK: Final = "RollbackInProgress"
ACTIVE: Final = (PENDING, IN_PROGRESS, BAKING, CANCELLING, ROLLING_BACK)

IGNORE: Final = "Ignore"
WAIT: Final = "Wait"
REFRESH: Final = "Refresh"

_KEPT: Final = timedelta(weeks=6)
_BATCH: Final = 100
_DEFAULT_HEALTHY: Final = (90, 100)
_MOST_SECONDS: Final = 172_800
_MOVING: Final = ("$Latest", "$Default")


@dataclass(frozen=True, slots=True)
class Preferences:
    """How a refresh replaces; `healthy` are percentages that serve at least and are there at most, None the group's.

    It pauses for `delay` seconds at each of the `checkpoints`, percentages that are replaced, and goes on for `bake`
    seconds after all. `protected` and `standby` say what becomes of such instances.
    """

    healthy: tuple[int | None, int | None] = (None, None)
    warmup: int | None = None  # seconds
    checkpoints: Sequence[int] = ()
    delay: int = 3600
    skip_matching: bool = False
    auto_rollback: bool = False
    protected: str = WAIT
    standby: str = WAIT
    bake: int = 0

    @staticmethod
    def read(text: str) -> "Preferences":
        """Return what was written."""
        found: dict[str, Any] = json.loads(text)
        return Preferences(**{**found, "healthy": tuple(found["healthy"])})


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """What StartInstanceRefresh asks for; `launch` is what the group is to launch then, None for what it does."""

    preferences: Preferences = field(default_factory=Preferences)
    launch: str | None = None


def start(tx: Transaction, caller: Caller, name: str, asked: RefreshRequest, now: datetime) -> str:
    """Begin to replace a group's instances; return the refresh's id. Raises NotFound, InvalidParameter, WrongState."""
    group = groups.find(tx, caller, name)
    if under_way(tx, group.id) is not None:
        raise WrongState(
            "instance-refresh",
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
            code="InstanceRefreshInProgress",
        )
    chosen = asked.preferences
    _check(chosen, asked.launch)
    row = InstanceRefresh(
        id=str(uuid.uuid4()),
        group_id=group.id,
        status=PENDING,
        reason="",
        started=now,
        ended=None,
        preferences=json.dumps(
            {name: getattr(chosen, name) for name in Preferences.__dataclass_fields__}
            | {"healthy": _healthy(group, chosen)}
        ),
        wanted=asked.launch,
        targets=None,
        total=0,
        left=0,
        unready=0,
        warm_targets=None,
        warm_total=0,
        warm_left=0,
        checkpoint=0,
        resumes=None,
        progressed=now,
        rollback=None,
    )
    tx.session.add(row)
    group.refreshing = asked.launch
    group.failures, group.retry_at = 0, None
    due_groups.wake(tx, group, now)
    tx.session.flush()
    return row.id


def cancel(tx: Transaction, caller: Caller, name: str, now: datetime, *, waits: bool) -> str:
    """End a refresh where it is, and return its id; raises NotFound, WrongState.

    With `waits` it is cancelled once the instances that come and go now have done so.
    """
    group, row = _active(tx, caller, name)
    row.reason = "Cancelled due to user request."
    if waits:
        row.status = CANCELLING
    else:
        row.status, row.ended = CANCELLED, now
    group.refreshing = None
    due_groups.wake(tx, group, now)
    return row.id


def roll_back(tx: Transaction, caller: Caller, name: str, now: datetime) -> str:
    """Replace what a refresh has replaced by what it was, and return its id; raises NotFound, WrongState."""
    group, row = _active(tx, caller, name)
    if row.status not in (PENDING, IN_PROGRESS, BAKING) or not can_roll_back(group, row):
        raise WrongState(
            "instance-refresh",
            "The instance refresh cannot be rolled back: it has no desired configuration, or the group launches by "
            "$Latest or $Default.",
            code="IrreversibleInstanceRefresh",
        )
    begin_rollback(group, row, "Rollback initiated by a user request.", now)
    due_groups.wake(tx, group, now)
    return row.id


def can_roll_back(group: ScalingGroup, row: InstanceRefresh) -> bool:
    """Tell whether it is known what a group's instances were before a refresh."""
    return row.wanted is not None and not any(f'"Version": "{version}"' in group.launch for version in _MOVING)


def begin_rollback(group: ScalingGroup, row: InstanceRefresh, reason: str, now: datetime) -> None:
    """Let a refresh replace what it has launched by what the group launched before."""
    row.rollback = json.dumps(
        {
            "reason": reason,
            "started": now.isoformat(),
            "percentage": percentage(row),
            "left": row.left + row.warm_left,
            "live": live_progress(row),
            "warm": progress_of(row.warm_total, row.warm_left) if row.warm_total else None,
        }
    )
    row.status, row.targets, row.total, row.left, row.unready = ROLLING_BACK, None, 0, 0, 0
    row.warm_targets, row.warm_total, row.warm_left = None, 0, 0
    row.resumes, row.progressed = None, now
    group.refreshing = None
    group.failures, group.retry_at = 0, None


def percentage(row: InstanceRefresh) -> int:
    """Return how much of a refresh is done, in percent."""
    if row.targets is None:
        return 0
    return progress_of(row.total + row.warm_total, row.left + row.unready + row.warm_left)[0]


def live_progress(row: InstanceRefresh) -> tuple[int, int]:
    """Return how many percent of a group's instances are replaced by others that serve, and how many are left."""
    return progress_of(row.total, row.left + row.unready)[0], row.left


def progress_of(total: int, left: int) -> tuple[int, int]:
    """Return how many percent of so many instances are done, and how many are left."""
    return (100 * (total - left) // total if total else 100), left


def under_way(tx: Transaction, group_id: str) -> InstanceRefresh | None:
    """Return the refresh of a group that is not over."""
    of_group = InstanceRefresh.group_id == group_id
    return tx.session.scalar(select(InstanceRefresh).where(of_group, InstanceRefresh.status.in_(ACTIVE)).limit(1))


def describe(
    tx: Transaction, caller: Caller, name: str, ids: Sequence[str], *, after: Sequence[str] | None, limit: int
) -> list[InstanceRefresh]:
    """List the refreshes of a group, the latest first; raises NotFound."""
    group = groups.require(tx, caller, name)
    query = select(InstanceRefresh).where(InstanceRefresh.group_id == group.id)
    if ids:
        query = query.where(InstanceRefresh.id.in_(ids))
    if after is not None:
        started, last = datetime.fromisoformat(after[0]), after[1]
        earlier = and_(InstanceRefresh.started == started, InstanceRefresh.id < last)
        query = query.where(or_(InstanceRefresh.started < started, earlier))
    return list(
        tx.session.scalars(query.order_by(InstanceRefresh.started.desc(), InstanceRefresh.id.desc()).limit(limit))
    )


def forget(tx: Transaction, now: datetime) -> bool:
    """Delete some refreshes that ended six weeks ago; tells whether there may be more."""
    over = InstanceRefresh.started < now - _KEPT, InstanceRefresh.status.not_in(ACTIVE)
    gone = list(
        tx.session.scalars(select(InstanceRefresh.id).where(*over).order_by(InstanceRefresh.started).limit(_BATCH))
    )
    if gone:
        tx.session.execute(delete(InstanceRefresh).where(InstanceRefresh.id.in_(gone)))
    return len(gone) == _BATCH


def _active(tx: Transaction, caller: Caller, name: str) -> tuple[ScalingGroup, InstanceRefresh]:
    group = groups.find(tx, caller, name)
    row = under_way(tx, group.id)
    if row is None:
        raise WrongState(
            "instance-refresh",
            f"No in progress or pending Instance Refresh found for Auto Scaling group {name}",
            code="ActiveInstanceRefreshNotFound",
        )
    return group, row


def _healthy(group: ScalingGroup, asked: Preferences) -> tuple[int, int]:
    """Return the percentages of a refresh: its own, those of the maintenance policy, or AWS's."""
    least, most = asked.healthy
    of_group = (group.min_healthy, group.max_healthy)
    least = next(one for one in (least, of_group[0], _DEFAULT_HEALTHY[0]) if one is not None)
    most = next(one for one in (most, of_group[1], _DEFAULT_HEALTHY[1]) if one is not None)
    if not 0 <= least <= 100 <= most <= 200 or most - least > 100:
        raise InvalidParameter(
            "MinHealthyPercentage is from 0 to 100, MaxHealthyPercentage from 100 to 200; they differ by 100 at most."
        )
    return least, most


def _check(asked: Preferences, launch: str | None) -> None:
    points = list(asked.checkpoints)
    if points and (points != sorted(set(points)) or not 1 <= points[0] <= points[-1] <= 100):
        raise InvalidParameter("CheckpointPercentages are from 1 to 100, each above the one before.")
    for name, seconds in (("CheckpointDelay", asked.delay), ("BakeTime", asked.bake), ("InstanceWarmup", asked.warmup)):
        if seconds is not None and not 0 <= seconds <= _MOST_SECONDS:
            raise InvalidParameter(f"{name} is from 0 to {_MOST_SECONDS} seconds.")
    if asked.auto_rollback and launch is None:
        raise InvalidParameter("AutoRollback needs a DesiredConfiguration.")
