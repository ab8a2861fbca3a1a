"""Which instances go: zones before purchase options before policies, never the protected, and never more than asked."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.scaling.member import Member
from stead_controller.resources.scaling.termination import POLICIES, Distribution, Facts, choose

NOW = datetime(2026, 11, 28, 20, 0, 0, tzinfo=UTC)
CURRENT = ("lt-1", 3)
FACTS = Facts(NOW, CURRENT)
BY_CONFIGURATION = Facts(NOW, "new", {"new": NOW, "old": NOW - timedelta(days=2), "older": NOW - timedelta(days=3)})
MIXED = replace(
    FACTS, distribution=Distribution(0, 50), ranks={("spot", "a"): 0, ("spot", "b"): 1, ("on-demand", "a"): 0}
)


def member(name: str, minutes: int = 10, **more: Any) -> Member:
    base = Member(name, "a", "InService", True, False, NOW - timedelta(minutes=minutes), CURRENT, "a")
    return replace(base, **more)


def test_the_zone_with_most_instances_gives_first() -> None:
    group = [member("1", zone="a"), member("2", zone="b"), member("3", zone="b"), member("4", zone="c")]
    assert choose(group, [], 1, FACTS) == ["2"]
    assert choose(group, ["OldestInstance"], 4, FACTS) == ["2", "1", "3", "4"]


def test_balanced_zones_are_one_to_the_policies() -> None:
    group = [member("1", 10, zone="a"), member("2", 30, zone="b"), member("3", 20, zone="c")]
    assert choose(group, ["OldestInstance"], 1, FACTS) == ["2"]
    assert choose(group, ["NewestInstance"], 1, FACTS) == ["1"]


def test_protected_instances_count_for_their_zone_but_stay() -> None:
    group = [
        *(member(str(n), zone="a", protected=True) for n in range(3)),
        *(member(str(n), zone="b", protected=n == 3) for n in range(3, 6)),
        member("6", zone="c"),
    ]
    assert choose(group, [], 1, FACTS) == ["4"]
    assert choose(group, [], 9, FACTS) == ["4", "5", "6"]
    one_free = [member("1", 50, protected=True), member("2"), member("3", 40, zone="b")]
    assert choose(one_free, ["OldestInstance"], 1, FACTS) == ["2"]


@pytest.mark.parametrize(
    "state", ["Standby", "Terminating", "Terminating:Wait", "Detaching", "EnteringStandby", "Warmed:Stopped"]
)
def test_instances_that_are_out_of_service_neither_count_nor_go(state: str) -> None:
    group = [
        member("1", lifecycle_state=state),
        member("2", lifecycle_state=state),
        member("3"),
        member("4", 20, zone="b"),
    ]
    assert choose(group, ["OldestInstance"], 9, FACTS) == ["4", "3"]


@pytest.mark.parametrize("state", ["Pending", "Pending:Wait", "Pending:Proceed"])
def test_instances_on_their_way_into_service_may_go(state: str) -> None:
    assert choose([member("1", lifecycle_state=state)], [], 1, FACTS) == ["1"]


def test_an_unhealthy_instance_is_no_matter_of_policies() -> None:
    group = [member("1", healthy=False), member("2", healthy=False), member("3"), member("4", 20, zone="b")]
    assert choose(group, ["OldestInstance"], 9, FACTS) == ["4", "3"]


def test_templates_go_by_configuration_then_other_templates_then_the_oldest_version() -> None:
    group = [
        member("1", source=("lt-1", 3)),
        member("2", source=("lt-1", 2)),
        member("3", source=("lt-0", 9)),
        member("4", source="configuration"),
    ]
    assert choose(group, ["OldestLaunchTemplate"], 4, FACTS) == ["4", "3", "2", "1"]
    assert choose(group, ["Default"], 4, FACTS) == ["4", "3", "2", "1"]
    assert choose(group, ["OldestLaunchConfiguration"], 4, FACTS) == ["4", "1", "2", "3"]


def test_configurations_go_by_age_and_the_current_one_last() -> None:
    names = ["new", "old", "older", "deleted"]
    group = [*(member(str(n), source=name) for n, name in enumerate(names)), member("4", source=("lt-1", 1))]
    assert choose(group, ["OldestLaunchConfiguration"], 5, BY_CONFIGURATION) == ["4", "3", "2", "1", "0"]
    assert choose(group, [], 5, BY_CONFIGURATION) == ["4", "3", "2", "1", "0"]
    assert choose(group, ["OldestLaunchTemplate"], 5, BY_CONFIGURATION) == ["4", "0", "1", "2", "3"]
    again = replace(BY_CONFIGURATION, current="older")
    assert choose(group, ["OldestLaunchConfiguration"], 5, again) == ["4", "3", "1", "0", "2"]


def test_the_default_ends_with_the_hour() -> None:
    group = [member("1", 60), member("2", 119), member("3", 50), member("4", 59, source=("lt-1", 4))]
    assert choose(group, ["Default"], 4, FACTS) == ["2", "3", "1", "4"]
    assert choose(group, ["ClosestToNextInstanceHour"], 4, FACTS) == ["2", "4", "3", "1"]


def test_later_policies_decide_what_earlier_ones_leave_open() -> None:
    group = [member("1", 10), member("2", 20), member("3", 5, source=("lt-1", 2)), member("4", 6, source=("lt-1", 2))]
    assert choose(group, ["OldestLaunchTemplate", "OldestInstance"], 4, FACTS) == ["4", "3", "2", "1"]


def test_what_no_policy_tells_apart_goes_by_id() -> None:
    assert choose([member("3"), member("1"), member("2")], [], 2, FACTS) == ["1", "2"]


def test_the_allocation_strategy_decides_by_rank_and_unwanted_types_go_first() -> None:
    group = [member(name, lifecycle="spot", instance_type=name) for name in ("a", "b", "c")]
    all_spot = replace(MIXED, distribution=Distribution(0, 0))
    assert choose(group, ["AllocationStrategy"], 3, all_spot) == ["c", "b", "a"]
    assert choose(group, ["Default"], 3, all_spot) == ["c", "b", "a"]
    assert choose(group, ["AllocationStrategy"], 3, replace(all_spot, distribution=None)) == ["a", "b", "c"]
    assert choose(group, ["OldestInstance", "AllocationStrategy"], 3, all_spot) == ["c", "b", "a"]


def test_the_purchase_option_that_is_too_many_gives_first() -> None:
    group = [*(member(f"d{n}", 30) for n in range(3)), *(member(f"s{n}", 20, lifecycle="spot") for n in range(3))]
    assert choose(group, ["OldestInstance"], 6, MIXED) == ["s0", "d0", "s1", "d1", "s2", "d2"]
    based = replace(MIXED, distribution=Distribution(2, 0))
    assert choose(group, ["NewestInstance"], 6, based) == ["d0", "s0", "s1", "s2", "d1", "d2"]
    assert choose(group, ["NewestInstance"], 2, FACTS) == ["s0", "s1"]


def test_zones_come_before_purchase_options() -> None:
    group = [member("1"), member("2"), member("3", zone="b", lifecycle="spot")]
    assert choose(group, [], 1, replace(MIXED, distribution=Distribution(9, 0))) == ["1"]


def test_weights_never_take_more_than_asked() -> None:
    group = [member("1", 40, weight=4), member("2", 30, weight=2), member("3", 20, weight=2), member("4", 10, weight=1)]
    assert choose(group, ["OldestInstance"], 3, FACTS) == ["2", "4"]
    assert choose(group, ["OldestInstance"], 4, FACTS) == ["1"]
    assert choose(group, ["OldestInstance"], 0, FACTS) == []
    heavy = [member("1", weight=4, zone="a"), member("2", weight=4, zone="a"), member("3", zone="b")]
    assert choose(heavy, [], 3, FACTS) == ["3"]


def test_weights_decide_about_the_purchase_option() -> None:
    group = [member("1", weight=2), member("2", lifecycle="spot"), member("3", lifecycle="spot")]
    assert choose(group, [], 2, replace(MIXED, distribution=Distribution(0, 40))) == ["2", "3"]


@pytest.mark.parametrize(
    ("base", "percentage", "capacity", "on_demand"),
    [
        (0, 100, 5, 5),
        (0, 0, 5, 0),
        (2, 0, 1, 1),
        (2, 0, 5, 2),
        (1, 50, 4, 3),
        (0, 50, 3, 2),
        (0, 1, 1, 1),
        (0, 30, 10, 3),
        (3, 25, 7, 4),
    ],
)
def test_the_distribution_rounds_up_in_favour_of_on_demand(
    base: int, percentage: int, capacity: int, on_demand: int
) -> None:
    assert Distribution(base, percentage).on_demand(capacity) == on_demand


MEMBERS = st.builds(
    member,
    st.uuids().map(str),
    st.integers(0, 200),
    zone=st.sampled_from("abc"),
    protected=st.booleans(),
    lifecycle=st.sampled_from(["spot", "on-demand"]),
    weight=st.sampled_from([1, 1, 1, 2, 3]),
    source=st.sampled_from([("lt-1", 1), ("lt-1", 3), ("lt-2", 1), "old", "new"]),
    instance_type=st.sampled_from("abc"),
)


@given(
    st.lists(MEMBERS, max_size=12, unique_by=lambda one: one.id),
    st.lists(st.sampled_from(sorted(POLICIES)), max_size=3),
    st.integers(0, 15),
    st.sampled_from([FACTS, BY_CONFIGURATION, MIXED]),
)
def test_what_always_holds(group: list[Member], policies: list[str], count: int, facts: Facts) -> None:
    by_id = {one.id: one for one in group}
    chosen = choose(group, policies, count, facts)
    assert len(set(chosen)) == len(chosen)
    assert not any(by_id[name].protected for name in chosen)
    weight = sum(by_id[name].weight for name in chosen)
    assert weight <= count
    left = [one for one in group if one.id not in chosen and not one.protected]
    assert not any(one.weight <= count - weight for one in left)
    assert choose(group[::-1], policies, count, facts) == chosen
    counts = Counter(one.zone for one in group)
    if chosen and all(one.weight == 1 and not one.protected for one in group):
        assert counts[by_id[chosen[0]].zone] == max(counts.values())
