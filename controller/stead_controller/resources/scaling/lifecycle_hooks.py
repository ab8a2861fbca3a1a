"""Lifecycle hooks: instances wait for them when they are launched or end, until somebody completes the action.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from stead_controller.db.tables import LifecycleAction, LifecycleHook, ScalingGroup, ScalingInstance
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request import lookup
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import due_groups, hook_notices
from stead_controller.resources.scaling.hook_notices import Way
from stead_controller.resources.scaling.plan import Wait

MOST: Final = 50
RESULTS: Final = ("CONTINUE", "ABANDON")
_HEARTBEAT: Final = 3600
_LEAST_HEARTBEAT: Final = 30
_MOST_HEARTBEAT: Final = 7200
_LONGEST: Final = timedelta(hours=48)
_HEARTBEATS: Final = 100


type ShownHook = LifecycleHook
"""A hook as it is shown."""


@dataclass(frozen=True, slots=True)
class HookRequest:
    """What a request says of a hook; None is what it does not say. The heartbeat's time is in seconds.

    `topic` and `role` are ARNs; an empty one for the topic takes both away.
    """

    name: str
    launching: bool | None
    heartbeat: int | None = None
    default_result: str | None = None
    details: str | None = None
    topic: str | None = None
    role: str | None = None


def put(tx: Transaction, cloud: Cloud, group: ScalingGroup, asked: HookRequest, now: datetime) -> None:
    """Make or change a hook; raises InvalidParameter, LimitExceeded."""
    row = tx.session.get(LifecycleHook, (group.id, asked.name))
    if row is None:
        if asked.launching is None:
            raise InvalidParameter("Lifecycle hook transition is required: LifecycleTransition.")
        if len(of_group(tx, group.id)) >= MOST:
            raise LimitExceeded(f"An AutoScalingGroup may have at most {MOST} lifecycle hooks.")
        row = LifecycleHook(
            group_id=group.id,
            name=asked.name,
            launching=asked.launching,
            heartbeat=_HEARTBEAT,
            default_result="ABANDON",
            details=None,
            topic=None,
            role=None,
        )
        tx.session.add(row)
    if asked.launching is not None:
        row.launching = asked.launching
    if asked.heartbeat is not None:
        if not _LEAST_HEARTBEAT <= asked.heartbeat <= _MOST_HEARTBEAT:
            raise InvalidParameter(
                f"The HeartbeatTimeout {asked.heartbeat} is not from {_LEAST_HEARTBEAT} to {_MOST_HEARTBEAT}."
            )
        row.heartbeat = asked.heartbeat
    if asked.default_result is not None:
        check_result(asked.default_result)
        row.default_result = asked.default_result
    if asked.details is not None:
        row.details = asked.details or None
    if asked.topic == "":
        row.topic = row.role = None
    elif asked.topic is not None or asked.role is not None:
        row.topic, row.role = asked.topic or row.topic, asked.role or row.role
        hook_notices.check(tx, cloud, group, row, now)
    tx.session.flush()


def check_result(result: str) -> None:
    """Raise InvalidParameter for what is no result."""
    if result not in RESULTS:
        raise InvalidParameter(f"The result {result} is not one of {', '.join(RESULTS)}.")


def remove(tx: Transaction, group: ScalingGroup, name: str, now: datetime) -> None:
    """Delete a hook; instances that wait for it go on. Raises NotFound."""
    tx.session.delete(find(tx, group, name))
    theirs = select(ScalingInstance.instance_id).where(ScalingInstance.group_id == group.id)
    waiting = select(LifecycleAction).where(LifecycleAction.hook == name, LifecycleAction.instance_id.in_(theirs))
    for action in tx.session.scalars(waiting):
        action.result = action.result or "CONTINUE"
    tx.session.flush()
    due_groups.wake(tx, group, now)


def find(tx: Transaction, group: ScalingGroup, name: str) -> LifecycleHook:
    """Return a hook; raises NotFound."""
    row = tx.session.get(LifecycleHook, (group.id, name))
    if row is None:
        raise NotFound("lifecycle-hook", name, message=f"No Lifecycle Hook found with name: {name}")
    return row


def of_group(tx: Transaction, group_id: str, names: Sequence[str] = ()) -> Sequence[LifecycleHook]:
    """Return a group's hooks, by name."""
    query = select(LifecycleHook).where(LifecycleHook.group_id == group_id).order_by(LifecycleHook.name)
    if names:
        query = query.where(LifecycleHook.name.in_(names))
    return tx.session.scalars(query).all()


