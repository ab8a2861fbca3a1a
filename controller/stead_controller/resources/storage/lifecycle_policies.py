"""Create, change, show, tag and delete lifecycle policies.

See https://docs.aws.amazon.com/dlm/latest/APIReference/API_Operations.html.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import LifecyclePolicy, LifecycleSchedule
from stead_controller.errors import InvalidParameter, LimitExceeded, MissingParameter, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import lifecycle_rules

PER_ACCOUNT: Final = 100
"""EC2's default quota of policies."""

_KIND: Final = "lifecycle-policy"
_TAGS: Final = 50
_STATES: Final = {"ENABLED": True, "DISABLED": False}
_DESCRIPTION: Final = re.compile(r"[0-9A-Za-z _-]{0,500}\Z")
_ROLE: Final = re.compile(r"arn:aws(-[a-z]{1,3}){0,2}:iam::\d+:role/.{1,1900}\Z")


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A request's parameters of a policy; None for absent ones."""

    role_arn: str | None = None
    description: str | None = None
    state: str | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Which policies GetLifecyclePolicies asks for; tags are texts `key=value`."""

    policy_ids: tuple[str, ...] = ()
    state: str | None = None
    resource_types: tuple[str, ...] = ()
    target_tags: tuple[str, ...] = ()
    tags_to_add: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribedPolicy:
    """A policy; `details` are PolicyDetails as the caller wrote them."""

    policy: LifecyclePolicy
    arn: str
    details: Mapping[str, Any]
    tags: Mapping[str, str]


def create(tx: Transaction, caller: Caller, request: PolicyRequest, tags: Mapping[str, str], now: datetime) -> str:
    """Make a policy and return its id; raises InvalidParameter, MissingParameter, Unsupported, LimitExceeded."""
    if request.details is None:
        raise MissingParameter("PolicyDetails")
    _check_tags(tags)
    mine = select(func.count()).where(LifecyclePolicy.account_id == caller.account_id)
    if tx.session.scalars(mine).one() >= PER_ACCOUNT:
        raise LimitExceeded(f"An account may have at most {PER_ACCOUNT} policies.")
    policy = LifecyclePolicy(
        id=ids.new_id(_KIND),
        account_id=caller.account_id,
        description="",
        enabled=False,
        execution_role_arn="",
        details="",
        tags=json.dumps(dict(tags), sort_keys=True),
        created=now,
        modified=now,
    )
    _apply(policy, request)
    tx.session.add(policy)
    tx.session.flush()
    _schedule(tx, policy, now)
    return policy.id


def update(tx: Transaction, caller: Caller, policy_id: str, request: PolicyRequest, now: datetime) -> None:
    """Change a policy; what it says of schedules holds from now on. Raises what `create` raises, and NotFound."""
    policy = _find(tx, caller, policy_id)
    _apply(policy, request)
    policy.modified = now
    tx.session.flush()
    _schedule(tx, policy, now)


def remove(tx: Transaction, caller: Caller, policy_id: str) -> None:
    """Delete a policy; the snapshots that it made stay. Raises NotFound."""
    policy = _find(tx, caller, policy_id)
    tx.session.delete(policy)
    tx.session.flush()


def find(tx: Transaction, caller: Caller, cloud: Cloud, policy_id: str) -> DescribedPolicy:
    """Return a policy; raises NotFound."""
    return _described(cloud, _find(tx, caller, policy_id))


def search(tx: Transaction, caller: Caller, cloud: Cloud, asked: Search) -> list[DescribedPolicy]:
    """Find policies, sorted by id; an account has few. Raises NotFound for ids."""
    mine = select(LifecyclePolicy).where(LifecyclePolicy.account_id == caller.account_id)
    found = {policy.id: policy for policy in tx.session.scalars(mine.order_by(LifecyclePolicy.id))}
    for policy_id in asked.policy_ids:
        if policy_id not in found:
            raise NotFound(_KIND, policy_id)
    wanted = asked.policy_ids or found
    known = (_described(cloud, policy) for policy in found.values() if policy.id in wanted)
    return [one for one in known if _matches(one, asked)]


def tags_of(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> dict[str, str]:
    """Return the tags of a policy by its ARN; raises NotFound."""
    tags: dict[str, str] = json.loads(_find_by_arn(tx, caller, cloud, arn).tags)
    return tags


def tag(tx: Transaction, caller: Caller, cloud: Cloud, arn: str, tags: Mapping[str, str]) -> None:
    """Set tags of a policy; raises NotFound, InvalidParameter."""
    policy = _find_by_arn(tx, caller, cloud, arn)
    changed = {**json.loads(policy.tags), **tags}
    _check_tags(changed)
    policy.tags = json.dumps(changed, sort_keys=True)


def untag(tx: Transaction, caller: Caller, cloud: Cloud, arn: str, keys: Iterable[str]) -> None:
    """Delete tags of a policy; raises NotFound."""
    policy = _find_by_arn(tx, caller, cloud, arn)
    doomed = set(keys)
    remaining = {key: value for key, value in json.loads(policy.tags).items() if key not in doomed}
    policy.tags = json.dumps(remaining, sort_keys=True)


def _apply(policy: LifecyclePolicy, request: PolicyRequest) -> None:
    if request.description is not None:
        if not _DESCRIPTION.match(request.description):
            raise InvalidParameter("Description may have letters, digits, spaces, - and _, at most 500.")
        policy.description = request.description
    if request.role_arn is not None:
        if not _ROLE.match(request.role_arn):
            raise InvalidParameter("ExecutionRoleArn is not the ARN of a role.")
        policy.execution_role_arn = request.role_arn
    if request.state is not None:
        if request.state not in _STATES:
            raise InvalidParameter(f"State must be one of {', '.join(_STATES)}.")
        policy.enabled = _STATES[request.state]
    if request.details is not None:
        lifecycle_rules.read(request.details)
        policy.details = json.dumps(request.details, sort_keys=True)


def _schedule(tx: Transaction, policy: LifecyclePolicy, now: datetime) -> None:
    """Set each schedule's next time; a disabled policy is never due."""
    tx.session.execute(delete(LifecycleSchedule).where(LifecycleSchedule.policy_id == policy.id))
    tx.session.expire_all()
    for schedule in lifecycle_rules.read(json.loads(policy.details)).schedules:
        due = schedule.next_after(now) if policy.enabled else None
        check = now if policy.enabled else None
        tx.session.add(LifecycleSchedule(policy_id=policy.id, name=schedule.name, next_run=due, next_check=check))
    tx.session.flush()


