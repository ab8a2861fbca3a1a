"""Sizes and speeds of volumes by type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.catalog.volume_types import ALL, Shape, complete, limits
from stead_controller.errors import BadRequest


@pytest.mark.parametrize(
    ("shape", "iops", "throughput"),
    [
        (Shape(8, "gp3"), 3000, 125),
        (Shape(100, "gp3", 6000, 1000), 6000, 1000),
        (Shape(1, "gp2"), 100, None),
        (Shape(1000, "gp2"), 3000, None),
        (Shape(16384, "gp2"), 16000, None),
        (Shape(10, "io1", 500), 500, None),
        (Shape(4, "io2", 4000), 4000, None),
        (Shape(125, "st1"), None, None),
        (Shape(1, "standard"), None, None),
    ],
)
def test_what_a_type_gives(shape, iops, throughput):
    assert complete(shape) == Shape(shape.size, shape.volume_type, iops, throughput)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(0, "gp3"),
        Shape(-1, "gp3"),
        Shape(65537, "gp3"),
        Shape(3, "io1", 100),
        Shape(124, "st1"),
        Shape(1025, "standard"),
        Shape(8, "gp4"),
        Shape(8, "gp2", 100),
        Shape(8, "gp2", throughput=125),
        Shape(8, "standard", 100),
        Shape(8, "gp3", 2999),
        Shape(8, "gp3", 4001),
        Shape(1000, "gp3", 80001),
        Shape(8, "gp3", 3000, 124),
        Shape(8, "gp3", 3000, 751),
        Shape(8, "io1"),
        Shape(8, "io2"),
        Shape(8, "io1", 401),
        Shape(8, "io2", 8001),
        Shape(8, "io1", 400, 125),
    ],
)
def test_refused(shape):
    with pytest.raises(BadRequest):
        complete(shape)


@given(
    st.builds(
        Shape,
        st.integers(-1, 70000),
        st.sampled_from(sorted(ALL)),
        st.none() | st.integers(0, 300_000),
        st.none() | st.integers(0, 3000),
    )
)
def test_what_is_complete_stays_so(shape):
    try:
        shape = complete(shape)
    except BadRequest:
        return
    chosen = ALL[shape.volume_type].iops is not None
    assert complete(Shape(shape.size, shape.volume_type, shape.iops if chosen else None, shape.throughput)) == shape
    iops, throughput = limits(shape)
    assert iops >= 0
    assert throughput >= 0
    assert iops or throughput
