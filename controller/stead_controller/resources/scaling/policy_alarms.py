"""The alarms of scaling policies: made and deleted with those that track a target, found for the others."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Alarm, ScalingGroup, ScalingPolicy
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import alarms
from stead_controller.resources.metrics.alarm_states import ALARM
from stead_controller.resources.metrics.alarms import AlarmRequest, Search
from stead_controller.resources.scaling import policy
from stead_controller.resources.scaling.policy import HIGH, LOW, Tracking

_DESCRIPTION: Final = "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {}."
_AT_ONCE: Final = 100
_UUID: Final = -36  # where it begins in a name
_LONGEST: Final = 180  # of a group's name in those of its alarms


def arn_of(cloud: Cloud, group: ScalingGroup, row: ScalingPolicy) -> str:
    """Return a policy's ARN."""
    place = f"arn:{cloud.partition}:autoscaling:{cloud.region}:{group.account_id}"
    return f"{place}:scalingPolicy:{row.token}:autoScalingGroupName/{group.name}:policyName/{row.name}"


def put(  # noqa: PLR0917 - of whom, what, when
    tx: Transaction, cloud: Cloud, group: ScalingGroup, row: ScalingPolicy, tracking: Tracking, now: datetime
) -> None:
    """Make the alarms of a target tracking policy, or give those that it has what they watch now.

    Raises what PutMetricAlarm does.
    """
    wanted = policy.definitions(tracking, group.name)
    names = {kind: name for kind in (HIGH, LOW) for name in row.alarms if _kind(name) == kind}
    remove(tx, group, [name for kind, name in names.items() if kind not in wanted], now)
    arn = arn_of(cloud, group, row)
    for kind, definition in wanted.items():
        name = names.setdefault(kind, f"TargetTracking-{group.name[:_LONGEST]}-{kind}-{uuid.uuid4()}")
        request = AlarmRequest(name, _DESCRIPTION.format(arn), row.enabled, {ALARM: [arn]})
        alarms.put_metric_alarm(tx, _owner(group), cloud, request, definition, now)
    row.alarms = [names[kind] for kind in wanted]


def remove(tx: Transaction, group: ScalingGroup, names: Sequence[str], now: datetime) -> None:
    """Delete alarms that policies have made, those that are still there."""
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        there = Alarm.account_id == group.account_id, Alarm.name.in_(some)
        alarms.remove(tx, _owner(group), tx.session.scalars(select(Alarm.name).where(*there)).all(), now)


def remove_all(tx: Transaction, group: ScalingGroup, now: datetime) -> None:
    """Delete all alarms that a group's policies have made."""
    made = tx.session.scalars(select(ScalingPolicy.alarms).where(ScalingPolicy.group_id == group.id))
    remove(tx, group, [name for names in made for name in names], now)


def names_of(tx: Transaction, account_id: str, rows: Sequence[ScalingPolicy]) -> Mapping[str, Sequence[str]]:
    """Return the names of the alarms that have policies act, by the policies' tokens."""
    return alarms.of_policies(tx, account_id, [row.token for row in rows])


def all_are_low(tx: Transaction, group: ScalingGroup) -> bool:
    """Tell whether each policy that tracks a target would scale in now, apart from those that never do."""
    rows = tx.session.scalars(
        select(ScalingPolicy).where(ScalingPolicy.group_id == group.id, ScalingPolicy.enabled.is_(True))
    )
    names = [name for row in rows for name in row.alarms if _kind(name) == LOW]
    asked = Search(names=names, state=ALARM)
    return len(alarms.search(tx, _owner(group), asked, after=None, limit=len(names))) == len(names)


def is_low(row: ScalingPolicy, name: str) -> bool:
    """Tell whether an alarm has a policy scale in."""
    return name in row.alarms and _kind(name) == LOW


def _kind(name: str) -> str:
    return HIGH if name[:_UUID].endswith(f"-{HIGH}-") else LOW


def _owner(group: ScalingGroup) -> Caller:
    return Caller(group.account_id, "", group.account_id, "")
