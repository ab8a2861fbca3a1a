"""What a group does next, as a pure function of what there is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.scaling import plan
from stead_controller.resources.scaling.member import Member
from stead_controller.resources.scaling.plan import Seen, Situation, Wait, Why, decide, pause_after, spread

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GROUP = Situation(desired=2, zones=("a", "b"))


def seen(number: int, state: str = "InService", power: str | None = "running", **changes: object) -> Seen:
    names = ("zone", "healthy", "protected")
    of_member: dict[str, object] = {name: changes.pop(name) for name in names if name in changes}
    of_member["launched"] = NOW - timedelta(days=int(str(changes.pop("age", 0))))
    member = Member(
        id=f"i-{number}",
        zone="a",
        lifecycle_state=state,
        healthy=True,
        protected=False,
        launched=NOW,
        source=("lt-1", 1),
        instance_type="t3.nano",
    )
    return Seen(replace(member, **of_member), power, **changes)  # type: ignore[arg-type]  # of any members


def last(members: object, count: int) -> list[str]:
    return [member.id for member in members][-count:]  # type: ignore[attr-defined]  # they are members


def test_launches_go_to_the_zones_that_have_least() -> None:
    assert spread(("a", "b"), {"a": 2}, 3) == {"b": 3} or spread(("a", "b"), {"a": 2}, 3) == {"a": 1, "b": 2}
    assert spread(("a", "b"), {"a": 2}, 2) == {"b": 2}
    assert spread(("a", "b", "c"), {}, 4) == {"a": 2, "b": 1, "c": 1}
    assert decide(GROUP, [seen(1)], last, NOW).launches == {"b": 1}


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 30))
def test_launches_end_in_balance(first: int, second: int, count: int) -> None:
    made = spread(("a", "b"), {"a": first, "b": second}, count)
    assert sum(made.values()) == count
    totals = [first + made.get("a", 0), second + made.get("b", 0)]
    if count >= abs(first - second):
        assert abs(totals[0] - totals[1]) <= 1


@given(
    st.integers(0, 30),
    st.lists(
        st.tuples(
            st.sampled_from(["Pending", "InService", "Standby", "Terminating"]),
            st.sampled_from(["pending", "running", "stopped", "terminated", None]),
            st.booleans(),
        ),
        max_size=30,
    ),
)
def test_what_is_there_and_what_is_launched_is_never_more_than_desired(
    desired: int, there: list[tuple[str, str | None, bool]]
) -> None:
    known = [seen(number, state, power, healthy=fine) for number, (state, power, fine) in enumerate(there)]
    decided = decide(replace(GROUP, desired=desired), known, last, NOW)
    counted = [one for one in known if plan.is_counted(one.member) and one.member.id not in decided.ending]
    launched = sum(decided.launches.values())
    assert len(counted) + launched <= desired
    assert len(counted) + launched == desired or (decided.due == NOW and launched == plan.LAUNCHED_AT_ONCE)


def test_many_launches_are_made_in_several_steps() -> None:
    decided = decide(replace(GROUP, desired=50), [], last, NOW)
    assert sum(decided.launches.values()) == plan.LAUNCHED_AT_ONCE
    assert decided.due == NOW
    assert decide(GROUP, [], last, NOW).due is None


def test_an_impaired_instance_is_waited_for() -> None:
    decided = decide(GROUP, [seen(1, impaired=True), seen(2)], last, NOW)
    assert (decided.doubted, decided.ending, decided.due) == (["i-1"], {}, NOW + plan.PATIENCE)
    waited = NOW + timedelta(seconds=5)
    decided = decide(GROUP, [seen(1, impaired=True, until=waited), seen(2)], last, NOW)
    assert (decided.doubted, decided.due) == ([], waited)
    assert decide(GROUP, [seen(1, impaired=True, until=NOW), seen(2)], last, NOW).ending == {"i-1": Why.IMPAIRED}
    assert decide(GROUP, [seen(1, until=NOW), seen(2)], last, NOW).trusted == ["i-1"]
    assert decide(GROUP, [seen(1), seen(2)], last, NOW).trusted == []


def test_a_grace_period_defers_the_end_of_an_impaired_instance() -> None:
    group = replace(GROUP, desired=1, grace=timedelta(seconds=300))
    young = seen(1, impaired=True, until=NOW, since=NOW - timedelta(seconds=299))
    assert decide(group, [young], last, NOW).due == NOW + timedelta(seconds=1)
    old = replace(young, since=NOW - timedelta(seconds=300))
    assert decide(group, [old], last, NOW).ending == {"i-1": Why.IMPAIRED}


def test_hooks_decide_together() -> None:
    group = replace(GROUP, desired=1)
    later = NOW + timedelta(seconds=9)
    waits = Wait(None, "ABANDON", later)
    done = Wait("CONTINUE", "ABANDON", later)

    def decided(*given: Wait, state: str = "Pending:Wait") -> plan.Plan:
        return decide(group, [seen(1, state, waits=given)], last, NOW)

    assert decided(waits, done).due == later
    assert decided(waits, done).entering == []
    assert decided(done, done).entering == ["i-1"]
    assert decided(done, replace(waits, until=NOW)).ending == {"i-1": Why.ABANDONED}
    assert decided(waits, replace(done, result="ABANDON")).ending == {"i-1": Why.ABANDONED}
    assert decided(done, state="Terminating:Wait").proceeding == ["i-1"]
    assert decided(waits, state="Terminating:Wait").proceeding == []


def test_a_failed_launch_is_not_tried_again_before_its_time() -> None:
    later = NOW + timedelta(seconds=1)
    waiting = decide(replace(GROUP, retry_at=later), [], last, NOW)
    assert (waiting.launches, waiting.due) == ({}, later)
    assert decide(replace(GROUP, retry_at=NOW), [], last, NOW).launches
    assert [pause_after(failures).seconds for failures in (1, 2, 3, 20)] == [5, 10, 20, 300]


def test_a_deleted_group_is_finished_when_all_have_ended() -> None:
    group = replace(GROUP, deleting=True, desired=0)
    decided = decide(group, [seen(1, protected=True), seen(2, "Pending", "running"), seen(3, "Standby")], last, NOW)
    assert set(decided.ending) == {"i-1", "i-2", "i-3"}
    assert not decided.finished
    assert not decided.entering
    assert decide(group, [seen(1, "Terminating", "terminated")], last, NOW).finished
    assert decide(group, [], last, NOW).finished


def test_a_maintenance_policy_lets_a_sick_instance_only_end_when_another_one_serves() -> None:
    group = replace(GROUP, healthy=(100, 150))
    sick, well = seen(1, healthy=False), seen(2, zone="b")
    decided = decide(group, [sick, well], last, NOW)
    assert (decided.ending, decided.launches) == ({}, {"a": 1})
    coming = seen(3, "Pending", "pending")
    decided = decide(group, [sick, well, coming], last, NOW)
    assert (decided.ending, decided.launches) == ({}, {})
    decided = decide(group, [sick, well, seen(3)], last, NOW)
    assert (decided.ending, decided.launches) == ({"i-1": Why.USER_HEALTH}, {})
    for healthy in (None, (50, 150), (90, 100)):
        assert decide(replace(GROUP, healthy=healthy), [sick, well], last, NOW).ending == {"i-1": Why.USER_HEALTH}
    many = [seen(number, healthy=False) for number in range(4)]
    decided = decide(replace(group, desired=4), many, last, NOW)
    assert (decided.ending, sum(decided.launches.values())) == ({}, 2)
    stopped = decide(group, [seen(1, power="stopped"), well], last, NOW)
    assert stopped.ending == {"i-1": Why.STOPPED}


def test_instances_that_lived_their_time_are_replaced_one_after_the_other() -> None:
    group = replace(GROUP, lifetime=timedelta(days=1))
    first, second = seen(1, age=2), seen(2, age=3, zone="b")
    decided = decide(group, [first, second], last, NOW)
    assert (decided.ending, decided.launches) == ({"i-2": Why.OLD}, {"b": 1})
    assert decide(group, [first, seen(3, "Pending", "pending", zone="b")], last, NOW).ending == {}
    young = decide(group, [seen(1, age=0), seen(2, age=0)], last, NOW)
    assert (young.ending, young.due) == ({}, NOW + timedelta(days=1))
    kept = replace(group, healthy=(100, 150))
    decided = decide(kept, [first, second], last, NOW)
    assert (decided.ending, decided.launches) == ({}, {"b": 1})
    coming = seen(3, "Pending", "pending", zone="b")
    assert decide(kept, [first, second, coming], last, NOW).ending == {}
    assert decide(kept, [first, second, seen(3, zone="b")], last, NOW).ending == {"i-2": Why.OLD}
    assert decide(replace(group, suspended=frozenset({"Launch"})), [first, second], last, NOW).ending == {}


def test_zones_are_balanced_again_below_the_maximum() -> None:
    group = replace(GROUP, maximum=3)
    lopsided = [seen(1), seen(2)]
    decided = decide(group, lopsided, last, NOW)
    assert (decided.launches, decided.only_there, decided.ending) == ({"b": 1}, True, {})
    coming = seen(3, "Pending", "pending", zone="b")
    assert decide(group, [*lopsided, coming], last, NOW).ending == {}
    assert decide(replace(group, maximum=2), [*lopsided, coming], last, NOW).ending == {"i-3": Why.SURPLUS}
    assert decide(group, [*lopsided, seen(3, zone="b")], last, NOW).ending == {"i-3": Why.SURPLUS}
    later = NOW + timedelta(seconds=1)
    for changed in (
        {"maximum": 2},
        {"suspended": frozenset({"AZRebalance"})},
        {"retry_at": later},
        {"balance_at": later},
    ):
        assert decide(replace(group, **changed), lopsided, last, NOW).launches == {}
    assert decide(replace(group, retry_at=later), lopsided, last, NOW).due == later
    assert decide(replace(group, balance_at=later), lopsided, last, NOW).due == later
    assert decide(replace(group, balance_at=NOW), lopsided, last, NOW).launches == {"b": 1}
    assert decide(replace(group, balance_at=later), lopsided[:1], last, NOW).launches == {"b": 1}  # as one is missing
    assert decided.present == {"a": 2}
    assert decide(group, [seen(1), seen(2, zone="b")], last, NOW).launches == {}
    assert decide(group, [seen(1, protected=True), seen(2, protected=True)], last, NOW).launches == {}
    assert decide(group, [seen(1), seen(2, "Pending", "pending")], last, NOW).launches == {}


def judged(*given: Seen, **changes: object) -> plan.Plan:
    return decide(replace(GROUP, desired=len(given), **changes), given, last, NOW)  # type: ignore[arg-type]  # of any member


def test_an_instance_enters_service_when_it_runs() -> None:
    assert judged(seen(1, "Pending", "running")).entering == ["i-1"]
    assert judged(seen(1, "Pending", "running")).due == NOW
    assert judged(seen(1, "Pending", "pending")).entering == []
    assert judged(seen(1, "Pending:Proceed", "running")).entering == ["i-1"]
    for state in ("stopping", "stopped", "shutting-down", "terminated", None):
        failed = judged(seen(1, "Pending", state))
        assert (failed.entering, failed.ending) == ([], {"i-1": Why.LAUNCH_FAILED})
    assert judged(seen(1, "Pending:Wait", "stopped")).ending == {"i-1": Why.LAUNCH_FAILED}


def test_an_instance_that_has_ended_is_removed() -> None:
    for state in ("Terminating", "Terminating:Wait", "Standby"):
        assert judged(seen(1, state, "terminated")).removed == ["i-1"]
        assert judged(seen(1, state, None)).removed == ["i-1"]
        assert judged(seen(1, state, "running")).removed == []
    assert judged(seen(1, "InService", "terminated")).removed == []


def test_what_makes_an_instance_sick() -> None:
    for state in ("stopping", "stopped", "shutting-down", "terminated", None):
        stopped = judged(seen(1, power=state))
        assert (stopped.unhealthy, stopped.ending, stopped.replacing) == (["i-1"], {"i-1": Why.STOPPED}, True)
    assert judged(seen(1, healthy=False)).unhealthy == []
    assert judged(seen(1, healthy=False, impaired=True)).ending == {"i-1": Why.IMPAIRED}
    well = judged(seen(1), seen(2, power="pending"))
    assert (well.unhealthy, well.ending, well.replacing) == ([], {}, False)


def test_suspended_processes_leave_sick_instances_alone() -> None:
    for process in ("Terminate", "ReplaceUnhealthy"):
        kept = judged(seen(1, power="stopped"), suspended=frozenset({process}))
        assert (kept.unhealthy, kept.ending, kept.replacing) == (["i-1"], {}, False)
    unchecked = frozenset({"HealthCheck"})
    assert judged(seen(1, power="stopped"), suspended=unchecked).unhealthy == []
    assert judged(seen(1, impaired=True, until=NOW), suspended=unchecked).trusted == ["i-1"]
    assert judged(seen(1, power="stopped", healthy=False), suspended=unchecked).ending == {"i-1": Why.STOPPED}
    assert judged(seen(1, healthy=False), suspended=unchecked).ending == {"i-1": Why.USER_HEALTH}


def test_suspended_processes_change_no_capacity() -> None:
    small, large = replace(GROUP, desired=0), replace(GROUP, desired=5)
    assert decide(small, [seen(1)], last, NOW).ending == {"i-1": Why.SURPLUS}
    assert decide(replace(small, suspended=frozenset({"Terminate"})), [seen(1)], last, NOW).ending == {}
    assert decide(replace(large, suspended=frozenset({"Launch"})), [seen(1)], last, NOW).launches == {}


def test_as_many_as_are_launched_at_once_need_one_step() -> None:
    assert decide(replace(GROUP, desired=plan.LAUNCHED_AT_ONCE), [], last, NOW).due is None


def test_a_maintenance_policy_makes_no_group_larger_that_is_whole_or_small() -> None:
    group = replace(GROUP, healthy=(50, 200))
    assert sum(decide(group, [], last, NOW).launches.values()) == 2
    assert decide(group, [seen(1), seen(2, zone="b")], last, NOW).launches == {}
    sick = seen(1, healthy=False)
    strict = replace(GROUP, desired=3, maximum=9, healthy=(100, 134))
    there = [sick, seen(2), seen(3), seen(4, "Pending", "pending")]
    assert decide(strict, there, last, NOW).launches == {}
    ended = seen(5, power="stopped", zone="b")
    both = decide(replace(GROUP, healthy=(100, 150)), [sick, ended], last, NOW)
    assert both.ending == {"i-5": Why.STOPPED}
    assert sum(both.launches.values()) == 2


def test_an_old_instance_waits_until_the_group_is_whole() -> None:
    group = replace(GROUP, lifetime=timedelta(days=1))
    old = seen(1, age=1)
    assert decide(group, [old, seen(2, zone="b")], last, NOW).ending == {"i-1": Why.OLD}
    assert decide(group, [old, seen(2, healthy=False)], last, NOW).ending == {"i-2": Why.USER_HEALTH}
    assert decide(group, [old, seen(2, power="stopped")], last, NOW).ending == {"i-2": Why.STOPPED}
    assert decide(group, [], last, NOW).ending == {}
    assert decide(replace(group, healthy=(100, 100)), [old, seen(2)], last, NOW).ending == {"i-1": Why.OLD}
    assert decide(replace(group, healthy=(50, 150)), [old, seen(2)], last, NOW).ending == {"i-1": Why.OLD}
    kept = replace(group, healthy=(100, 150))
    assert decide(kept, [old, seen(2, "Pending", "pending")], last, NOW).launches == {}
    assert decide(group, [old, seen(2, "Pending", "pending")], last, NOW).due == NOW + plan.PATIENCE


def test_what_keeps_zones_as_they_are() -> None:
    group = replace(GROUP, desired=3, maximum=9)
    there = [seen(1), seen(2), seen(3, zone="b")]
    assert decide(group, there, last, NOW).launches == {}
    lopsided = [seen(1), seen(2), seen(3)]
    assert decide(group, lopsided, last, NOW).launches == {"b": 1}
    assert decide(replace(group, retry_at=NOW), lopsided, last, NOW).launches == {"b": 1}
    kept = [seen(1, protected=True), seen(2, protected=True), seen(3, protected=True)]
    assert (
        decide(replace(group, zones=("a", "b", "c"), desired=4), [*kept, seen(4, zone="b")], last, NOW).launches == {}
    )
    heavy = [replace(one, member=replace(one.member, weight=2)) for one in lopsided]
    assert decide(replace(group, desired=6), heavy, last, NOW).launches == {}
    old = replace(group, lifetime=timedelta(days=1))
    decided = decide(old, [seen(1, age=2), *lopsided[1:]], last, NOW)
    assert (decided.ending, decided.launches, decided.only_there) == ({"i-1": Why.OLD}, {"b": 1}, False)


def test_a_deleted_group_ends_what_has_not_ended_yet() -> None:
    group = replace(GROUP, deleting=True, desired=0)
    there = [seen(1, "Terminating", "shutting-down"), seen(2, "Standby", "terminated"), seen(3, power="stopped")]
    decided = decide(group, there, last, NOW)
    assert (decided.ending, decided.removed, decided.unhealthy) == ({"i-3": Why.STOPPED}, ["i-2"], [])


def test_a_maintenance_policy_counts_what_serves_and_what_is_there() -> None:
    sick, well, ended = seen(1, healthy=False), seen(2, zone="b"), seen(3, power="stopped")
    decided = decide(replace(GROUP, healthy=(100, 110)), [sick, well], last, NOW)
    assert (decided.launches, decided.ending) == ({"a": 1}, {})
    alone = replace(GROUP, desired=1, healthy=(100, 200))
    assert decide(alone, [sick, ended], last, NOW).ending == {"i-3": Why.STOPPED}
    assert sum(decide(replace(GROUP, healthy=(50, 200)), [well], last, NOW).launches.values()) == 1
    unreplaced = frozenset({"ReplaceUnhealthy"})
    aged = replace(GROUP, lifetime=timedelta(days=1), suspended=unreplaced)
    assert decide(aged, [seen(4, age=1), sick], last, NOW).ending == {}
    kept = replace(GROUP, lifetime=timedelta(days=1), healthy=(100, 150), maximum=9)
    decided = decide(kept, [seen(4, age=1), seen(5)], last, NOW)
    assert (decided.launches, decided.only_there) == ({"b": 1}, False)


def test_a_group_is_looked_at_when_the_first_wait_ends() -> None:
    soon, later = NOW + timedelta(seconds=3), NOW + timedelta(seconds=9)
    done, waits = Wait("CONTINUE", "ABANDON", soon), Wait(None, "ABANDON", later)
    assert judged(seen(1, "Pending:Wait", waits=(done, waits))).due == later
    first = seen(1, "Pending:Wait", waits=(replace(waits, until=soon),))
    second = seen(2, "Pending:Wait", waits=(waits,))
    assert judged(first, second).due == judged(second, first).due == soon