def _described(cloud: Cloud, policy: LifecyclePolicy) -> DescribedPolicy:
    return DescribedPolicy(policy, _arn(cloud, policy), json.loads(policy.details), json.loads(policy.tags))


def _find(tx: Transaction, caller: Caller, policy_id: str) -> LifecyclePolicy:
    policy = _own(tx, caller, policy_id)
    if policy is None:
        raise NotFound(_KIND, policy_id)
    return policy


def _find_by_arn(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> LifecyclePolicy:
    policy = _own(tx, caller, arn.rpartition("/")[2])
    if policy is None or arn != _arn(cloud, policy):
        raise NotFound(_KIND, arn)
    return policy


def _own(tx: Transaction, caller: Caller, policy_id: str) -> LifecyclePolicy | None:
    mine = LifecyclePolicy.account_id == caller.account_id
    return tx.session.scalar(select(LifecyclePolicy).where(mine, LifecyclePolicy.id == policy_id))


def _arn(cloud: Cloud, policy: LifecyclePolicy) -> str:
    return f"arn:{cloud.partition}:dlm:{cloud.region}:{policy.account_id}:policy/{policy.id}"


def _matches(found: DescribedPolicy, asked: Search) -> bool:
    if asked.state is not None and (asked.state == "ENABLED") != found.policy.enabled:
        return False
    rules = lifecycle_rules.read(found.details)
    if asked.resource_types and ("INSTANCE" if rules.of_instances else "VOLUME") not in asked.resource_types:
        return False
    added = [tag for schedule in rules.schedules for tag in schedule.tags]
    return _has(rules.targets, asked.target_tags) and _has(added, asked.tags_to_add)


def _has(tags: Iterable[tuple[str, str]], wanted: Sequence[str]) -> bool:
    return set(wanted) <= {f"{key}={value}" for key, value in tags}


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > _TAGS:
        raise InvalidParameter(f"A policy may have at most {_TAGS} tags.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidParameter(f"'{key}' is no tag key, or its value is too long.")
