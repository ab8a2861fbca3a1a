"""What a group does next: which instances enter service, end or are launched, and when it is looked at again. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from stead_controller.resources.scaling.member import IN_SERVICE, PENDING, Member
from stead_controller.resources.scaling.rolling import Rolling, roll

LAUNCHED_AT_ONCE: Final = 20
"""How many instances are launched in one transaction, which others wait for."""

PATIENCE: Final = timedelta(seconds=60)
"""How long a status check may fail: what comes back by then is not replaced."""

STANDBY: Final = "Standby"
PENDING_WAIT: Final = "Pending:Wait"
TERMINATING: Final = "Terminating"
TERMINATING_WAIT: Final = "Terminating:Wait"
LEAVING: Final = frozenset({TERMINATING, TERMINATING_WAIT, "Terminating:Proceed"})

BALANCE_PAUSE: Final = timedelta(minutes=2)
"""How long a group waits until it tries again to launch in a zone that it has too few instances in."""

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
    OLD = auto()
    REFRESH = auto()
    VOLUME = auto()


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
    """What a group wants.

    After a failed launch the next one is not before `retry_at`, and after one that was to balance its zones the next
    such one not before `balance_at`.

    `maximum` is the size that it is not to exceed to be rebalanced, 0 for no rebalancing; `lifetime` is how long an
    instance lives. `healthy` are the percentages of a maintenance policy: so much is in service while others are
    replaced, and so much is there. `refresh` is an instance refresh that goes on.
    """

    desired: int
    zones: Sequence[str]
    grace: timedelta = timedelta(0)
    suspended: frozenset[str] = frozenset()
    retry_at: datetime | None = None
    balance_at: datetime | None = None
    deleting: bool = False
    maximum: int = 0
    lifetime: timedelta | None = None
    healthy: tuple[int, int] | None = None
    refresh: Rolling | None = None

    @property
    def least(self) -> int:
        """How much is in service while others are replaced."""
        return 0 if self.healthy is None else -(-self.desired * self.healthy[0] // 100)

    @property
    def most(self) -> int:
        """How much is there while instances are replaced."""
        if self.healthy is None or self.healthy[1] <= 100:
            return self.desired
        return max(self.desired + 1, self.desired * self.healthy[1] // 100)


@dataclass(slots=True)
class Plan:
    """What to do, in this order; `due` is when to look again if nothing wakes the group, None for never.

    `removed` have ended, `entering` come into service or wait for hooks, `unhealthy` are to be shown so, `doubted` have
    a failing status check from now on and `trusted` not any longer, `proceeding` need not wait to end any longer.
    `launches` are by zone, with `only_there` in no other, to balance zones that have so much as is `present`;
    `replacing` is whether they stand for unhealthy instances.
    `refreshed` is whether a refresh has replaced what it may replace by now.
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
    only_there: bool = False
    present: Mapping[str, int] = field(default_factory=dict)
    finished: bool = False
    refreshed: bool = False
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
    if plan.entering:
        plan.look_again(now)  # others may end when these serve
    waiting = _defer(group, seen, plan)
    staying = [one.member for one in seen if is_counted(one.member)]
    steady = [member for member in staying if member.id not in waiting]
    wanted, most = group.desired, group.most
    if group.refresh is None:
        _expire(group, steady, plan, now)
    else:
        wanted, most = _refresh(group, group.refresh, seen, steady, plan, now)
    steady = [member for member in steady if member.id not in plan.ending]
    capacity, there = _weight(steady), _weight(steady) + _weight(staying, waiting)
    if capacity < wanted:
        _grow(group, steady, min(wanted - capacity, max(most, wanted) - there), plan, now)
    elif capacity > wanted:
        _shrink(group, steady, capacity - wanted, plan, choose)
    elif group.refresh is None:
        _rebalance(group, steady, plan, now)
    return plan


def _refresh(  # noqa: PLR0917 - of what, when
    group: Situation, refresh: Rolling, seen: Sequence[Seen], steady: Sequence[Member], plan: Plan, now: datetime
) -> tuple[int, int]:
    """Replace what a refresh may replace now; return how much is wanted and how much may be there meanwhile."""
    paused = {"Launch", "Terminate", "InstanceRefresh"} & group.suspended
    rolled = roll(refresh, group.desired, steady, {one.member.id: one.since for one in seen}, now)
    if rolled.again is not None:
        plan.look_again(rolled.again)
    if paused:
        return group.desired, group.most
    plan.ending |= dict.fromkeys(rolled.ending, Why.REFRESH)
    plan.refreshed = rolled.is_done and not plan.ending
    return rolled.wanted, rolled.most


def _weight(members: Sequence[Member], only: Collection[str] | None = None) -> int:
    return sum(member.weight for member in members if only is None or member.id in only)


def _ready(members: Sequence[Member]) -> int:
    """Return how much is in service and healthy."""
    return sum(one.weight for one in members if one.lifecycle_state == IN_SERVICE and one.healthy)


def _defer(group: Situation, seen: Sequence[Seen], plan: Plan) -> set[str]:
    """Let sick instances, of which a maintenance policy says so, only end when others stand for them."""
    if group.most <= group.desired:
        return set()
    ready = _ready([one.member for one in seen if one.member.id not in {*plan.ending, *plan.unhealthy}])
    sick = {one for one, why in plan.ending.items() if why in (Why.IMPAIRED, Why.USER_HEALTH)}
    if ready >= group.least:
        return set()
    for member_id in sick:
        del plan.ending[member_id]
    return sick


