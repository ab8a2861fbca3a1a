"""What a group's warm pool does next: which of its instances get ready, serve, come back, end or are launched. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-warm-pools.html.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from stead_controller.resources.scaling import plan as group_plan
from stead_controller.resources.scaling.member import IN_SERVICE, WARM, WARMED, Member
from stead_controller.resources.scaling.plan import (
    LAUNCHED_AT_ONCE,
    LEAVING,
    Choose,
    Plan,
    Seen,
    Situation,
    Why,
    spread,
)

COMING: Final = f"{WARMED}Pending"
COMING_WAIT: Final = f"{WARMED}Pending:Wait"
COMING_PROCEED: Final = f"{WARMED}Pending:Proceed"
RUNNING: Final = f"{WARMED}Running"
LEAVING_WARM: Final = frozenset(f"{WARMED}{state}" for state in LEAVING)

_GONE: Final = (None, "terminated")
_ENDS: Final = ("shutting-down", *_GONE)
_STOPS: Final = ("stopping", "stopped", *_ENDS)


@dataclass(frozen=True, slots=True)
class Pool:
    """How many instances a warm pool is to have, and whether instances return to it when the group shrinks.

    After a failed launch the next one is not before `retry_at`. One that is `deleting` ends all that it has.
    """

    size: int
    reuse: bool = False
    retry_at: datetime | None = None
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Warmth:
    """A group's warm pool and the instances in it.

    The group launches something else by now than those in `stale`: none of them serves, and with `replacing` they end.
    """

    pool: Pool
    seen: Sequence[Seen]
    stale: frozenset[str] = frozenset()
    replacing: bool = False


@dataclass(slots=True)
class WarmPlan:
    """What to do, in this order.

    `launched` run for the first time, `passing` have passed their hooks, `settled` are off; `returning` come from the
    group, `starting` go to it. `launches` are by zone.
    """

    launched: list[str] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    returning: list[str] = field(default_factory=list)
    starting: list[str] = field(default_factory=list)
    launches: dict[str, int] = field(default_factory=dict)


def size_of(desired: int, maximum: int, least: int, prepared: int | None) -> int:
    """Return how many instances a warm pool is to have, by the sizes of its group and its own."""
    return max(least, (maximum if prepared is None else prepared) - desired, 0)


def decide(  # noqa: PLR0917 - of what, when
    group: Situation, warmth: Warmth, live: Sequence[Seen], plan: Plan, choose: Choose, now: datetime
) -> WarmPlan:
    """Return what a warm pool has to do now beside a group's own plan, which takes from it what it can.

    Of the plan it changes what is launched and what ends.
    """
    warm, pool = WarmPlan(), warmth.pool
    for one in warmth.seen:
        _judge(group, one, plan, warm, now)
    if group.deleting or pool.deleting:
        _end(warmth.seen, plan, warm)
        return warm
    if warmth.replacing:
        plan.ending |= {member.id: Why.REFRESH for member in _staying(warmth, plan) if member.id in warmth.stale}
    ready = [one for one in _staying(warmth, plan) if one.lifecycle_state in WARM and one.id not in warmth.stale]
    _take(group, ready, live, plan, warm)
    staying = [member for member in _staying(warmth, plan) if member.id not in warm.starting]
    if pool.reuse:
        _return(live, pool.size - len(staying), plan, warm)
    count = len(staying) + len(warm.returning)
    if count < pool.size:
        _fill(group, pool, staying, pool.size - count, plan, warm, now)
    elif "Terminate" not in group.suspended:
        _drain(staying, count - pool.size, plan, choose)
    return warm


def _staying(warmth: Warmth, plan: Plan) -> list[Member]:
    gone = {*plan.ending, *plan.removed}
    members = [one.member for one in warmth.seen if one.member.id not in gone]
    return [member for member in members if member.lifecycle_state not in LEAVING_WARM]


def _end(seen: Sequence[Seen], plan: Plan, warm: WarmPlan) -> None:
    """End all, with the group or with the pool."""
    group_plan.let_go(seen, plan)
    for one in seen:
        if one.member.lifecycle_state not in LEAVING_WARM:
            plan.ending.setdefault(one.member.id, Why.DELETION)
    warm.launched.clear()
    warm.passing.clear()
    warm.settled.clear()
    plan.finished = plan.finished and all(one.member.id in plan.removed for one in seen)


def _take(group: Situation, ready: list[Member], live: Sequence[Seen], plan: Plan, warm: WarmPlan) -> None:
    """Take what the group would launch from the pool, as long as it has something; each to the zone that has least."""
    zones = set(plan.launches) if plan.only_there else {member.zone for member in ready}
    ready = sorted((member for member in ready if member.zone in zones), key=lambda one: (one.launched, one.id))
    missing = sum(plan.launches.values())
    there = Counter(
        one.member.zone
        for one in live
        if group_plan.is_counted(one.member) and one.member.id not in {*plan.ending, *plan.removed}
    )
    for _ in range(min(missing, len(ready))):
        taken = min(ready, key=lambda member: there[member.zone])
        ready.remove(taken)
        there[taken.zone] += 1
        warm.starting.append(taken.id)
    if warm.starting:
        plan.launches = spread(group.zones, there, missing - len(warm.starting))


def _return(live: Sequence[Seen], room: int, plan: Plan, warm: WarmPlan) -> None:
    """Let instances that the group does not want come back, as many as there is room for."""
    can = {one.member.id for one in live if one.state == "running" and one.member.lifecycle_state == IN_SERVICE}
    surplus = [one for one, why in plan.ending.items() if why is Why.SURPLUS and one in can]
    for member_id in surplus[: max(0, room)]:
        del plan.ending[member_id]
        warm.returning.append(member_id)


def _fill(  # noqa: PLR0917 - of what, when
    group: Situation,
    pool: Pool,
    staying: Sequence[Member],
    missing: int,
    plan: Plan,
    warm: WarmPlan,
    now: datetime,
) -> None:
    if "Launch" in group.suspended:
        return
    if pool.retry_at is not None and pool.retry_at > now:
        plan.look_again(pool.retry_at)
        return
    count = min(missing, LAUNCHED_AT_ONCE - sum(plan.launches.values()))
    warm.launches = spread(group.zones, Counter(member.zone for member in staying), count)
    if count < missing:
        plan.look_again(now)


def _drain(staying: Sequence[Member], surplus: int, plan: Plan, choose: Choose) -> None:
    """End what is too much: first what is not ready, then what the group's policies choose, protected or not."""
    coming = sorted(member.id for member in staying if member.lifecycle_state not in WARM)[:surplus]
    ready = [
        replace(one, lifecycle_state=IN_SERVICE, protected=False) for one in staying if one.lifecycle_state in WARM
    ]
    chosen = choose(ready, surplus - len(coming))
    plan.ending |= dict.fromkeys((*coming, *chosen), Why.SURPLUS)


