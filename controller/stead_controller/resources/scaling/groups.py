"""Auto Scaling groups: create, change, find and delete them. What follows from it is done by `group_step.py`."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import ScalingGroup, ScalingInstance, ScalingTag, Subnet, WarmPool
from stead_controller.errors import (
    AlreadyExists,
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    NotFound,
    WrongState,
)
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import activities, due_groups, group_metrics, group_tags, policy_alarms, words
from stead_controller.resources.scaling.group_tags import GroupTag
from stead_controller.resources.scaling.member import is_warm
from stead_controller.resources.scaling.termination import POLICIES

MOST: Final = 500
"""How many groups an account can have, as in AWS by default."""

PROCESSES: Final = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)
"""What can be suspended."""

_LEAST_LIFETIME: Final = 86_400
_MOST_LIFETIME: Final = 31_536_000
_COOLDOWN: Final = 300
_USER_SUSPENDED: Final = "User suspended at {:%Y-%m-%dT%H:%M:%SZ}"
_HEALTH_TYPES: Final = ("EC2",)


type ShownRow = ScalingGroup
"""A group's own values as they are shown."""

type ShownMember = ScalingInstance
"""An instance as it is shown."""

type ShownTag = ScalingTag
"""A tag as it is shown."""

type ShownPool = WarmPool
"""A warm pool as it is shown."""


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """What a request says of a group; None is what it does not say. Times are in seconds.

    `launch` is the JSON of what instances are launched by. A `warmup` of -1 means none, as do a `lifetime` of 0 and
    percentages of a maintenance policy (`healthy`) of -1.
    """

    launch: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    desired: int | None = None
    zones: Sequence[str] | None = None
    subnets: Sequence[str] | None = None
    cooldown: int | None = None
    health_type: str | None = None
    health_grace: int | None = None
    warmup: int | None = None
    protect_new: bool | None = None
    termination_policies: Sequence[str] | None = None
    placement_group: str | None = None
    context: str | None = None
    lifetime: int | None = None
    healthy: tuple[int, int] | None = None
    tags: Sequence[GroupTag] = ()


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group with its instances and tags, and the names of the metrics that are collected of it.

    `warm` is how many more instances there are in its warm pool.
    """

    row: ScalingGroup
    members: Sequence[ScalingInstance]
    tags: Sequence[ScalingTag]
    metrics: Sequence[str]
    pool: WarmPool | None
    warm: int


def arn_of(cloud: Cloud, account_id: str, group_id: str, name: str) -> str:
    """Return a group's ARN; of one whose id is not known, `group_id` is `*`."""
    place = f"arn:{cloud.partition}:autoscaling:{cloud.region}:{account_id}"
    return f"{place}:autoScalingGroup:{group_id}:autoScalingGroupName/{name}"


def arn_of_name(tx: Transaction, caller: Caller, cloud: Cloud, name: str) -> str:
    """Return the ARN of a group that may not be there."""
    found = look_up(tx, caller, name)
    return arn_of(cloud, caller.account_id, "*" if found is None else found.id, name)


def look_up(tx: Transaction, caller: Caller, name: str) -> ScalingGroup | None:
    """Return a group, None if there is none of this name."""
    mine = ScalingGroup.account_id == caller.account_id
    return tx.session.scalar(select(ScalingGroup).where(mine, ScalingGroup.name == name))


def count(tx: Transaction, caller: Caller) -> int:
    """Return how many groups an account has."""
    mine = select(func.count()).select_from(ScalingGroup).where(ScalingGroup.account_id == caller.account_id)
    return tx.session.scalar(mine) or 0


def require(tx: Transaction, caller: Caller, name: str) -> ScalingGroup:
    """Return a group; raises NotFound."""
    found = look_up(tx, caller, name)
    if found is None:
        message = f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"
        raise NotFound("scaling-group", name, message=message)
    return found


def find(tx: Transaction, caller: Caller, name: str) -> ScalingGroup:
    """Return a group that can be changed; raises NotFound, WrongState while it is being deleted."""
    found = require(tx, caller, name)
    if found.deleting:
        raise WrongState("scaling-group", f"The AutoScalingGroup '{name}' is pending delete.")
    return found


