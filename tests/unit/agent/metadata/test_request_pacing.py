"""A guest's pace: a burst at once, then no more than its rate, whatever it does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.metadata.request_pacing import Pace


def test_burst_comes_at_once_and_the_rest_in_step() -> None:
    pace = Pace(rate=100, burst=5, bunch=0.01)
    assert [pace.wait(10.0) for _ in range(5)] == [0] * 5
    assert [round(pace.wait(10.0), 6) for _ in range(3)] == [0.01, 0.02, 0.03]
    assert not pace.rested(10.0)
    assert pace.rested(11.0)
    assert pace.wait(11.0) == 0


def test_what_goes_by_while_it_is_held_counts_for_nothing() -> None:
    pace = Pace(rate=100, burst=50, bunch=0.01)
    pace.hold(11.0)
    assert pace.next_in(10.0) == 1
    assert [round(pace.wait(11.0), 6) for _ in range(3)] == [0, 0.01, 0.02]
    pace.hold(11.01)
    assert round(pace.next_in(11.0), 6) == 0.03
    assert pace.rested(12.0)


def test_turns_that_are_waited_for_come_in_bunches_which_guests_share() -> None:
    ours, theirs = Pace(rate=100, burst=1, bunch=0.05), Pace(rate=100, burst=1, bunch=0.05)
    assert [round(10.0 + ours.wait(10.0), 6) for _ in range(8)] == [10.0, *[10.05] * 5, *[10.1] * 2]
    assert [round(10.012 + theirs.wait(10.012), 6) for _ in range(5)] == [10.012, *[10.05] * 3, 10.1]


def test_who_asks_one_after_the_other_loses_nothing_by_bunches() -> None:
    pace, now, answered = Pace(rate=100, burst=6, bunch=0.05), 0.0, 0
    while now < 10:
        now += pace.wait(now) + 0.001
        answered += 1
    assert 1000 <= answered <= 1006


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=200))
def test_no_second_has_more_than_rate_and_burst(pauses: list[float]) -> None:
    pace, now, turns = Pace(rate=50, burst=10, bunch=0.04), 0.0, []
    for pause in pauses:
        now += pause
        turns.append(now + pace.wait(now))
    assert turns == sorted(turns)
    for first in turns:
        assert sum(first <= turn < first + 1 for turn in turns) <= 63  # two more, of a bunch
