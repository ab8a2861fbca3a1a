"""Which host is chosen of those that fit, against a model that looks at each."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.placement.choose_host import Need, Room, choose_host

# Small numbers, so that what just fits and what just does not are often among them.
small = st.integers(-2, 6)
rooms = st.lists(
    st.builds(Room, st.uuids().map(str), st.just("z"), small, small, st.integers(0, 6), st.booleans()), max_size=12
)
needs = st.builds(Need, st.integers(1, 5), st.integers(1, 5))
ROOM = Room("h-5", "z", cpus_free=16, memory_free=10, threads=4, accelerated=True)


def model(room, need):
    """Whether the rules allow it."""
    return all([need.vcpus <= room.threads, need.vcpus <= room.cpus_free, need.memory <= room.memory_free])


@given(rooms, needs)
def test_it_finds_a_place_whenever_one_exists_and_never_where_there_is_none(rooms, need):
    fitting = [room for room in rooms if model(room, need)]
    chosen = choose_host(rooms, need)
    assert (chosen is None) == (not fitting)
    if chosen:
        assert chosen in fitting
        of_its_kind = [room for room in fitting if room.accelerated == chosen.accelerated]
        assert chosen.accelerated or not any(room.accelerated for room in fitting)
        assert all(chosen.memory_free >= room.memory_free for room in of_its_kind)


@given(rooms, needs, st.randoms())
def test_the_order_of_hosts_does_not_matter(rooms, need, random):
    shuffled = list(rooms)
    random.shuffle(shuffled)
    assert choose_host(rooms, need) == choose_host(shuffled, need)


@pytest.mark.parametrize(
    "better", [{"memory_free": 11}, {"cpus_free": 17}, {"host_id": "h-4"}], ids=["memory", "vCPUs", "id"]
)
def test_one_kind_of_room_after_the_other_decides(better):
    other = replace(ROOM, **{"host_id": "h-6"} | better)
    assert choose_host([ROOM, other], Need(1, 1)) is other


def test_kvm_goes_before_room():
    emulated = replace(ROOM, host_id="h-1", memory_free=1000, cpus_free=1000, accelerated=False)
    assert choose_host([emulated, ROOM], Need(1, 1)) is ROOM
    assert choose_host([emulated, ROOM], Need(1, 11)) is emulated


@pytest.mark.parametrize(
    ("need", "fits"),
    [(Need(4, 10), True), (Need(5, 10), False), (Need(4, 11), False), (Need(17, 1), False)],
)
def test_a_guest_has_no_more_vcpus_than_its_host_has_threads(need, fits):
    assert (choose_host([ROOM], need) is ROOM) == fits
