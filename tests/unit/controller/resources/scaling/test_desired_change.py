"""What policies wish, and what becomes of it: warm-up, bounds, and the proportion of a metric to its target."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.scaling.desired_change import Size, tracked, with_warm_up


@pytest.mark.parametrize(
    ("size", "wanted", "new"),
    [
        (Size(3, 1, 10, 3), 5, 5),
        (Size(3, 1, 10, 3), 3, None),
        (Size(3, 1, 10, 3), 2, 2),
        (Size(3, 1, 10, 3), 0, 1),
        (Size(3, 1, 10, 3), 99, 10),
        (Size(10, 1, 10, 10), 99, None),
        (Size(1, 1, 10, 1), 0, None),
        (Size(11, 1, 20, 10, True), 11, None),
        (Size(11, 1, 20, 10, True), 13, 13),
        (Size(11, 1, 20, 10, True), 9, None),
    ],
)
def test_what_a_policy_wants_becomes_desired(size: Size, wanted: int, new: int | None) -> None:
    assert with_warm_up(size, wanted) == new


@pytest.mark.parametrize(
    ("size", "value", "target", "scale_in", "new"),
    [
        (Size(1, 1, 10, 1), 100, 50, False, 2),
        (Size(4, 1, 10, 4), 61, 50, False, 5),
        (Size(4, 1, 10, 4), 500, 50, False, 10),
        (Size(10, 1, 20, 10), 33, 30, False, 11),
        (Size(10, 1, 20, 10), 60, 30, False, 20),
        (Size(10, 1, 20, 10), 30, 30, False, None),
        (Size(10, 1, 20, 10), 33, 30, True, None),
        (Size(10, 1, 20, 10), 21, 30, True, 7),
        (Size(10, 1, 20, 10), 22, 30, True, 8),
        (Size(10, 1, 20, 10), 21, 30, False, None),
        (Size(2, 1, 20, 2), 28, 30, True, None),
        (Size(2, 1, 20, 2), 0, 30, True, 1),
        (Size(6, 1, 20, 4, True), 60, 50, False, None),
        (Size(6, 1, 20, 4, True), 100, 50, False, 8),
        (Size(6, 1, 20, 4, True), 10, 50, True, None),
        (Size(0, 0, 5, 0), 60, 30, False, 2),
        (Size(2, 0, 5, 0, True), 60, 30, False, None),
        (Size(2, 0, 5, 0), 600, 30, False, None),
        (Size(5, 1, 9, 3), 60, 50, False, None),
        (Size(5, 1, 9, 3), 100, 50, False, 6),
        (Size(5, 1, 9, 3), 30, 50, True, 2),
    ],
)
def test_a_metric_is_brought_to_its_target(
    size: Size, value: float, target: float, scale_in: bool, new: int | None
) -> None:
    assert tracked(size, value, target, scale_in=scale_in) == new


@given(
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 50),
    st.booleans(),
    st.floats(0, 1000),
    st.floats(0.1, 1000),
)
def test_what_always_holds(  # noqa: PLR0917 - what hypothesis draws
    minimum: int, more: int, least: int, uncounted: int, warming: bool, value: float, target: float
) -> None:
    desired = minimum + min(least, more)
    size = Size(desired, minimum, minimum + more, max(0, desired - uncounted), warming)
    out, back = (tracked(size, value, target, scale_in=scale_in) for scale_in in (False, True))
    assert out is None or back is None
    for new in (out, back):
        assert new is None or size.minimum <= new <= size.maximum
    assert out is None or out > size.desired
    assert back is None or (back < size.desired and not size.warming)
    if out is not None and out < size.maximum and desired:
        assert out * target >= size.counted * value * (1 - 1e-6)
        assert out == math.ceil(size.counted * value / target - 1e-9)
