"""Which Spot Instances end for others: enough and not more, on the host where fewest have to, or none at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.placement.choose_host import fits
from stead_controller.placement.interruptions import Resident, choose
from stead_controller.placement.need import Need
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search

ZONE = "us-east-1a"
NEED = Search(Need(2, 2), ZONE)


def host(name, cpus=0, memory=0, **given):
    return Room(name, ZONE, cpus, memory, threads=8, **given)


def ids(found):
    return None if found is None else [one.instance_id for one in found]


def test_the_first_that_are_enough_end():
    there = [Resident("i-new", "a", 1, 1), Resident("i-older", "a", 1, 1), Resident("i-oldest", "a", 1, 1)]
    assert ids(choose([host("a")], there, NEED, 1)) == ["i-new", "i-older"]


def test_those_that_end_already_count_and_are_not_chosen_again():
    there = [Resident("i-new", "a", 1, 1), Resident("i-old", "a", 1, 1), Resident("i-ending", "a", 1, 1, ending=True)]
    assert ids(choose([host("a")], there, NEED, 1)) == ["i-new"]
    there = [Resident("i-new", "a", 2, 2), Resident("i-ending", "a", 2, 2, ending=True)]
    assert ids(choose([host("a")], there, NEED, 1)) == []


def test_what_a_larger_one_makes_needless_stays():
    there = [Resident("i-small", "a", 1, 1), Resident("i-large", "a", 2, 2)]
    assert ids(choose([host("a")], there, NEED, 1)) == ["i-large"]


def test_the_host_where_fewest_have_to_end_is_chosen_and_of_equals_the_first():
    there = [
        Resident("i-1", "a", 1, 1),
        Resident("i-2", "a", 1, 1),
        Resident("i-3", "b", 2, 2),
        Resident("i-4", "c", 2, 2),
    ]
    rooms = [host("a"), host("b"), host("c")]
    assert ids(choose(rooms, there, NEED, 1)) == ["i-3"]
    assert ids(choose(rooms, there, NEED, 2)) == ["i-3", "i-4"]
    assert ids(choose(rooms, there, NEED, 3)) == ["i-3", "i-4", "i-1", "i-2"]


def test_none_end_if_all_would_not_be_enough():
    there = [Resident("i-1", "a", 2, 2), Resident("i-2", "b", 1, 1)]
    assert choose([host("a"), host("b")], there, NEED, 2) is None


@pytest.mark.parametrize(
    "given",
    [{"state": "down"}, {"schedulable": False}, {"pool_free": 1.0}, {"store_free": 1.0}, {"architecture": "arm64"}],
)
def test_none_end_on_a_host_that_would_be_refused_all_the_same(given):
    search = Search(Need(2, 2, instance_store=2), ZONE, disk=2)
    there = [Resident("i-1", "a", 2, 2)]
    assert ids(choose([host("a", pool_free=2.0, store_free=2.0)], there, search, 1)) == ["i-1"]
    assert choose([host("a", **{"pool_free": 2.0, "store_free": 2.0} | given)], there, search, 1) is None


def test_the_disks_of_the_first_count_for_the_second():
    search = Search(Need(2, 2, instance_store=2), ZONE, disk=2)
    there = [Resident("i-1", "a", 2, 2), Resident("i-2", "a", 2, 2)]
    assert choose([host("a", pool_free=4.0, store_free=4.0)], there, search, 2) is not None
    assert choose([host("a", pool_free=3.0, store_free=4.0)], there, search, 2) is None
    assert choose([host("a", pool_free=4.0, store_free=3.0)], there, search, 2) is None


def test_the_vcpus_of_the_first_count_for_the_second():
    there = [Resident("i-1", "a", 2, 0), Resident("i-2", "a", 2, 0)]
    assert ids(choose([host("a", memory=9)], there, NEED, 2)) == ["i-1", "i-2"]
    assert choose([host("a", memory=9)], there, NEED, 3) is None


amounts = st.integers(0, 3)
rooms = st.lists(
    st.builds(host, st.sampled_from("abc"), amounts, amounts), max_size=3, unique_by=lambda room: room.host_id
)
residents = st.lists(st.builds(Resident, st.uuids().map(str), st.sampled_from("abc"), amounts, amounts, st.booleans()))


@given(rooms, residents, st.integers(1, 3))
def test_what_ends_makes_room_and_nothing_of_it_is_needless(rooms, residents, count):
    """Against the room of each host added up; a host takes as many as fit one after the other."""

    def places(ended):
        total = 0
        for room in rooms:
            gone = [one for one in residents if one.host_id == room.host_id and (one.ending or one in ended)]
            free = room._replace(
                cpus_free=room.cpus_free + sum(one.vcpus for one in gone),
                memory_free=room.memory_free + sum(one.memory for one in gone),
            )
            while fits(free, NEED):
                total += 1
                free = free._replace(cpus_free=free.cpus_free - 2, memory_free=free.memory_free - 2)
        return total

    chosen = choose(rooms, residents, NEED, count)
    if chosen is None:
        assert places(residents) < count
        return
    assert places(chosen) >= count
    assert not any(one.ending for one in chosen)
    assert len(set(chosen)) == len(chosen)
    if count == 1:
        for one in chosen:
            assert places([other for other in chosen if other is not one]) < 1
