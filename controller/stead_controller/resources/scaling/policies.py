"""Scaling policies of groups: put, found and deleted. What they do is in `policy_execution.py`."""

import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import ScalingGroup, ScalingPolicy
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import close_measuring, groups, policy_alarms
from stead_controller.resources.scaling.policy import TRACKING, Policy, read

MOST: Final = 50
"""Policies of a group, as in AWS."""

_ARN: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):autoscaling:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):scalingPolicy:"
    r"(?P<token>[0-9a-f-]{36}):autoScalingGroupName/(?P<group>[^:]{1,255}):policyName/(?P<name>.{1,255})\Z",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ShownPolicy:
    """A policy with the name of its group, its ARN, and the names of the alarms that have it act."""

    group: str
    name: str
    arn: str
    enabled: bool
    policy: Policy
    alarms: Sequence[str]


@dataclass(frozen=True, slots=True)
class PolicySearch:
    """Which policies are asked for; names may be ARNs, and empty means any."""

    group: str | None = None
    names: Collection[str] = ()
    kinds: Collection[str] = ()


def put(  # noqa: PLR0917 - of whom, what, when
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    group_name: str,
    name: str,
    policy: Policy,
    now: datetime,
    *,
    enabled: bool = True,
) -> ShownPolicy:
    """Make a policy of a group, or change the one of this name; raises NotFound, InvalidParameter, LimitExceeded."""
    if ":" in name:
        raise InvalidParameter("PolicyName must not contain a colon.")
    policy.check()
    group = groups.find(tx, caller, group_name)
    row = tx.session.get(ScalingPolicy, (group.id, name))
    if row is None:
        mine = select(func.count()).select_from(ScalingPolicy).where(ScalingPolicy.group_id == group.id)
        if tx.session.scalars(mine).one() >= MOST:
            raise LimitExceeded(f"An AutoScalingGroup can have at most {MOST} scaling policies.")
        row = ScalingPolicy(group_id=group.id, name=name, token=str(uuid.uuid4()), alarms=[])
    elif row.kind != policy.kind:
        raise InvalidParameter(f"The type of a policy cannot be changed: {name} is of the type {row.kind}.")
    row.kind, row.enabled, row.definition = policy.kind, enabled, policy.text()
    tx.session.add(row)
    tx.session.flush()
    if policy.tracking is not None:
        policy_alarms.put(tx, cloud, group, row, policy.tracking, now)
        tx.session.flush()
        close_measuring.settle(tx, group)
    return _shown(tx, cloud, group, [row])[0]


def search(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: PolicySearch, *, after: Sequence[str] | None, limit: int
) -> list[ShownPolicy]:
    """List policies by the names of their groups and their own; `after` are both; raises NotFound for no group."""
    if asked.group is not None:
        groups.require(tx, caller, asked.group)
    query = select(ScalingPolicy, ScalingGroup).join(ScalingGroup, ScalingGroup.id == ScalingPolicy.group_id)
    query = query.where(ScalingGroup.account_id == caller.account_id)
    if asked.group is not None:
        query = query.where(ScalingGroup.name == asked.group)
    if asked.names:
        tokens = {arn["token"] for name in asked.names if (arn := _ARN.match(name))}
        query = query.where(ScalingPolicy.name.in_(asked.names) | ScalingPolicy.token.in_(tokens))
    if asked.kinds:
        query = query.where(ScalingPolicy.kind.in_(asked.kinds))
    if after is not None:
        group, name = after
        beyond = (ScalingGroup.name == group) & (ScalingPolicy.name > name)
        query = query.where((ScalingGroup.name > group) | beyond)
    found = tx.session.execute(query.order_by(ScalingGroup.name, ScalingPolicy.name).limit(limit)).all()
    names = policy_alarms.names_of(tx, caller.account_id, [row for row, _ in found])
    return [_view(cloud, group, row, names.get(row.token, ())) for row, group in found]


def remove(tx: Transaction, caller: Caller, group_name: str | None, name: str, now: datetime) -> None:
    """Delete a policy with the alarms that it has made; raises NotFound, WrongState, InvalidParameter."""
    group, row = find(tx, caller, group_name, name)
    policy_alarms.remove(tx, group, row.alarms, now)
    tx.session.delete(row)
    tx.session.flush()
    if row.kind == TRACKING:
        close_measuring.settle(tx, group)


def find(tx: Transaction, caller: Caller, group_name: str | None, name: str) -> tuple[ScalingGroup, ScalingPolicy]:
    """Return a policy by its name in a group, or by its ARN; raises NotFound, WrongState, InvalidParameter."""
    arn = _ARN.match(name)
    if arn is None and group_name is None:
        raise InvalidParameter("Without AutoScalingGroupName the policy must be named by its ARN.")
    if arn is not None and group_name not in (None, arn["group"]):
        raise _absent(name)
    group = groups.find(tx, caller, arn["group"] if arn is not None else group_name or "")
    row = tx.session.get(ScalingPolicy, (group.id, name if arn is None else arn["name"]))
    if row is None or (arn is not None and (arn["token"], arn["account"]) != (row.token, caller.account_id)):
        raise _absent(name)
    return group, row


def group_of_arn(arn: str) -> str | None:
    """Return the name of the group in a policy's ARN, None for what is no such ARN."""
    found = _ARN.match(arn)
    return None if found is None else found["group"]


def _absent(name: str) -> NotFound:
    return NotFound("scaling-policy", name, message=f"Cannot find a scaling policy with the name '{name}'.")


def _shown(tx: Transaction, cloud: Cloud, group: ScalingGroup, rows: Sequence[ScalingPolicy]) -> list[ShownPolicy]:
    names = policy_alarms.names_of(tx, group.account_id, rows)
    return [_view(cloud, group, row, names.get(row.token, ())) for row in rows]


def _view(cloud: Cloud, group: ScalingGroup, row: ScalingPolicy, names: Sequence[str]) -> ShownPolicy:
    arn = policy_alarms.arn_of(cloud, group, row)
    return ShownPolicy(group.name, row.name, arn, row.enabled, read(row.definition), names)
