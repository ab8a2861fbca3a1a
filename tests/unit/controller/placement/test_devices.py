"""Which devices an instance gets: by a model that tries every set of groups."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.catalog.instance_type import DeviceCount
from stead_controller.placement.devices import Device, choose

GPU, SOUND, NIC = "10de:1eb8", "10de:10f8", "8086:10d3"
ONE_GPU = (DeviceCount(GPU, 1),)

devices = st.lists(
    st.tuples(st.sampled_from([GPU, SOUND, NIC]), st.integers(1, 5), st.sampled_from([True, True, True, False])),
    max_size=9,
).map(lambda found: [Device(f"0000:{number:02x}:00.0", *each) for number, each in enumerate(found)])
wishes = st.dictionaries(st.sampled_from([GPU, SOUND, NIC]), st.integers(1, 4), min_size=1).map(
    lambda counts: tuple(DeviceCount(model, count) for model, count in counts.items())
)


def fits(found, groups, wanted):
    """Whether groups are free, and have together just what is wanted; each has some of it."""
    models = {one.model for one in wanted}
    chosen = [device for device in found if device.group in groups]
    counts = {one.model: sum(device.model == one.model for device in chosen) for one in wanted}
    useful = all(any(device.group == group and device.model in models for device in chosen) for group in groups)
    return useful and all(device.free for device in chosen) and counts == {one.model: one.count for one in wanted}


@given(devices, wishes)
def test_whole_groups_with_exactly_what_is_wanted_are_found_whenever_there_are_some(found, wanted):
    numbers = sorted({device.group for device in found})
    sets = [set(some) for size in range(len(numbers) + 1) for some in combinations(numbers, size)]
    possible = [groups for groups in sets if fits(found, groups, wanted)]
    chosen = choose(found, wanted)
    if chosen is None:
        assert not possible
        return
    groups = {device.group for device in found if device.address in chosen}
    assert sorted(chosen) == sorted(device.address for device in found if device.group in groups)
    assert fits(found, groups, wanted)


def test_what_is_in_the_group_comes_with_it_but_a_group_without_more_is_preferred():
    shared = [Device("a", GPU, 1), Device("b", SOUND, 1)]
    assert choose(shared, ONE_GPU) == ("a", "b")
    assert choose([*shared, Device("c", GPU, 2)], ONE_GPU) == ("c",)


@pytest.mark.parametrize(
    "found",
    [
        [],
        [Device("a", NIC, 1)],
        [Device("a", GPU, 1, free=False)],
        [Device("a", GPU, 1), Device("b", SOUND, 1, free=False)],
        [Device("a", GPU, 1), Device("b", GPU, 1)],
    ],
)
def test_without_a_free_group_of_just_one_there_is_none(found):
    assert choose(found, ONE_GPU) is None


def test_of_equal_groups_the_one_with_the_lowest_number_is_taken():
    assert choose([Device("b", GPU, 12), Device("a", GPU, 9)], ONE_GPU) == ("a",)