def create(tx: Transaction, caller: Caller, cloud: Cloud, name: str, asked: GroupRequest, *, now: datetime) -> str:
    """Make a group and return its id; raises InvalidParameter, InvalidCombination, AlreadyExists, LimitExceeded."""
    if look_up(tx, caller, name) is not None:
        raise AlreadyExists(
            "scaling-group",
            f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
        )
    if count(tx, caller) >= MOST:
        raise LimitExceeded(f"You have reached the limit of {MOST} AutoScalingGroups.")
    row = ScalingGroup(
        id=str(uuid.uuid4()),
        account_id=caller.account_id,
        name=name,
        created=now,
        launch=asked.launch or "",
        refreshing=None,
        zones=[],
        subnets=[],
        min_size=asked.min_size or 0,
        max_size=asked.max_size or 0,
        desired=asked.min_size or 0,
        cooldown=_COOLDOWN,
        health_type="EC2",
        health_grace=0,
        warmup=None,
        max_lifetime=None,
        min_healthy=None,
        max_healthy=None,
        protect_new=False,
        termination_policies=["Default"],
        suspended={},
        placement_group=None,
        context=None,
        deleting=False,
        why="",
        scaled=None,
        failures=0,
        retry_at=None,
        balance_at=None,
        due=now,
    )
    _apply(tx, caller, cloud, row, asked)
    row.desired = row.min_size if asked.desired is None else asked.desired
    _check_sizes(row)
    if row.desired:
        row.why = words.at(now, words.created(row.desired))
    tx.session.add(row)
    tx.session.flush()
    group_tags.put(tx, row, asked.tags)
    due_groups.wake(tx, row, now)
    return row.id


def update(tx: Transaction, caller: Caller, cloud: Cloud, name: str, asked: GroupRequest, *, now: datetime) -> None:
    """Change what a request says of a group; raises NotFound, InvalidParameter, InvalidCombination, WrongState."""
    row = find(tx, caller, name)
    before = row.desired
    _apply(tx, caller, cloud, row, asked)
    if asked.desired is not None:
        row.desired = asked.desired
    elif row.min_size <= row.max_size:
        row.desired = min(max(row.desired, row.min_size), row.max_size)
    _check_sizes(row)
    if row.desired != before:
        desired, row.desired = row.desired, before
        why = words.constrained((row.min_size, row.max_size, desired), before)
        change_desired(tx, row, desired, words.at(now, why), now)
    row.failures, row.retry_at = 0, None
    due_groups.wake(tx, row, now)


def set_desired(
    tx: Transaction, caller: Caller, name: str, desired: int, now: datetime, *, honor_cooldown: bool = False
) -> None:
    """Change the desired capacity; raises NotFound, InvalidParameter, WrongState during a cooldown that is honoured."""
    row = find(tx, caller, name)
    if desired > row.max_size:
        what = f"above max value {row.max_size}"
        raise InvalidParameter(f"New SetDesiredCapacity value {desired} is {what} for the AutoScalingGroup.")
    if desired < row.min_size:
        what = f"below min value {row.min_size}"
        raise InvalidParameter(f"New SetDesiredCapacity value {desired} is {what} for the AutoScalingGroup.")
    if honor_cooldown and is_cooling(row, now):
        raise WrongState(
            "scaling-group",
            f"The AutoScalingGroup '{name}' is in its cooldown period.",
            code="ScalingActivityInProgress",
        )
    if desired != row.desired:
        change_desired(tx, row, desired, words.at(now, words.set_explicitly(row.desired, desired)), now)


def is_cooling(row: ScalingGroup, now: datetime) -> bool:
    """Tell whether the latest scaling activity is less than the default cooldown ago."""
    return row.scaled is not None and (now - row.scaled).total_seconds() < row.cooldown


def change_desired(tx: Transaction, row: ScalingGroup, desired: int, why: str, now: datetime) -> None:
    """Change a group's desired capacity for a reason, which its next activities tell, and wake it."""
    row.desired = desired
    row.why = f"{row.why}  {why}" if row.why else why
    row.failures, row.retry_at = 0, None
    due_groups.wake(tx, row, now)


