"""What a guest saves of the rate of all its volumes, and what that lets it do."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.machines.joint_credit import EASE_SECONDS, Terms, after, allowed, lasts

NANO = Terms(43, 2085)  # t3.nano, in megabits per second
RATES = st.integers(1, 10**9)
TERMS = st.builds(lambda one, other: Terms(min(one, other), max(one, other)), RATES, RATES)


def test_half_an_hour_at_the_most_spends_all():
    saved, spent = 1.0, 0
    while allowed(saved, NANO) == NANO.most:
        saved, spent = after(saved, NANO, 1, NANO.most), spent + 1
    assert spent == pytest.approx(1800 - EASE_SECONDS, abs=1 + 1800 * 43 / 2042)
    for _ in range(100):
        saved = after(saved, NANO, 1, allowed(saved, NANO))
    assert saved > 0
    assert allowed(saved, NANO) == pytest.approx(NANO.baseline, rel=0.05)


def test_a_day_in_which_it_does_nothing_saves_all():
    assert after(0.0, NANO, 86_400, 0) == 1.0
    assert after(0.0, NANO, 43_200, 0) == pytest.approx(0.5, rel=0.02)


def test_what_is_used_at_the_baseline_neither_saves_nor_spends():
    assert after(0.5, NANO, 3600, 3600 * 43) == 0.5


def test_too_much_is_paid_back_but_no_more_than_some():
    assert allowed(-0.005, NANO) == NANO.baseline
    assert after(0.0, NANO, 1, 10**9) == -0.01


def test_without_a_burst_nothing_is_saved():
    even = Terms(100, 100)
    assert (after(0.2, even, 10, 5000), allowed(0.0, even), lasts(0.0, even, 500)) == (1.0, 100, inf)


@given(TERMS, st.floats(-0.01, 1), st.lists(st.tuples(st.floats(0.1, 2), st.floats(0, 1)), max_size=200))
def test_what_is_done_is_within_the_baseline_and_what_was_saved(terms, saved, life):
    """A guest that keeps within what is allowed at each moment has never done more than it was promised."""
    done, seconds, began = 0.0, 0.0, max(0.0, saved)
    for passed, part in life:
        used = allowed(saved, terms) * passed * part
        saved = after(saved, terms, passed, used)
        done, seconds = done + used, seconds + passed
    assert done <= terms.baseline * seconds + began * terms.capacity + 1 + 1e-6 * done


@given(TERMS, st.floats(0, 1), RATES)
def test_a_rate_lasts_until_the_guest_is_slowed_down(terms, saved, rate):
    seconds = lasts(saved, terms, rate)
    if seconds in {0, inf} or seconds > 10**6:
        return
    rate = min(rate, terms.most)
    assert allowed(after(saved, terms, 0.99 * seconds, 0.99 * seconds * rate), terms) >= rate - 1
