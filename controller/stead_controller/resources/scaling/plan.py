"""What a group does next: which instances enter service, end or are launched, and when it is looked at again. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from stead_controller.resources.scaling.member import IN_SERVICE, PENDING, Member

LAUNCHED_AT_ONCE: Final = 20
"""How many instances are launched in one transaction, which others wait for."""

PATIENCE: Final = timedelta(seconds=60)
"""How long a status check may fail: what comes back by then is not replaced."""

STANDBY: Final = "Standby"
PENDING_WAIT: Final = "Pending:Wait"
TERMINATING: Final = "Terminating"
TERMINATING_WAIT: Final = "Terminating:Wait"
LEAVING: Final = frozenset({TERMINATING, TERMINATING_WAIT, "Terminating:Proceed"})

_LONGEST_PAUSE: Final = timedelta(minutes=5)
_GONE: Final = (None, "terminated")
_STOPS: Final = ("shutting-down", "terminated", "stopping", "stopped", None)


class Why(Enum):
    """Why an instance ends."""

    SURPLUS = auto()
    STOPPED = auto()
    IMPAIRED = auto()
    USER_HEALTH = auto()
    LAUNCH_FAILED = auto()
    ABANDONED = auto()
    DELETION = auto()


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait for a lifecycle hook: its result, if it has one, what counts after `until`, and until when it waits."""

    result: str | None
    default: str
    until: datetime

    def outcome(self, now: datetime) -> str | None:
        """Return CONTINUE or ABANDON, None while it waits."""
        return self.result or (self.default if self.until <= now else None)


@dataclass(frozen=True, slots=True)
class Seen:
    """A member, and what is known of its instance: the state (None: it is not there), and its status checks.

    `since` is when it first was in service, `until` when an impairment is not waited for any longer. `waits` are those
    for the hooks of its present state.
    """

    member: Member
    state: str | None
    impaired: bool = False
    since: datetime | None = None
    until: datetime | None = None
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """What a group wants. After a failed launch the next one is not before `retry_at`."""

    desired: int
    zones: Sequence[str]
    grace: timedelta = timedelta(0)
    suspended: frozenset[str] = frozenset()
    retry_at: datetime | None = None
    deleting: bool = False


@dataclass(slots=True)
class Plan:
    """What to do, in this order; `due` is when to look again if nothing wakes the group, None for never.

    `removed` have ended, `entering` come into service or wait for hooks, `unhealthy` are to be shown so, `doubted` have
    a failing status check from now on and `trusted` not any longer, `proceeding` need not wait to end any longer.
    `launches` are by zone; `replacing` is whether they stand for unhealthy instances.
    """

    removed: list[str] = field(default_factory=list)
    entering: list[str] = field(default_factory=list)
    proceeding: list[str] = field(default_factory=list)
    unhealthy: list[str] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    ending: dict[str, Why] = field(default_factory=dict)
    launches: dict[str, int] = field(default_factory=dict)
    replacing: bool = False
    finished: bool = False
    due: datetime | None = None

    def look_again(self, at: datetime) -> None:
        """Be due at a time, or before."""
        self.due = at if self.due is None else min(self.due, at)


type Choose = Callable[[Sequence[Member], int], Sequence[str]]
"""Chooses which members end so that the capacity becomes smaller by at most so much."""


def decide(group: Situation, seen: Sequence[Seen], choose: Choose, now: datetime) -> Plan:
    """Return what a group has to do now."""
    plan = Plan()
    for one in seen:
        _judge(group, one, plan, now)
    if group.deleting:
        _delete(seen, plan)
        return plan
    staying = [one.member for one in seen if one.member.id not in plan.ending and is_counted(one.member)]
    capacity = sum(member.weight for member in staying)
    if capacity < group.desired:
        _grow(group, staying, group.desired - capacity, plan, now)
    elif capacity > group.desired and "Terminate" not in group.suspended:
        for member_id in choose(staying, capacity - group.desired):
            plan.ending[member_id] = Why.SURPLUS
    return plan


def is_counted(member: Member) -> bool:
    """Whether an instance is part of the group's capacity."""
    return member.lifecycle_state == IN_SERVICE or member.lifecycle_state in PENDING


