"""Adjustments and their rounding as the user guide tells them, and which intervals are refused."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.scaling.step_adjustment import CHANGE, EXACT, PERCENT, Step, changed, check, step_of

UP = (Step(0, 10, 1), Step(10, 20, 2), Step(20, None, 3))
DOWN = (Step(-10, 0, -1), Step(None, -10, -2))


@pytest.mark.parametrize(
    ("capacity", "kind", "adjustment", "magnitude", "after"),
    [
        (3, CHANGE, 5, 0, 8),
        (3, CHANGE, -2, 0, 1),
        (3, CHANGE, -5, 0, 0),
        (3, EXACT, 5, 0, 5),
        (3, EXACT, 0, 0, 0),
        (10, PERCENT, 10, 0, 11),
        (10, PERCENT, 127, 0, 22),
        (10, PERCENT, 6, 0, 11),
        (10, PERCENT, -5, 0, 9),
        (10, PERCENT, -67, 0, 4),
        (10, PERCENT, 0, 2, 10),
        (0, PERCENT, 50, 0, 0),
        (0, PERCENT, 50, 2, 2),
        (4, PERCENT, 25, 2, 6),
        (4, PERCENT, -25, 2, 2),
        (4, PERCENT, 100, 2, 8),
        (2, PERCENT, -200, 0, 0),
    ],
)
def test_adjustments(capacity: int, kind: str, adjustment: int, magnitude: int, after: int) -> None:
    assert changed(capacity, kind, adjustment, magnitude) == after


@given(st.integers(0, 1000), st.integers(-300, 300))
def test_a_percentage_is_rounded_towards_zero_but_never_to_it(capacity: int, percentage: int) -> None:
    exact = capacity * percentage / 100
    by = changed(capacity, PERCENT, percentage) - capacity
    if abs(exact) >= 1 and percentage >= -100:
        assert by == math.trunc(exact)
    elif percentage >= -100:
        assert by == (exact > 0) - (exact < 0)
    else:
        assert by == -capacity


@pytest.mark.parametrize(
    ("steps", "difference", "adjustment"),
    [
        (UP, 0, 1),
        (UP, 9.9, 1),
        (UP, 10, 2),
        (UP, 20, 3),
        (UP, 1e9, 3),
        (UP, -0.1, None),
        (DOWN, 0, None),
        (DOWN, -0.1, -1),
        (DOWN, -9.9, -1),
        (DOWN, -10, -2),
        (DOWN, -10.1, -2),
        ((Step(-20, -10, -1), Step(None, -20, -2)), -10, -1),
        ((Step(None, None, 1),), 5, 1),
        ((Step(None, 10, 1), Step(10, None, 2)), -5, 1),
    ],
)
def test_the_step_of_a_difference(steps: tuple[Step, ...], difference: float, adjustment: int | None) -> None:
    found = step_of(steps, difference)
    assert (found and found.adjustment) == adjustment


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((Step(None, None, 1),), "both be null"),
        ((Step(5, 5, 1), Step(5, None, 1)), "greater than its lower"),
        ((Step(9, 5, 1), Step(9, None, 1)), "greater than its lower"),
        ((Step(0, 10, 1), Step(9, None, 2)), "overlap"),
        ((Step(0, None, 1), Step(10, None, 2)), "null upper bound"),
        ((Step(None, 0, 1), Step(None, 5, 2), Step(5, None, 1)), "null lower bound"),
        ((Step(None, 0, 1), Step(None, 5, 2)), "null lower bound"),
        ((Step(5, None, 1), Step(20, 30, 2)), "overlap"),
        ((Step(0, 10, 1), Step(11, None, 2)), "gap"),
        ((Step(-10, 0, 1),), "null lower bound"),
        ((Step(0, 10, 1),), "null upper bound"),
        ((*(Step(n, n + 1, 1) for n in range(20)), Step(20, None, 1)), "at most 20"),
    ],
)
def test_what_is_refused(steps: tuple[Step, ...], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        check(steps, CHANGE)


def test_an_exact_capacity_is_not_negative() -> None:
    with pytest.raises(InvalidParameter, match="negative"):
        check([Step(0, None, -1)], EXACT)
    check([Step(0, None, -1)], CHANGE)
    check([Step(0, None, 0)], EXACT)


@pytest.mark.parametrize("steps", [UP, DOWN, UP[::-1], (Step(0, None, 1),), (Step(None, 0, -1),), UP + DOWN, ()])
def test_what_is_taken(steps: tuple[Step, ...]) -> None:
    check(steps, CHANGE)


def test_twenty_steps_are_taken() -> None:
    check([*(Step(n, n + 1, 1) for n in range(19)), Step(19, None, 1)], CHANGE)


@given(st.sets(st.integers(-50, 50), min_size=1, max_size=9).map(sorted), st.floats(-60, 60))
def test_intervals_that_are_taken_leave_one_step_for_each_difference(bounds: list[int], difference: float) -> None:
    ends = [None, *bounds, None]
    steps = [Step(lower, upper, n) for n, (lower, upper) in enumerate(pairwise(ends))]
    check(steps, CHANGE)
    assert step_of(steps, difference) is not None
