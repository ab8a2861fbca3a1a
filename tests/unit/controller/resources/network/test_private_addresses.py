"""Private addresses: which ones a subnet gives, in IPv4 and IPv6, and which it refuses."""

import ipaddress
from itertools import chain, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import select

from stead_controller.db.tables import InterfaceAddress, NetworkInterface, Subnet
from stead_controller.errors import InvalidParameter, LimitExceeded, WrongState
from stead_controller.resources.network import private_addresses
from tests.support import rows

BLOCKS = ["fd00:ec2:1:2::/64"]


@pytest.fixture
def place(world, run):
    """The tenant's first subnet and an interface in it."""

    def find(tx):
        instance = rows.launch(tx, world, world.one)
        interface = tx.session.scalar(select(NetworkInterface.id).where(NetworkInterface.instance_id == instance.id))
        return tx.session.get_one(Subnet, world.one.subnet_ids[0]), interface

    return run(find)


def test_the_search_goes_on_where_the_last_one_ended(run, place):
    subnet_id, interface_id = place[0].id, place[1]

    def take(tx):
        subnet = tx.session.get_one(Subnet, subnet_id)
        return private_addresses.take(tx, subnet, interface_id, primary=False)

    first, second = run(take), run(take)
    run(private_addresses.release, interface_id, [first])
    third = run(take)
    assert len({first, second, third}) == 3
    primary, *others = run(private_addresses.of, interface_id, ipv6=False)
    assert (primary, set(others)) == ("172.31.0.4", {second, third})


def test_all_of_a_subnet_are_given_and_released_ones_are_found_again(run, place):
    subnet_id, interface_id = place[0].id, place[1]

    def take(tx):
        subnet = tx.session.get_one(Subnet, subnet_id)
        subnet.cidr_block = "10.0.0.0/24"  # 251 addresses, more than are tried before all are looked at
        return private_addresses.take(tx, subnet, interface_id, primary=False)

    taken = [run(take) for _ in range(251)]
    assert len(set(taken)) == 251
    with pytest.raises(LimitExceeded):
        run(take)
    for address in (taken[100], taken[7]):
        run(private_addresses.release, interface_id, [address])
        assert run(take) == address


def test_ipv6_addresses_are_of_the_subnets_block(run, place):
    subnet, interface_id = place
    network = ipaddress.ip_network(BLOCKS[0])
    taken = [run(private_addresses.take_ipv6, subnet, BLOCKS, interface_id) for _ in range(5)]
    assert len(set(taken)) == 5
    assert all(ipaddress.ip_address(address) in network for address in taken)
    wanted = run(private_addresses.take_ipv6, subnet, BLOCKS, interface_id, "fd00:ec2:1:2:0::5")
    assert wanted == "fd00:ec2:1:2::5"  # in its usual form, so that no other spelling is another address
    with pytest.raises(WrongState) as refused:
        run(private_addresses.take_ipv6, subnet, BLOCKS, interface_id, "FD00:EC2:1:2::5")
    assert refused.value.code == "InvalidIPAddress.InUse"
    held = run(lambda tx: tx.session.scalars(select(InterfaceAddress.ipv6)).all())
    assert (held.count(True), held.count(False)) == (6, 1)


@pytest.mark.parametrize(
    "wanted", ["fd00:ec2:1:2::3", "fd00:ec2:1:2:ffff:ffff:ffff:ffff", "fd00::5", "172.31.0.9", "x"]
)
def test_ipv6_addresses_that_the_subnet_cannot_give(run, place, wanted):
    subnet, interface_id = place
    with pytest.raises(InvalidParameter):
        run(private_addresses.take_ipv6, subnet, BLOCKS, interface_id, wanted)


def test_a_subnet_without_a_block_gives_no_ipv6_address(run, place):
    subnet, interface_id = place
    with pytest.raises(InvalidParameter):
        run(private_addresses.take_ipv6, subnet, [], interface_id)


@given(st.integers(7, 40), st.lists(st.tuples(st.integers(0, 48), st.integers(1, 12)), max_size=4))
def test_what_is_reserved_is_cut_out_of_what_is_free(last, blocks):
    blocks = sorted(blocks)
    assume(all(one[0] + one[1] <= other[0] for one, other in pairwise(blocks)))
    reserved = {offset + number for offset, size in blocks for number in range(size)}
    free = private_addresses.unreserved(last, blocks)
    assert list(chain.from_iterable(free)) == [it for it in range(4, last + 1) if it not in reserved]


@given(st.one_of(st.integers(1, 400), st.just(4091), st.just(65531)), st.integers(0, 1 << 20))
def test_each_address_is_tried_once(room, begin):
    found = {private_addresses.scattered(turn, room) for turn in range(begin, begin + room)}
    assert found == set(range(room))


@pytest.mark.parametrize("prefix", range(16, 29))
@pytest.mark.parametrize("number", [1, 2, 5, 10, 20])
def test_few_addresses_lie_wide_apart_and_far_from_the_begin(prefix, number):
    room = 2 ** (32 - prefix) - 5
    if number > room:
        return
    found = sorted(private_addresses.scattered(turn, room) for turn in range(number))
    gaps = [other - one for one, other in pairwise([0, *found, room])]
    assert min(gaps) >= max(1, room // (number * 8))


def test_what_is_chosen_leaves_free_what_people_name(run, place):
    subnet_id, interface_id = place[0].id, place[1]

    def take(tx, wanted=None):
        subnet = tx.session.get_one(Subnet, subnet_id)
        return private_addresses.take(tx, subnet, interface_id, wanted, primary=False)

    for _ in range(20):
        assert int(ipaddress.ip_address(run(take))) - int(ipaddress.ip_address("172.31.0.0")) > 50
    for last in range(10, 50):
        run(take, f"172.31.0.{last}")
