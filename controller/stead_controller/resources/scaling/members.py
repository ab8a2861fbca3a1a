"""Instances of groups, as users find and move them."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Instance, ScalingActivity, ScalingGroup, ScalingInstance
from stead_controller.errors import InvalidParameter, NotFound, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.scaling import (
    activities,
    close_measuring,
    due_groups,
    groups,
    lifecycle_hooks,
    plan,
    target_states,
    words,
)
from stead_controller.resources.scaling.activities import Event
from stead_controller.resources.scaling.hook_notices import OUT_OF_GROUP
from stead_controller.resources.scaling.launches import Origin, owner
from stead_controller.resources.scaling.member import IN_SERVICE, PENDING, is_warm
from stead_controller.resources.scaling.member_row import member_row

AT_ONCE: Final = 20
"""How many instances a request can attach or detach."""

_MOST_PROTECTED: Final = 50
_SCOPE: Final = "scaling-instance"


def describe(
    tx: Transaction, caller: Caller, ids: Collection[str], *, after: str | None, limit: int
) -> list[tuple[ScalingInstance, str]]:
    """List instances of all groups with the groups' names, by id."""
    query = (
        select(ScalingInstance, ScalingGroup.name)
        .join(ScalingGroup, ScalingGroup.id == ScalingInstance.group_id)
        .where(ScalingInstance.account_id == caller.account_id)
        .order_by(ScalingInstance.instance_id)
    )
    if ids:
        query = query.where(ScalingInstance.instance_id.in_(ids))
    if after is not None:
        query = query.where(ScalingInstance.instance_id > after)
    return [(row, name) for row, name in tx.session.execute(query.limit(limit))]


def find(tx: Transaction, caller: Caller, instance_id: str) -> tuple[ScalingGroup, ScalingInstance]:
    """Return an instance and its group; raises NotFound."""
    row = tx.session.get(ScalingInstance, instance_id)
    if row is None or row.account_id != caller.account_id:
        message = f"Instance Id not found - No managed instance found for instance ID: {instance_id}"
        raise NotFound(_SCOPE, instance_id, message=message)
    return tx.session.get_one(ScalingGroup, row.group_id), row


def group_of(tx: Transaction, caller: Caller, instance_id: str) -> str | None:
    """Return the name of the group that has an instance, if any has."""
    mine = ScalingInstance.account_id == caller.account_id
    named = select(ScalingGroup.name).join(ScalingInstance, ScalingInstance.group_id == ScalingGroup.id)
    return tx.session.scalar(named.where(mine, ScalingInstance.instance_id == instance_id))


def terminate(
    tx: Transaction, caller: Caller, cloud: Cloud, instance_id: str, now: datetime, *, shrink: bool
) -> ScalingActivity:
    """End an instance, with `shrink` without another in its place; raises NotFound, WrongState."""
    group, row = find(tx, caller, instance_id)
    if is_warm(row):
        raise _in_warm_pool(row)
    if row.lifecycle_state in plan.LEAVING:
        raise WrongState(_SCOPE, f"The instance {instance_id} is being terminated already.")
    before = group.desired
    if shrink:
        _shrink(group, 1)
    lifecycle_hooks.forget(tx, row)
    activities.cut_short(tx, row.activity_id, now)
    cause = words.at(now, words.by_user(instance_id, "taken out of service", before, group.desired))
    event = Event(f"Terminating EC2 instance: {instance_id}", cause, instance_id, {"Availability Zone": row.zone})
    activity = activities.begin(tx, group, event, activities.IN_PROGRESS, now)
    row.activity_id, row.until, row.since = activity.id, None, now
    row.lifecycle_state = plan.TERMINATING
    if lifecycle_hooks.kinds(tx, group.id)[1]:
        row.lifecycle_state = plan.TERMINATING_WAIT
        target_states.show(tx, instance_id, target_states.TERMINATED)
        lifecycle_hooks.begin(tx, row, OUT_OF_GROUP, now)
    else:
        terminate_instances(tx, owner(cloud, group), [instance_id], now, even_protected=True)
    due_groups.wake(tx, group, now)
    tx.session.flush()
    return activity