def _judge(group: Situation, one: Seen, plan: Plan, warm: WarmPlan, now: datetime) -> None:
    """Decide about one instance by itself. Its health is not looked at before its hooks are over."""
    match one.member.lifecycle_state:
        case "Warmed:Pending" | "Warmed:Pending:Wait" if one.state in _STOPS:
            plan.ending[one.member.id] = Why.LAUNCH_FAILED
        case "Warmed:Pending" if one.state == "running":
            warm.launched.append(one.member.id)
        case "Warmed:Pending:Wait":
            outcome = group_plan.result_of(one.waits, plan, now)
            if outcome == "ABANDON":
                plan.ending[one.member.id] = Why.ABANDONED
            elif outcome is not None:
                warm.passing.append(one.member.id)
        case "Warmed:Pending:Proceed" | "Warmed:Stopped" | "Warmed:Hibernated":
            _judge_off(replace(group, grace=timedelta(0)), one, plan, warm, now)
        case "Warmed:Running":
            group_plan.judge_health(replace(group, grace=timedelta(0)), one, plan, now)
        case "Warmed:Terminating:Wait" if one.state not in _GONE:
            if group_plan.result_of(one.waits, plan, now) is not None:
                plan.proceeding.append(one.member.id)
        case _ if one.state in _GONE:
            plan.removed.append(one.member.id)


def _judge_off(group: Situation, one: Seen, plan: Plan, warm: WarmPlan, now: datetime) -> None:
    """Decide about an instance that is off or on its way there; one that somebody starts is stopped again."""
    member = one.member
    as_it_should = one if one.state in _ENDS else replace(one, state="running")  # it may be off, which others may not
    group_plan.judge_health(group, as_it_should, plan, now)
    if plan.ending.get(member.id) is Why.IMPAIRED:
        plan.ending[member.id] = Why.VOLUME
    if one.state == "running" and member.id not in plan.ending:
        warm.passing.append(member.id)
    elif one.state == "stopped" and member.lifecycle_state == COMING_PROCEED and member.id not in plan.ending:
        warm.settled.append(member.id)