def kinds(tx: Transaction, group_id: str) -> tuple[bool, bool]:
    """Tell whether a group has hooks for launches, and for ends."""
    there = select(LifecycleHook.launching).where(LifecycleHook.group_id == group_id).distinct()
    found = set(tx.session.scalars(there))
    return True in found, False in found


def begin(tx: Transaction, row: ScalingInstance, way: Way, now: datetime) -> datetime:
    """Let an instance wait for its group's hooks; return when the first of them has waited long enough."""
    hooks = [hook for hook in of_group(tx, row.group_id) if hook.launching is way.is_launch]
    for hook in hooks:
        beat = timedelta(seconds=hook.heartbeat)
        action = LifecycleAction(
            token=str(uuid.uuid4()),
            instance_id=row.instance_id,
            hook=hook.name,
            heartbeat=hook.heartbeat,
            default_result=hook.default_result,
            result=None,
            until=now + beat,
            latest=now + min(_LONGEST, beat * _HEARTBEATS),
        )
        tx.session.add(action)
        hook_notices.tell(tx, hook, action, way, now)
    return now + timedelta(seconds=min(hook.heartbeat for hook in hooks))


def forget(tx: Transaction, row: ScalingInstance) -> None:
    """Delete the waits of an instance, which goes on."""
    mine = delete(LifecycleAction).where(LifecycleAction.instance_id == row.instance_id)
    tx.session.execute(mine.execution_options(synchronize_session=False))


def waits(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, list[Wait]]:
    """Return the waits of instances, by instance."""
    found: dict[str, list[Wait]] = {}
    for batch in lookup.batches(instance_ids):
        query = select(LifecycleAction).where(LifecycleAction.instance_id.in_(batch)).order_by(LifecycleAction.hook)
        for one in tx.session.scalars(query):
            found.setdefault(one.instance_id, []).append(Wait(one.result, one.default_result, one.until))
    return found


@dataclass(frozen=True, slots=True)
class ActionName:
    """How a request names an action: by its token, or by an instance; always with the hook."""

    hook: str
    token: str | None
    instance_id: str | None


def complete(tx: Transaction, group: ScalingGroup, named: ActionName, result: str, now: datetime) -> None:
    """End a wait with a result; raises InvalidParameter, NotFound."""
    check_result(result)
    action = _action(tx, group, named)
    action.result = result
    due_groups.wake(tx, group, now)


def beat(tx: Transaction, group: ScalingGroup, named: ActionName, now: datetime) -> None:
    """Let a wait last one heartbeat more from now on, but not longer than two days or a hundred of them."""
    action = _action(tx, group, named)
    action.until = min(now + timedelta(seconds=action.heartbeat), action.latest)
    due_groups.wake(tx, group, now)


def _action(tx: Transaction, group: ScalingGroup, named: ActionName) -> LifecycleAction:
    find(tx, group, named.hook)
    query = (
        select(LifecycleAction)
        .join(ScalingInstance, ScalingInstance.instance_id == LifecycleAction.instance_id)
        .where(ScalingInstance.group_id == group.id, LifecycleAction.hook == named.hook)
    )
    if named.token is None and named.instance_id is None:
        raise InvalidParameter("Either the LifecycleActionToken or the InstanceId is required.")
    if named.token is not None:
        query = query.where(LifecycleAction.token == named.token)
    if named.instance_id is not None:
        query = query.where(LifecycleAction.instance_id == named.instance_id)
    action = tx.session.scalar(query)
    if action is None or action.result is not None:
        what = f"token {named.token}" if named.token is not None else f"instance ID {named.instance_id}"
        raise NotFound("lifecycle-action", named.hook, message=f"No active Lifecycle Action found with {what}")
    return action