def set_health(
    tx: Transaction, caller: Caller, instance_id: str, *, healthy: bool, respect_grace: bool, now: datetime
) -> None:
    """Say that an instance is healthy or not; within the grace period it stays healthy. Raises NotFound."""
    group, row = find(tx, caller, instance_id)
    if not healthy and respect_grace and _in_grace(group, row, now):
        return
    row.healthy = healthy
    due_groups.wake(tx, group, now)


def _in_grace(group: ScalingGroup, row: ScalingInstance, now: datetime) -> bool:
    if is_warm(row):
        return False
    return row.in_service is None or (now - row.in_service).total_seconds() < group.health_grace


def protect(tx: Transaction, caller: Caller, name: str, ids: Sequence[str], *, protected: bool, now: datetime) -> None:
    """Protect instances from scaling in, or no longer; raises NotFound, InvalidParameter, WrongState."""
    group = groups.find(tx, caller, name)
    if len(ids) > _MOST_PROTECTED:
        raise InvalidParameter(f"At most {_MOST_PROTECTED} instances can be named in one request.")
    for row in _members(tx, group, ids):
        if is_warm(row):
            raise _in_warm_pool(row)
        if row.lifecycle_state not in (IN_SERVICE, *PENDING):
            raise _not_in(row, "InService or Pending")
        row.protected = protected
    due_groups.wake(tx, group, now)


def attach(tx: Transaction, caller: Caller, name: str, ids: Sequence[str], now: datetime) -> None:
    """Make running instances members of a group, which grows by them.

    Raises NotFound, InvalidParameter, WrongState.
    """
    group = groups.find(tx, caller, name)
    wanted = _some(ids)
    if group.desired + len(wanted) > group.max_size:
        raise InvalidParameter(
            f"AutoScalingGroup {name} has max-size={group.max_size}: {len(wanted)} instance(s) more would exceed it."
        )
    mine = Instance.account_id == caller.account_id
    found = {one.id: one for one in tx.session.scalars(select(Instance).where(mine, Instance.id.in_(wanted)))}
    before = group.desired
    for instance_id in wanted:
        instance = found.get(instance_id)
        if instance is None:
            raise InvalidParameter(f"Invalid Instance ID(s): [{instance_id}]")
        if instance.state != "running":
            raise WrongState(_SCOPE, f"The instance {instance_id} is in the state {instance.state}, not running.")
        if tx.session.get(ScalingInstance, instance_id) is not None:
            raise WrongState(_SCOPE, f"The instance {instance_id} is already part of an AutoScalingGroup.")
        if instance.zone not in group.zones:
            raise InvalidParameter(f"The instance {instance_id} is in the zone {instance.zone}, where {name} is not.")
        row = member_row(group, instance_id, instance.zone, instance.instance_type, now, origin=Origin())
        row.spot = instance.spot_request_id is not None
        row.launched, row.lifecycle_state, row.in_service = instance.launch_time, IN_SERVICE, now
        tx.session.add(row)
        target_states.show(tx, instance_id, IN_SERVICE)
        cause = words.at(now, words.by_user(instance_id, "attached", before, before + 1))
        event = Event(f"Attaching an existing EC2 instance: {instance_id}", cause, instance_id)
        activities.note(tx, group, event, now)
        before += 1
    group.desired = before
    close_measuring.settle(tx, group, wanted)
    due_groups.wake(tx, group, now)
    tx.session.flush()


def detach(
    tx: Transaction, caller: Caller, name: str, ids: Sequence[str], now: datetime, *, shrink: bool
) -> list[ScalingActivity]:
    """Let instances go, which keep running; raises NotFound, InvalidParameter, WrongState."""
    group = groups.find(tx, caller, name)
    rows = list(_members(tx, group, _some(ids)))
    if shrink:
        _check_shrink(group, sum(row.lifecycle_state != plan.STANDBY for row in rows))
    done = []
    for row in rows:
        if row.lifecycle_state not in (IN_SERVICE, plan.STANDBY):
            raise _not_in(row, "InService or Standby")
        before = group.desired
        if shrink and row.lifecycle_state != plan.STANDBY:
            group.desired -= 1
        cause = words.at(now, words.by_user(row.instance_id, "detached", before, group.desired))
        event = Event(f"Detaching EC2 instance: {row.instance_id}", cause, row.instance_id)
        done.append(activities.note(tx, group, event, now))
        tx.session.delete(row)
        target_states.show(tx, row.instance_id, target_states.DETACHED)
    close_measuring.stop(tx, [row.instance_id for row in rows])
    due_groups.wake(tx, group, now)
    tx.session.flush()
    return done


