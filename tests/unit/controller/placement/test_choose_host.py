from hypothesis import given
from hypothesis import strategies as st

from stead_controller.placement.choose_host import Need, Room, choose_host

rooms = st.lists(
    st.builds(Room, st.uuids().map(str), st.just("z"), st.integers(0, 64), st.integers(0, 1 << 36)), max_size=12
)
needs = st.builds(Need, st.integers(1, 64), st.integers(1, 1 << 36))


@given(rooms, needs)
def test_it_finds_a_place_whenever_one_exists_and_never_where_there_is_none(rooms, need):
    fitting = [room for room in rooms if room.cpus_free >= need.vcpus and room.memory_free >= need.memory]
    chosen = choose_host(rooms, need)
    assert (chosen is None) == (not fitting)
    if chosen:
        assert chosen in fitting
        assert all(chosen.memory_free >= room.memory_free for room in fitting)


@given(rooms, needs, st.randoms())
def test_the_order_of_hosts_does_not_matter(rooms, need, random):
    shuffled = list(rooms)
    random.shuffle(shuffled)
    assert choose_host(rooms, need) == choose_host(shuffled, need)
