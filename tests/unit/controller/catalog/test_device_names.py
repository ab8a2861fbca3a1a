"""Names of devices."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.catalog import device_names
from stead_controller.errors import InvalidParameter


@pytest.mark.parametrize(
    "name",
    [
        "/dev/sdf",
        "/dev/sda1",
        "/dev/sdz15",
        "/dev/xvdf",
        "/dev/xvda",
        "/dev/xvdaa",
        "/dev/xvdba",
        "/dev/xvddz",
        "xvdh",
        "sdh",
    ],
)
def test_good_names(name):
    device_names.check(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/dev/sd",
        "/dev/sdF",
        "/dev/sdf0",
        "/dev/sdf16",
        "/dev/hda",
        "/dev/xvdea",
        "/dev/sdf\n",
        "/dev/../x",
        "sdaa",
    ],
)
def test_bad_names(name):
    with pytest.raises(InvalidParameter):
        device_names.check(name)


def test_points_of_attachment():
    device_names.check_free("/dev/sdf", ["/dev/sda1", "/dev/sdg", "/dev/sdf1"])
    device_names.check_free("/dev/xvda", ["/dev/xvdaa", "/dev/sda1"])
    for taken in ("/dev/sdf", "/dev/xvdf", "xvdf", "sdf"):
        with pytest.raises(InvalidParameter, match="Attachment point /dev/sdf is already in use"):
            device_names.check_free("/dev/sdf", [taken])
    for name, taken in (("/dev/sda1", "/dev/sda1"), ("/dev/sda", "/dev/xvda")):
        with pytest.raises(InvalidParameter):
            device_names.check_free(name, [taken])


@given(st.sets(st.sampled_from(list(device_names.free(())))))
def test_free_names(taken):
    chosen = list(islice(device_names.free(taken), 5))
    for name in chosen:
        device_names.check(name)
        device_names.check_free(name, taken)