def remove(tx: Transaction, caller: Caller, name: str, now: datetime, *, force: bool) -> None:
    """Delete a group; with its instances if `force` is set. Raises NotFound, InUse, WrongState."""
    row = find(tx, caller, name)
    has_any = select(ScalingInstance.instance_id).where(ScalingInstance.group_id == row.id).limit(1)
    if not force and activities.are_under_way(tx, row.id):
        raise WrongState(
            "scaling-group",
            "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.",
            code="ScalingActivityInProgress",
        )
    if not force and tx.session.scalar(has_any) is not None:
        raise InUse(
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
            "still in the group."
        )
    row.deleting = True
    row.min_size = row.max_size = row.desired = 0
    policy_alarms.remove_all(tx, row, now)
    due_groups.wake(tx, row, now)
    if tx.session.scalar(has_any) is None:
        tx.session.delete(row)
    tx.session.flush()


def suspend(tx: Transaction, caller: Caller, name: str, processes: Collection[str], now: datetime) -> None:
    """Suspend processes, all if none is named; raises NotFound, InvalidParameter."""
    row = find(tx, caller, name)
    reason = _USER_SUSPENDED.format(now)
    row.suspended = {**dict.fromkeys(_processes(processes), reason), **row.suspended}
    due_groups.wake(tx, row, now)


def resume(tx: Transaction, caller: Caller, name: str, processes: Collection[str], now: datetime) -> None:
    """Resume processes, all if none is named; raises NotFound, InvalidParameter."""
    row = find(tx, caller, name)
    resumed = _processes(processes)
    row.suspended = {process: reason for process, reason in row.suspended.items() if process not in resumed}
    due_groups.wake(tx, row, now)


def describe(
    tx: Transaction,
    caller: Caller,
    *,
    names: Collection[str],
    filters: Mapping[str, Sequence[str]],
    after: str | None,
    limit: int,
) -> list[ShownGroup]:
    """List the caller's groups by name; `filters` are of tags: by tag-key, tag-value, or tag:KEY, all of them."""
    query = select(ScalingGroup).where(ScalingGroup.account_id == caller.account_id).order_by(ScalingGroup.name)
    if names:
        query = query.where(ScalingGroup.name.in_(names))
    if after is not None:
        query = query.where(ScalingGroup.name > after)
    for name, values in filters.items():
        query = query.where(ScalingGroup.id.in_(group_tags.groups_with(caller.account_id, name, values)))
    rows = tx.session.scalars(query.limit(limit)).all()
    of_these = [row.id for row in rows]
    members = _by_group(tx, of_these)
    tags = group_tags.of_groups(tx, of_these)
    metrics = group_metrics.of_groups(tx, of_these)
    pools = tx.session.scalars(select(WarmPool).where(WarmPool.group_id.in_(of_these)))
    pool_of = {pool.group_id: pool for pool in pools}
    shown = []
    for row in rows:
        all_of_it = members.get(row.id, ())
        live = [one for one in all_of_it if not is_warm(one)]
        warm = len(all_of_it) - len(live)
        shown.append(ShownGroup(row, live, tags.get(row.id, ()), metrics.get(row.id, ()), pool_of.get(row.id), warm))
    return shown


def _by_group(tx: Transaction, group_ids: Sequence[str]) -> Mapping[str, Sequence[ScalingInstance]]:
    found: dict[str, list[ScalingInstance]] = {}
    query = select(ScalingInstance).where(ScalingInstance.group_id.in_(group_ids)).order_by(ScalingInstance.instance_id)
    for one in tx.session.scalars(query):
        found.setdefault(one.group_id, []).append(one)
    return found


def _processes(asked: Collection[str]) -> Collection[str]:
    for name in asked:
        if name not in PROCESSES:
            raise InvalidParameter(f"The scaling process {name} is not one of {', '.join(PROCESSES)}.")
    return asked or PROCESSES


def _check_sizes(row: ScalingGroup) -> None:
    if row.min_size < 0 or row.max_size < 0:
        raise InvalidParameter("The minimum and the maximum size of an AutoScalingGroup must not be negative.")
    if row.max_size < row.min_size:
        raise InvalidParameter(f"Max bound, {row.max_size}, must be greater than or equal to min bound, {row.min_size}")
    if not row.min_size <= row.desired <= row.max_size:
        raise InvalidParameter(
            f"Desired capacity:{row.desired} must be between the specified min size:{row.min_size} and max "
            f"size:{row.max_size}"
        )


