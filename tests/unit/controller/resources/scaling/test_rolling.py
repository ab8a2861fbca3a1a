"""How a refresh replaces instances: all of them, with as many serving as must, and not more there than may be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.scaling.member import IN_SERVICE, Member
from stead_controller.resources.scaling.rolling import Coming, Rolling, coming, next_checkpoint, roll

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
WARM = timedelta(seconds=60)


def member(number, state=IN_SERVICE, **changes):
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
    return replace(made, **changes)


def rolling(*stale, budget=99, healthy=(90, 100), warmup=timedelta(0)):
    return Rolling(frozenset(one.id for one in stale), budget, healthy, warmup)


def act(refresh, desired, members, served=None, now=NOW):
    return roll(refresh, desired, members, served or dict.fromkeys((one.id for one in members), NOW), now)


def test_the_oldest_of_those_that_serve_ends_first():
    members = [member(3), member(1), member(2), member(0, "Pending")]
    assert act(rolling(*members), 3, members).ending == ["i-001"]
    assert act(rolling(*members[:2]), 3, members[:3]).ending == ["i-001"]


def test_what_does_not_serve_counts_as_missing():
    members = [member(0), member(1), member(2, healthy=False)]
    assert act(rolling(*members), 3, members).ending == []
    coming = [member(0), member(1), member(2, "Pending")]
    assert act(rolling(*coming[:2]), 3, coming).ending == []


@pytest.mark.parametrize(
    ("desired", "healthy", "least", "most"),
    [
        (10, (90, 100), 9, 10),
        (10, (100, 100), 9, 10),
        (1, (90, 100), 0, 1),
        (3, (50, 100), 2, 3),
        (10, (100, 110), 10, 11),
        (3, (100, 110), 3, 4),
        (3, (90, 190), 3, 5),
        (10, (50, 150), 5, 15),
    ],
)
def test_percentages_are_of_the_desired_capacity(desired, healthy, least, most):
    refresh = rolling(healthy=healthy)
    assert (refresh.least(desired), refresh.most(desired)) == (least, most)


def test_as_many_more_are_wanted_as_are_still_to_be_replaced():
    members = [member(number) for number in range(4)]
    assert act(rolling(*members, healthy=(100, 200)), 4, members).wanted == 8
    assert act(rolling(*members[:1], healthy=(100, 200)), 4, members).wanted == 5
    assert act(rolling(*members, healthy=(100, 200), budget=2), 4, members).wanted == 6
    assert act(rolling(*members), 4, members).wanted == 4


def test_a_new_one_serves_when_it_is_warm_and_not_before():
    old, new = [member(0), member(1)], member(2)
    refresh = rolling(*old, healthy=(100, 150), warmup=WARM)
    served = {"i-000": NOW, "i-001": NOW, "i-002": NOW}
    cold = act(refresh, 2, [*old, new], served, NOW + WARM - timedelta(seconds=1))
    assert (cold.ending, cold.again) == ([], NOW + WARM)
    warm = act(refresh, 2, [*old, new], served, NOW + WARM)
    assert (warm.ending, warm.again) == (["i-000"], None)


def test_one_that_comes_is_not_warming_up_yet():
    old, new = member(0), member(1, "Pending")
    refresh = rolling(old, healthy=(100, 200), warmup=WARM)
    assert act(refresh, 1, [old, new], {"i-000": NOW, "i-001": None}).again is None


def test_no_more_end_than_the_budget_allows():
    members = [member(number) for number in range(4)]
    assert act(rolling(*members, healthy=(0, 100), budget=1), 4, members).ending == ["i-000"]
    paused = act(rolling(*members, healthy=(0, 100), budget=0), 4, members)
    assert (paused.ending, paused.is_done) == ([], True)


def test_weights_count():
    members = [member(number, weight=2) for number in range(3)]
    assert act(rolling(*members, healthy=(50, 100)), 6, members).ending == ["i-000"]


@pytest.mark.parametrize("state", ["Pending", "Pending:Wait"])
def test_it_is_not_done_while_an_instance_comes_or_warms_up_or_is_missing(state):
    members = [member(0), member(1)]
    assert act(rolling(), 2, members).is_done
    assert not act(rolling(), 3, members).is_done
    assert not act(rolling(), 2, [members[0], member(1, state)]).is_done
    assert not act(rolling(), 2, [members[0], member(1, healthy=False)]).is_done
    assert not act(rolling(warmup=WARM), 2, members).is_done
    assert not act(rolling(members[0]), 2, members).is_done


@given(
    desired=st.integers(1, 12),
    least=st.integers(0, 100),
    most=st.integers(100, 200),
    arrivals=st.lists(st.booleans(), min_size=400, max_size=400),
)
def test_all_are_replaced_with_as_many_serving_as_must(desired, least, most, arrivals):
    members = [member(number) for number in range(desired)]
    old = frozenset(one.id for one in members)
    count = desired
    for arrives in arrivals:
        refresh = Rolling(old & {one.id for one in members}, 99, (least, most), timedelta(0))
        rolled = act(refresh, desired, members)
        if rolled.is_done:
            break
        members = [one for one in members if one.id not in rolled.ending]
        serving = sum(one.lifecycle_state == IN_SERVICE for one in members)
        assert serving >= refresh.least(desired)
        while len(members) < rolled.wanted:
            members.append(member(count, "Pending"))
            count += 1
        assert len(members) <= rolled.most
        if arrives:
            members = [replace(one, lifecycle_state=IN_SERVICE) for one in members]
    else:
        assert arrivals.count(True) < 30, "it does not end"
    if arrivals.count(True) >= 30:
        assert not old & {one.id for one in members}
        assert len(members) == desired


def test_checkpoints_are_of_all_that_is_replaced():
    assert [next_checkpoint((20, 50), reached, 9) for reached in range(3)] == [2, 5, 9]
    assert next_checkpoint((), 0, 7) == 7
    assert next_checkpoint((50,), 0, 0) == 0


def test_what_is_replaced_serves_when_it_is_in_service_and_warm():
    old = [member(0), member(1)]
    refresh = rolling(*old, warmup=WARM)
    new = member(5)

    def seen(*others, since=NOW - WARM, desired=3):
        there = [*old, *others]
        return coming(refresh, desired, there, dict.fromkeys((one.id for one in there), since), NOW)

    assert seen(new) == Coming(0, None, None)
    assert seen(new, since=NOW - WARM + timedelta(seconds=1)) == Coming(1, "i-005", None)
    assert seen(new, since=None) == Coming(1, "i-005", None)
    assert seen(member(5, "Pending")) == Coming(1, None, "i-005")
    assert seen(member(5, healthy=False)) == Coming(1, None, "i-005")
    assert seen() == Coming(1, None, None)
    assert seen(desired=1) == Coming(0, None, None)
    assert seen(new, member(6, "Pending"), desired=4) == Coming(1, None, "i-006")
    assert seen(replace(new, weight=2), desired=4) == Coming(0, None, None)


def test_what_waits_is_not_what_replaces():
    waiting = replace(rolling(member(0), warmup=WARM), waiting=frozenset({"i-001"}))
    there = [member(0), member(1)]
    served = dict.fromkeys((one.id for one in there), NOW)
    assert coming(waiting, 2, there, served, NOW) == Coming(0, None, None)
