"""A guest's pace: a burst at once, then no more than its rate, whatever it does."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stead_agent.metadata.request_pacing import RequestPacing


def test_burst_comes_at_once_and_the_rest_in_step() -> None:
    pacing = RequestPacing(rate=100, burst=5, bunch=0.01)
    assert [pacing.wait(10.0) for _ in range(5)] == [0] * 5
    assert [round(pacing.wait(10.0), 6) for _ in range(3)] == [0.01, 0.02, 0.03]
    assert not pacing.rested(10.0)
    assert pacing.rested(11.0)
    assert pacing.wait(11.0) == 0


def test_what_goes_by_while_it_is_held_counts_for_nothing() -> None:
    pacing = RequestPacing(rate=100, burst=50, bunch=0.01)
    pacing.hold(11.0)
    assert pacing.next_in(10.0) == 1
    assert [round(pacing.wait(11.0), 6) for _ in range(3)] == [0, 0.01, 0.02]
    pacing.hold(11.01)
    assert round(pacing.next_in(11.0), 6) == 0.03
    assert pacing.rested(12.0)


def test_turns_that_are_waited_for_come_in_bunches_which_guests_share() -> None:
    ours, theirs = RequestPacing(rate=100, burst=1, bunch=0.05), RequestPacing(rate=100, burst=1, bunch=0.05)
    assert [round(10.0 + ours.wait(10.0), 6) for _ in range(8)] == [10.0, *[10.05] * 5, *[10.1] * 2]
    assert [round(10.012 + theirs.wait(10.012), 6) for _ in range(5)] == [10.012, *[10.05] * 3, 10.1]


def test_who_asks_one_after_the_other_loses_nothing_by_bunches() -> None:
    pacing, now, answered = RequestPacing(rate=100, burst=6, bunch=0.05), 0.0, 0
    while now < 10:
        now += pacing.wait(now) + 0.001
        answered += 1
    assert 1000 <= answered <= 1006


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=200))
@example([*[0.0] * 10, 0.03125])  # the last is answered before the one that waits for its bunch
def test_no_second_has_more_than_rate_and_burst(pauses: list[float]) -> None:
    pacing, now, token_times = RequestPacing(rate=50, burst=10, bunch=0.04), 0.0, []
    for pause in pauses:
        now += pause
        token_times.append(now + pacing.wait(now))
    latest = itertools.accumulate(token_times, max)
    assert all(token_time > before - 0.04 for token_time, before in zip(token_times, latest, strict=True)), "of a bunch"
    for first in token_times:
        assert sum(first <= token_time < first + 1 for token_time in token_times) <= 63  # two more, of a bunch