def _expire(group: Situation, steady: Sequence[Member], plan: Plan, now: datetime) -> None:
    """End the oldest instance that has lived its time, one after the other, when the group is whole without it."""
    if group.lifetime is None or not steady:
        return
    lifetime = group.lifetime
    old = min(steady, key=lambda member: (member.launched, member.id))
    plan.look_again(max(now + PATIENCE, old.launched + lifetime))
    if old.launched + lifetime > now or {"Terminate", "Launch"} & group.suspended:
        return
    others = [member for member in steady if member is not old]
    is_whole = _ready(steady) == _weight(steady) >= group.desired and not plan.ending
    if is_whole and (_ready(others) >= group.least or group.most <= group.desired):
        plan.ending[old.id] = Why.OLD
    elif is_whole:
        plan.launches = spread(group.zones, _by_zone(others), old.weight)


def _shrink(group: Situation, steady: Sequence[Member], surplus: int, plan: Plan, choose: Choose) -> None:
    """End what is too much, but not while another instance comes that is to stand for one of these."""
    coming = sum(member.weight for member in steady if member.lifecycle_state in PENDING)
    if "Terminate" in group.suspended or (surplus <= coming and _is_replacing(group, steady)):
        return
    for member_id in choose(steady, surplus):
        plan.ending[member_id] = Why.SURPLUS


def _is_replacing(group: Situation, steady: Sequence[Member]) -> bool:
    """Tell whether an instance may be coming that was launched before another one ends."""
    serving = [one for one in steady if one.lifecycle_state == IN_SERVICE]
    return group.lifetime is not None or (group.desired < group.maximum and _lopsided(group, serving) is not None)


def _by_zone(members: Sequence[Member]) -> Counter[str]:
    found: Counter[str] = Counter()
    for member in members:
        found[member.zone] += member.weight
    return found


def _lopsided(group: Situation, members: Sequence[Member]) -> str | None:
    """Return the zone that has least, if another one has two more, one of which is not protected."""
    have = _by_zone(members)
    least = min(group.zones, key=lambda zone: have[zone])
    most = max(group.zones, key=lambda zone: have[zone])
    has_free = any(member.zone == most and not member.protected for member in members)
    is_plain = all(member.weight == 1 for member in members)
    return least if have[most] - have[least] > 1 and has_free and is_plain else None


def _rebalance(group: Situation, steady: Sequence[Member], plan: Plan, now: datetime) -> None:
    """Launch one where there is least, so that one ends where there is most; never above the maximum."""
    if {"AZRebalance", "Launch", "Terminate"} & group.suspended or plan.launches:
        return
    least = _lopsided(group, steady)
    if least is None or group.desired >= group.maximum or _ready(steady) < group.desired:
        return
    again = max(filter(None, (group.retry_at, group.balance_at)), default=now)
    if again > now:
        plan.look_again(again)
        return
    plan.launches, plan.only_there, plan.present = {least: 1}, True, _by_zone(steady)


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
            judge_health(group, one, plan, now)
        case "Standby" if one.state in _GONE:
            plan.removed.append(member.id)
        case "Terminating:Wait" if one.state not in _GONE:
            outcome = result_of(one.waits, plan, now)
            if outcome is not None:
                plan.proceeding.append(member.id)
        case _ if one.state in _GONE:
            plan.removed.append(member.id)


def _judge_pending(one: Seen, plan: Plan, now: datetime) -> None:
    member_id = one.member.id
    if one.state in _STOPS:
        plan.ending[member_id] = Why.LAUNCH_FAILED
    elif one.member.lifecycle_state == PENDING_WAIT:
        outcome = result_of(one.waits, plan, now)
        if outcome == "ABANDON":
            plan.ending[member_id] = Why.ABANDONED
        elif outcome is not None:
            plan.entering.append(member_id)
    elif one.state == "running":
        plan.entering.append(member_id)


def result_of(waits: Sequence[Wait], plan: Plan, now: datetime) -> str | None:
    """Return what hooks have decided; one that abandons decides for all."""
    outcomes = [wait.outcome(now) for wait in waits]
    if "ABANDON" in outcomes:
        return "ABANDON"
    if None not in outcomes:
        return "CONTINUE"
    plan.look_again(min(wait.until for wait, outcome in zip(waits, outcomes, strict=True) if outcome is None))
    return None


def judge_health(group: Situation, one: Seen, plan: Plan, now: datetime) -> None:
    """Decide whether an instance that is to run is to be replaced."""
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


def let_go(seen: Sequence[Seen], plan: Plan) -> None:
    """Let instances that end not wait for hooks any longer."""
    waiting = [one.member.id for one in seen if one.member.lifecycle_state.endswith(TERMINATING_WAIT)]
    plan.proceeding += [one for one in waiting if one not in {*plan.proceeding, *plan.removed}]


def _delete(seen: Sequence[Seen], plan: Plan) -> None:
    let_go(seen, plan)
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
    plan.launches = spread(group.zones, _by_zone(staying), min(missing, LAUNCHED_AT_ONCE))
    if missing > LAUNCHED_AT_ONCE:
        plan.look_again(now)


def pause_after(failures: int) -> timedelta:
    """Return how long a group waits after launches that failed, one after the other."""
    return min(_LONGEST_PAUSE, timedelta(seconds=5 << min(failures - 1, 10)))
