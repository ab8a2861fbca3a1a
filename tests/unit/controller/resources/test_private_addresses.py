"""Private addresses: which ones a subnet gives, in IPv4 and IPv6, and which it refuses."""

import ipaddress
from itertools import chain, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import select

from stead_controller.db.tables import InterfaceAddress, NetworkInterface, Subnet
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.resources import private_addresses
from tests.unit.controller.resources import rows

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
    assert (first, second) == ("172.31.0.5", "172.31.0.6")  # .4 is the instance's
    run(private_addresses.give_back, interface_id, [first])
    assert run(take) == "172.31.0.7"
    assert run(private_addresses.of, interface_id, ipv6=False) == ["172.31.0.4", "172.31.0.6", "172.31.0.7"]


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


@given(st.integers(0, 40))
def test_the_search_gives_each_offset_once_and_begins_where_it_is_told_to(begin):
    free = private_addresses.unreserved(30, [(8, 4), (20, 2)])
    found = list(private_addresses._from(free, begin))
    assert sorted(found) == list(chain.from_iterable(free))
    assert found == sorted(found, key=lambda it: (it < begin, it))