def spread(zones: Sequence[str], present: Mapping[str, int], count: int) -> dict[str, int]:
    """Distribute launches over zones, each to the zone that has least; among equals the first one."""
    have = {zone: present.get(zone, 0) for zone in zones}
    found: Counter[str] = Counter()
    for _ in range(count):
        zone = min(zones, key=lambda one: have[one])
        have[zone] += 1
        found[zone] += 1
    return dict(found)


def _judge(group: Situation, one: Seen, plan: Plan, now: datetime) -> None:
    """Decide about one instance by itself."""
    member = one.member
    match member.lifecycle_state:
        case "Pending" | "Pending:Wait" | "Pending:Proceed":
            _judge_pending(one, plan, now)
        case "InService":
            _judge_health(group, one, plan, now)
        case "Standby" if one.state in _GONE:
            plan.removed.append(member.id)
        case "Terminating:Wait" if one.state not in _GONE:
            outcome = _outcome(one.waits, plan, now)
            if outcome is not None:
                plan.proceeding.append(member.id)
        case state if state in LEAVING and one.state in _GONE:
            plan.removed.append(member.id)


def _judge_pending(one: Seen, plan: Plan, now: datetime) -> None:
    member_id = one.member.id
    if one.state in _STOPS:
        plan.ending[member_id] = Why.LAUNCH_FAILED
    elif one.member.lifecycle_state == PENDING_WAIT:
        outcome = _outcome(one.waits, plan, now)
        if outcome == "ABANDON":
            plan.ending[member_id] = Why.ABANDONED
        elif outcome is not None:
            plan.entering.append(member_id)
    elif one.state == "running":
        plan.entering.append(member_id)


def _outcome(waits: Sequence[Wait], plan: Plan, now: datetime) -> str | None:
    """Return what hooks have decided; one that abandons decides for all."""
    outcomes = [wait.outcome(now) for wait in waits]
    if "ABANDON" in outcomes:
        return "ABANDON"
    if None not in outcomes:
        return "CONTINUE"
    plan.look_again(min(wait.until for wait, outcome in zip(waits, outcomes, strict=True) if outcome is None))
    return None


def _judge_health(group: Situation, one: Seen, plan: Plan, now: datetime) -> None:
    """Decide whether an instance in service is to be replaced."""
    why = _illness(group, one, plan, now)
    if why is None:
        return
    if one.member.healthy:
        plan.unhealthy.append(one.member.id)
    if not {"Terminate", "ReplaceUnhealthy"} & group.suspended:
        plan.ending[one.member.id] = why
        plan.replacing = True


def _illness(group: Situation, one: Seen, plan: Plan, now: datetime) -> Why | None:
    member = one.member
    checked = "HealthCheck" not in group.suspended
    if one.state in _STOPS and (checked or not member.healthy):
        return Why.STOPPED
    if not member.healthy:
        return Why.IMPAIRED if one.impaired else Why.USER_HEALTH
    if not one.impaired or not checked:
        if one.until is not None:
            plan.trusted.append(member.id)
        return None
    if one.until is None:
        plan.doubted.append(member.id)
    ends = max((one.until or now + PATIENCE), (one.since or now) + group.grace)
    if ends <= now:
        return Why.IMPAIRED
    plan.look_again(ends)
    return None


def _delete(seen: Sequence[Seen], plan: Plan) -> None:
    for one in seen:
        if one.member.lifecycle_state not in LEAVING and one.member.id not in plan.removed:
            plan.ending.setdefault(one.member.id, Why.DELETION)
    plan.entering.clear()
    plan.unhealthy.clear()
    plan.finished = len(plan.removed) == len(seen)


def _grow(group: Situation, staying: Sequence[Member], missing: int, plan: Plan, now: datetime) -> None:
    if "Launch" in group.suspended:
        return
    if group.retry_at is not None and group.retry_at > now:
        plan.look_again(group.retry_at)
        return
    plan.launches = spread(group.zones, Counter(member.zone for member in staying), min(missing, LAUNCHED_AT_ONCE))
    if missing > LAUNCHED_AT_ONCE:
        plan.look_again(now)


def pause_after(failures: int) -> timedelta:
    """Return how long a group waits after launches that failed, one after the other."""
    return min(_LONGEST_PAUSE, timedelta(seconds=5 << min(failures - 1, 10)))