def _apply(tx: Transaction, caller: Caller, cloud: Cloud, row: ScalingGroup, asked: GroupRequest) -> None:
    """Write what a request says, but for the desired capacity."""
    for name in (
        "launch",
        "min_size",
        "max_size",
        "cooldown",
        "health_grace",
        "protect_new",
        "placement_group",
        "context",
    ):
        value = getattr(asked, name)
        if value is not None:
            setattr(row, name, value)
    for name in ("cooldown", "health_grace"):
        if getattr(row, name) < 0:
            raise InvalidParameter(f"The value {getattr(row, name)} is negative: seconds are expected.")
    if asked.warmup is not None:
        if asked.warmup < -1:
            raise InvalidParameter(f"The DefaultInstanceWarmup {asked.warmup} is negative.")
        row.warmup = None if asked.warmup == -1 else asked.warmup
    _replace(row, asked)
    if asked.health_type is not None:
        _check_health_type(asked.health_type)
        row.health_type = asked.health_type
    if asked.termination_policies is not None:
        unknown = [policy for policy in asked.termination_policies if policy not in POLICIES]
        if unknown:
            raise InvalidParameter(f"The termination policy {unknown[0]} is not one of {', '.join(POLICIES)}.")
        row.termination_policies = list(asked.termination_policies) or ["Default"]
    _place(tx, caller, cloud, row, asked)


def _replace(row: ScalingGroup, asked: GroupRequest) -> None:
    """Write when and how instances are replaced."""
    if asked.lifetime is not None:
        if asked.lifetime and not _LEAST_LIFETIME <= asked.lifetime <= _MOST_LIFETIME:
            raise InvalidParameter(
                f"The MaxInstanceLifetime {asked.lifetime} is neither 0 nor from {_LEAST_LIFETIME} to {_MOST_LIFETIME}."
            )
        row.max_lifetime = asked.lifetime or None
    if asked.healthy is None:
        return
    least, most = asked.healthy
    if asked.healthy == (-1, -1):
        row.min_healthy = row.max_healthy = None
        return
    if not 0 <= least <= 100 <= most <= 200 or most - least > 100:
        raise InvalidParameter(
            "An InstanceMaintenancePolicy has a MinHealthyPercentage from 0 to 100 and a MaxHealthyPercentage from 100 "
            "to 200, which differ by 100 at most."
        )
    row.min_healthy, row.max_healthy = least, most


def _check_health_type(given: str) -> None:
    for name in given.split(","):
        if name not in _HEALTH_TYPES:
            raise InvalidParameter(f"The HealthCheckType {name} is not supported: there are no load balancers here.")


def _place(tx: Transaction, caller: Caller, cloud: Cloud, row: ScalingGroup, asked: GroupRequest) -> None:
    """Write where the instances of a group are: in subnets, or in the default subnets of zones."""
    if asked.subnets:
        wanted = list(dict.fromkeys(asked.subnets))
        mine = Subnet.account_id == caller.account_id
        found = {
            subnet_id: (zone, vpc_id)
            for subnet_id, zone, vpc_id in tx.session.execute(
                select(Subnet.id, Subnet.zone, Subnet.vpc_id).where(mine, Subnet.id.in_(wanted))
            )
        }
        missing = [subnet_id for subnet_id in wanted if subnet_id not in found]
        if missing:
            raise InvalidParameter(f"The subnet ID '{missing[0]}' does not exist")
        zones = sorted({zone for zone, _ in found.values()})
        if asked.zones and set(asked.zones) != set(zones):
            raise InvalidCombination(
                "The availability zones of the specified subnets and the AutoScalingGroup do not match"
            )
        if len({vpc_id for _, vpc_id in found.values()}) > 1:
            raise InvalidCombination("The subnets of an AutoScalingGroup must be of one VPC.")
        row.subnets, row.zones = wanted, zones
    elif asked.zones:
        unknown = [zone for zone in asked.zones if zone not in cloud.zones]
        if unknown:
            raise InvalidParameter(f"Invalid availability zones: [{unknown[0]}]")
        row.subnets, row.zones = [], sorted(set(asked.zones))
    if not row.zones:
        raise InvalidParameter("At least one Availability Zone or VPC Subnet is required.")