def enter_standby(
    tx: Transaction, caller: Caller, name: str, ids: Sequence[str], now: datetime, *, shrink: bool
) -> list[ScalingActivity]:
    """Take instances out of service for a while; raises NotFound, InvalidParameter, WrongState."""
    group = groups.find(tx, caller, name)
    rows = list(_members(tx, group, _some(ids)))
    if shrink:
        _check_shrink(group, len(rows))
    done = []
    for row in rows:
        if row.lifecycle_state != IN_SERVICE:
            raise _not_in(row, IN_SERVICE)
        before = group.desired
        group.desired -= shrink
        cause = words.at(now, words.by_user(row.instance_id, "moved to standby", before, group.desired))
        event = Event(f"Moving EC2 instance to Standby: {row.instance_id}", cause, row.instance_id)
        done.append(activities.note(tx, group, event, now))
        row.lifecycle_state, row.since, row.until = plan.STANDBY, now, None
        target_states.show(tx, row.instance_id, plan.STANDBY)
    due_groups.wake(tx, group, now)
    tx.session.flush()
    return done


def exit_standby(
    tx: Transaction, caller: Caller, name: str, ids: Sequence[str], now: datetime
) -> list[ScalingActivity]:
    """Take instances into service again, by which the group grows; raises NotFound, InvalidParameter, WrongState."""
    group = groups.find(tx, caller, name)
    rows = list(_members(tx, group, _some(ids)))
    if group.desired + len(rows) > group.max_size:
        raise InvalidParameter(
            f"AutoScalingGroup {name} has max-size={group.max_size}: {len(rows)} instance(s) more would exceed it."
        )
    done = []
    for row in rows:
        if row.lifecycle_state != plan.STANDBY:
            raise _not_in(row, plan.STANDBY)
        cause = words.at(now, words.by_user(row.instance_id, "moved out of standby", group.desired, group.desired + 1))
        event = Event(f"Moving EC2 instance out of Standby: {row.instance_id}", cause, row.instance_id)
        activity = activities.begin(tx, group, event, activities.STARTING, now)
        done.append(activity)
        group.desired += 1
        row.lifecycle_state, row.since, row.activity_id = "Pending", now, activity.id
        row.healthy = True
        target_states.show(tx, row.instance_id, IN_SERVICE)
    due_groups.wake(tx, group, now)
    tx.session.flush()
    return done


def _some(ids: Sequence[str]) -> Sequence[str]:
    if not ids:
        raise InvalidParameter("At least one instance has to be named: InstanceIds.")
    if len(ids) > AT_ONCE:
        raise InvalidParameter(f"At most {AT_ONCE} instances can be named in one request.")
    return list(dict.fromkeys(ids))


def _members(tx: Transaction, group: ScalingGroup, ids: Sequence[str]) -> Iterator[ScalingInstance]:
    for instance_id in ids:
        row = tx.session.get(ScalingInstance, instance_id)
        if row is None or row.group_id != group.id:
            message = f"The instance {instance_id} is not part of Auto Scaling group {group.name}."
            raise NotFound(_SCOPE, instance_id, message=message)
        yield row


def _shrink(group: ScalingGroup, count: int) -> None:
    _check_shrink(group, count)
    group.desired -= count


def _check_shrink(group: ScalingGroup, count: int) -> None:
    """Raise InvalidParameter where a group may not become so much smaller."""
    if group.desired - count < group.min_size:
        raise InvalidParameter(
            f"Currently, desiredSize equals {group.desired}. Terminating instance without replacement will violate "
            f"group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's "
            "min size."
        )


def _not_in(row: ScalingInstance, states: str) -> WrongState:
    return WrongState(_SCOPE, f"The instance {row.instance_id} is not in {states}, but in {row.lifecycle_state}.")


def _in_warm_pool(row: ScalingInstance) -> WrongState:
    return WrongState(_SCOPE, f"The instance {row.instance_id} is in a warm pool, for which this cannot be done.")
