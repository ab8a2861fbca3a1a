"""What days to come will amount to."""

from math import isclose, sqrt

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metering import forecast


@given(st.floats(0, 1e9), st.integers(3, 28), st.integers(1, 90), st.integers(51, 99))
def test_days_that_are_all_alike_go_on_so(amount, known, days, level):
    found = forecast.of_days([amount] * known, days, level)
    assert isclose(found.mean, amount * days)
    assert isclose(found.lower, found.upper)


def test_the_interval_is_that_of_a_mean_of_days_and_of_days_to_come():
    known = [1.0, 2.0, 3.0, 6.0]  # mean 3, s² = 14 / 3
    found = forecast.of_days(known, 2, 80)
    reach = 1.2815515655446004 * sqrt(14 / 3 * (2 + 4 / 4))
    assert isclose(found.mean, 6)
    assert isclose(found.upper - found.mean, reach)
    assert isclose(found.mean - found.lower, reach)


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=28), st.integers(1, 90))
def test_a_surer_interval_is_wider_and_none_is_negative(known, days):
    sure, surer = (forecast.of_days(known, days, level) for level in (60, 95))
    assert 0 <= surer.lower <= sure.lower <= sure.upper <= surer.upper
