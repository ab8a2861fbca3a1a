"""What a warm pool does next: it fills, gives, takes back and ends, never more than it is to have."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.scaling import plan, warm_pool_plan
from stead_controller.resources.scaling.member import IN_SERVICE, Member
from stead_controller.resources.scaling.plan import Plan, Seen, Situation, Wait, Why
from stead_controller.resources.scaling.warm_pool_plan import Pool, WarmPlan, Warmth, size_of

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
POWER = {"Warmed:Stopped": "stopped", "Warmed:Hibernated": "stopped", "Warmed:Pending:Proceed": "stopping"}


def seen(number: int, state: str = "Warmed:Stopped", power: str | None = "", **changes: object) -> Seen:
    made = Member(
        id=f"i-{number:03}",
        zone="a",
        lifecycle_state=state,
        healthy=True,
        protected=False,
        launched=NOW + timedelta(seconds=number),
        source=("lt-1", 1),
        instance_type="t3.nano",
    )
    if power == "":
        power = POWER.get(state, "running")
    waits = changes.pop("waits", ())
    impaired = changes.pop("impaired", False)
    return Seen(replace(made, **changes), power, impaired=bool(impaired), waits=waits)  # type: ignore[arg-type]  # theirs


def first(members: Sequence[Member], count: int) -> list[str]:
    return [one.id for one in members if not one.protected and one.lifecycle_state == IN_SERVICE][:count]


def act(
    pool: Pool,
    warm: Sequence[Seen],
    live: Sequence[Seen] = (),
    desired: int = 0,
    *,
    at: datetime = NOW,
    **changes: object,
) -> tuple[Plan, WarmPlan]:
    stale, replacing = changes.pop("stale", frozenset()), changes.pop("replacing", False)
    group = Situation(desired=desired, zones=("a", "b"), maximum=99, **changes)  # type: ignore[arg-type]  # any of its own
    decided = plan.decide(group, live, first, at)
    warmth = Warmth(pool, warm, stale, replacing=bool(replacing))  # type: ignore[arg-type]  # ids
    return decided, warm_pool_plan.decide(group, warmth, live, decided, first, at)


@pytest.mark.parametrize(
    ("desired", "maximum", "least", "prepared", "size"),
    [
        (6, 10, 0, None, 4),
        (6, 10, 0, 8, 2),
        (800, 1500, 25, 900, 100),
        (900, 1500, 25, 900, 25),
        (10, 10, 0, 5, 0),
        (3, 10, 10, 10, 10),
        (0, 0, 0, 0, 0),
    ],
)
def test_a_pool_is_as_large_as_the_guide_says(
    desired: int, maximum: int, least: int, prepared: int | None, size: int
) -> None:
    assert size_of(desired, maximum, least, prepared) == size


def test_what_is_missing_is_launched_where_there_is_least() -> None:
    decided, warm = act(Pool(4), [seen(1), seen(2)])
    assert (warm, decided.due) == (WarmPlan(launches={"b": 2}), None)
    _, warm = act(Pool(2), [seen(1), seen(2, "Warmed:Pending")])
    assert warm.launches == {}
    decided, warm = act(Pool(30), [])
    assert sum(warm.launches.values()) == plan.LAUNCHED_AT_ONCE
    assert decided.due == NOW
    decided, warm = act(Pool(30), [], desired=12)
    assert sum(warm.launches.values()) + sum(decided.launches.values()) == plan.LAUNCHED_AT_ONCE


def test_a_pool_waits_after_a_failed_launch_and_while_launches_are_suspended() -> None:
    later = NOW + timedelta(seconds=5)
    decided, warm = act(Pool(1, retry_at=later), [])
    assert (warm.launches, decided.due) == ({}, later)
    assert act(Pool(1, retry_at=later), [], at=later)[1].launches == {"a": 1}
    assert act(Pool(1), [], suspended=frozenset({"Launch"}))[1].launches == {}
    assert act(Pool(1, retry_at=later), [seen(1)])[0].due is None


def test_the_group_takes_what_is_ready_first_the_oldest() -> None:
    pool = [seen(3), seen(2), seen(1, "Warmed:Pending"), seen(4, healthy=False), seen(5, "Warmed:Running")]
    decided, warm = act(Pool(0), pool, desired=2)
    assert warm.starting == ["i-002", "i-003"]
    assert decided.launches == {}
    decided, warm = act(Pool(0), pool, desired=5)
    assert warm.starting == ["i-002", "i-003", "i-005"]
    assert sum(decided.launches.values()) == 2


def test_each_goes_to_the_zone_that_has_least() -> None:
    live = [seen(10, IN_SERVICE), seen(11, IN_SERVICE)]
    decided, warm = act(Pool(0), [seen(1), seen(2, zone="b")], live, desired=4)
    assert warm.starting == ["i-002", "i-001"]
    decided, warm = act(Pool(0), [seen(1)], live, desired=4)
    assert (warm.starting, decided.launches) == (["i-001"], {"b": 1})
    for left_out in ({"state": "Standby"}, {"state": IN_SERVICE, "healthy": False}):
        live = [seen(10, **left_out), seen(11, **left_out), seen(12, IN_SERVICE, zone="b")]
        _, warm = act(Pool(0), [seen(1, zone="b"), seen(2)], live, desired=2)
        assert warm.starting == ["i-002"], left_out


def test_without_a_ready_instance_the_group_launches_as_it_would() -> None:
    live = [seen(1, IN_SERVICE, zone="b"), seen(2, IN_SERVICE)]
    lived = {"lifetime": timedelta(days=1), "healthy": (100, 200), "at": NOW + timedelta(days=1, seconds=1)}
    decided, _ = act(Pool(0), [], live, desired=2, **lived)  # type: ignore[arg-type]  # words
    assert decided.launches == {"b": 1}


def test_a_zone_that_is_to_be_balanced_gets_nothing_of_another_zone() -> None:
    live = [seen(number, IN_SERVICE) for number in range(10, 13)]
    decided, warm = act(Pool(1), [seen(1)], live, desired=3)
    assert (warm.starting, decided.launches) == ([], {"b": 1})
    decided, warm = act(Pool(1), [seen(1, zone="b")], live, desired=3)
    assert (warm.starting, decided.launches) == (["i-001"], {})


def test_what_shrinks_returns_as_long_as_there_is_room() -> None:
    live = [seen(10, IN_SERVICE), seen(11, IN_SERVICE), seen(12, IN_SERVICE)]
    decided, warm = act(Pool(2, reuse=True), [seen(1)], live, desired=1)
    assert warm.returning == ["i-010"]
    assert decided.ending == {"i-011": Why.SURPLUS}
    decided, warm = act(Pool(3), [], live, desired=1)
    assert warm.returning == []
    assert len(decided.ending) == 2
    decided, warm = act(Pool(9, reuse=True), [], [seen(10, IN_SERVICE, "stopped"), *live[1:]], desired=0)
    assert decided.ending == {"i-010": Why.STOPPED}
    assert warm.returning == ["i-011", "i-012"]
    decided, warm = act(Pool(9, reuse=True), [], [seen(10, IN_SERVICE, healthy=False)], desired=1)
    assert (warm.returning, decided.ending) == ([], {"i-010": Why.USER_HEALTH})
    off = [seen(10, IN_SERVICE, "stopped"), seen(11, "Pending")]
    group = Situation(desired=0, zones=("a",), suspended=frozenset({"HealthCheck"}))
    decided = plan.decide(group, off, lambda members, _: [one.id for one in members], NOW)
    warm = warm_pool_plan.decide(group, Warmth(Pool(9, reuse=True), []), off, decided, first, NOW)
    assert (warm.returning, len(decided.ending)) == ([], 2)


def test_what_is_too_much_ends_first_what_is_not_ready() -> None:
    pool = [seen(1), seen(2, protected=True), seen(3, "Warmed:Pending"), seen(4, "Warmed:Terminating")]
    assert act(Pool(3), pool)[0].ending == {}
    assert act(Pool(2), pool)[0].ending == {"i-003": Why.SURPLUS}
    assert act(Pool(0), pool)[0].ending == dict.fromkeys(("i-003", "i-001", "i-002"), Why.SURPLUS)
    assert act(Pool(0), pool, suspended=frozenset({"Terminate"}))[0].ending == {}


def test_a_pool_that_is_deleted_and_a_deleted_group_end_all() -> None:
    pool = [seen(1), seen(2, "Warmed:Pending"), seen(3, "Warmed:Pending:Wait"), seen(4, "Warmed:Terminating")]
    pool.append(seen(5, "Warmed:Pending:Proceed", "stopped"))
    decided, warm = act(Pool(5, deleting=True), pool)
    assert decided.ending == dict.fromkeys(("i-001", "i-002", "i-003", "i-005"), Why.DELETION)
    assert warm == WarmPlan()
    decided, _ = act(Pool(5), pool, deleting=True)
    assert not decided.finished
    decided, _ = act(Pool(5), [seen(4, "Warmed:Terminating", None)], deleting=True)
    assert decided.finished
    decided, _ = act(Pool(5), [], [seen(1, IN_SERVICE)], deleting=True)
    assert not decided.finished
    assert not act(Pool(5, deleting=True), [])[0].finished


def test_instances_get_ready_step_by_step() -> None:
    stays = [seen(1, "Warmed:Pending", "pending"), seen(2, "Warmed:Pending:Proceed"), seen(3, "Warmed:Pending:Wait")]
    waits = (Wait(None, "ABANDON", NOW + timedelta(seconds=9)),)
    decided, warm = act(Pool(3), [*stays[:2], replace(stays[2], waits=waits)])
    assert (warm, decided.ending) == (WarmPlan(), {})
    assert decided.due == NOW + timedelta(seconds=9)
    goes = [seen(1, "Warmed:Pending"), seen(2, "Warmed:Pending:Proceed", "stopped"), stays[2]]
    _, warm = act(Pool(3), goes)
    assert (warm.launched, warm.passing, warm.settled) == (["i-001"], ["i-003"], ["i-002"])
    decided, _ = act(Pool(3), [replace(stays[2], waits=waits)], at=NOW + timedelta(seconds=9))
    assert decided.ending == {"i-003": Why.ABANDONED}


@pytest.mark.parametrize(
    ("state", "power", "why"),
    [
        ("Warmed:Pending", "terminated", Why.LAUNCH_FAILED),
        ("Warmed:Pending", "stopped", Why.LAUNCH_FAILED),
        ("Warmed:Pending:Wait", "stopping", Why.LAUNCH_FAILED),
        ("Warmed:Pending:Proceed", "shutting-down", Why.STOPPED),
        ("Warmed:Stopped", "terminated", Why.STOPPED),
        ("Warmed:Hibernated", None, Why.STOPPED),
        ("Warmed:Running", "stopped", Why.STOPPED),
    ],
)
def test_what_has_ended_in_the_pool_is_replaced(state: str, power: str | None, why: Why) -> None:
    decided, _ = act(Pool(1), [seen(1, state, power)])
    assert decided.ending == {"i-001": why}
    assert decided.unhealthy == (["i-001"] if why is Why.STOPPED else [])
    told = act(Pool(1), [seen(1, state, power, healthy=False)])[0]
    assert (told.ending, told.unhealthy) == ({"i-001": why}, [])


def test_health_is_looked_at_when_the_hooks_are_over_and_without_grace() -> None:
    sick: dict[str, Any] = {"healthy": False}
    for state in ("Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated", "Warmed:Pending:Proceed"):
        assert act(Pool(1), [seen(1, state, **sick)])[0].ending == {"i-001": Why.USER_HEALTH}, state
        paused = frozenset({"ReplaceUnhealthy"})
        assert act(Pool(1), [seen(1, state, **sick)], suspended=paused)[0].ending == {}, state
    assert act(Pool(1), [seen(1, "Warmed:Pending", **sick)])[0].ending == {}
    grace = timedelta(hours=1)
    impaired = replace(seen(1, "Warmed:Running", impaired=True), until=NOW)
    assert act(Pool(1), [impaired], grace=grace)[0].ending == {"i-001": Why.IMPAIRED}
    decided, _ = act(Pool(1), [seen(1, "Warmed:Running", impaired=True)], grace=grace)
    assert (decided.ending, decided.doubted, decided.due) == ({}, ["i-001"], NOW + plan.PATIENCE)


def test_an_impaired_volume_of_what_is_off_is_waited_for_a_minute() -> None:
    sick = seen(1, "Warmed:Stopped", impaired=True)
    decided, warm = act(Pool(1), [sick])
    assert (decided.ending, decided.doubted, decided.due) == ({}, ["i-001"], NOW + plan.PATIENCE)
    assert act(Pool(1), [replace(sick, until=NOW)])[0].ending == {"i-001": Why.VOLUME}
    assert act(Pool(1), [replace(sick, until=NOW)], suspended=frozenset({"HealthCheck"}))[0].ending == {}
    assert act(Pool(1), [replace(sick, impaired=False, until=NOW)])[0].trusted == ["i-001"]
    for state, power in (("Warmed:Stopped", "running"), ("Warmed:Pending:Proceed", "stopped")):
        _, warm = act(Pool(1), [seen(1, state, power, healthy=False)])
        assert (warm.passing, warm.settled) == ([], [])


def test_what_somebody_starts_is_stopped_again() -> None:
    decided, warm = act(Pool(2), [seen(1, "Warmed:Stopped", "running"), seen(2, "Warmed:Stopped", "pending")])
    assert (warm.passing, decided.ending) == (["i-001"], {})


def test_what_ends_waits_for_its_hooks_and_leaves() -> None:
    waiting = seen(1, "Warmed:Terminating:Wait", waits=(Wait("CONTINUE", "ABANDON", NOW),))
    assert act(Pool(0), [waiting])[0].proceeding == ["i-001"]
    later = (Wait(None, "ABANDON", NOW + timedelta(seconds=1)),)
    assert act(Pool(0), [replace(waiting, waits=later)])[0].proceeding == []
    gone = [
        seen(1, "Warmed:Terminating:Wait", None),
        seen(2, "Warmed:Terminating", "terminated"),
        seen(3, "Warmed:Terminating"),
    ]
    assert act(Pool(0), gone)[0].removed == ["i-001", "i-002"]


def test_a_refresh_takes_nothing_stale_and_ends_it_in_its_time() -> None:
    stale = frozenset({"i-001"})
    decided, warm = act(Pool(2), [seen(1), seen(2)], desired=2, stale=stale)
    assert warm.starting == ["i-002"]
    assert sum(decided.launches.values()) == 1
    assert decided.ending == {}
    decided, warm = act(Pool(2), [seen(1), seen(2)], stale=stale, replacing=True)
    assert decided.ending == {"i-001": Why.REFRESH}
    assert sum(warm.launches.values()) == 1


_STATES = st.sampled_from(
    ["Warmed:Pending", "Warmed:Pending:Proceed", "Warmed:Stopped", "Warmed:Running", "Warmed:Terminating"]
)


@given(
    st.lists(_STATES, max_size=8), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.booleans(), st.booleans()
)
def test_after_a_step_a_pool_has_what_it_is_to_have(  # noqa: PLR0917 - what is drawn
    states: list[str], serving: int, desired: int, size: int, reuse: bool, zoned: bool
) -> None:
    pool = [seen(number, state, zone="ab"[number % 2 if zoned else 0]) for number, state in enumerate(states)]
    live = [seen(50 + number, IN_SERVICE) for number in range(serving)]
    decided, warm = act(Pool(size, reuse=reuse), pool, live, desired)
    leaving = {one.member.id for one in pool if "Terminating" in one.member.lifecycle_state} | decided.ending.keys()
    stays = {one.member.id for one in pool} - leaving - {*warm.starting}
    assert len(stays) + len(warm.returning) + sum(warm.launches.values()) == size
    left = serving - sum(one.member.id in decided.ending for one in live) - len(warm.returning)
    rebalanced = 1 if decided.only_there else 0
    assert left + len(warm.starting) + sum(decided.launches.values()) - rebalanced in (desired, desired - rebalanced)
    assert not {*warm.starting} & decided.ending.keys()
    assert len({*warm.starting}) == len(warm.starting)
