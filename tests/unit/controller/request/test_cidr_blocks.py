"""Blocks of addresses: what is accepted lies where it must and beside everything else, for any blocks."""

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stead_controller.errors import AlreadyExists, InvalidParameter
from stead_controller.request import cidr_blocks

prefixes = st.integers(8, 32)
addresses = st.integers(0, 2**32 - 1)
texts = st.builds(lambda address, prefix: f"{ipaddress.IPv4Address(address)}/{prefix}", addresses, prefixes)
small = st.builds(
    lambda number, prefix: ipaddress.IPv4Network((0x0A000000 + number * 16, prefix), strict=False),
    st.integers(0, 4095),
    st.integers(18, 28),
)


@given(texts)
def test_a_vpcs_block_is_canonical_and_of_a_size_and_place_that_hosts_can_have(text):
    network = ipaddress.IPv4Network(text, strict=False)
    never = network.is_loopback or network.is_link_local or int(network[0]) >> 29 == 7 or int(network[0]) >> 24 == 0
    if never or not 16 <= network.prefixlen <= 28:
        with pytest.raises(InvalidParameter) as refusal:
            cidr_blocks.vpc_block(text)
        assert refusal.value.code == "InvalidVpc.Range"
    else:
        assert cidr_blocks.vpc_block(text) == network


@given(st.text(max_size=30))
def test_what_is_no_block_is_refused(text):
    try:
        block = cidr_blocks.ipv4(text, "cidrBlock")
    except InvalidParameter:
        return
    address, _, length = text.partition("/")
    assert block.prefixlen == int(length)
    assert ipaddress.IPv4Address(address) in block


@given(st.lists(small, max_size=8), small)
def test_a_subnet_overlaps_with_none(taken, wanted):
    others = [str(block) for block in taken]
    clash = any(wanted.overlaps(block) for block in taken)
    if clash:
        with pytest.raises(AlreadyExists):
            cidr_blocks.subnet_block(str(wanted), ["10.0.0.0/16"], others)
    else:
        assert cidr_blocks.subnet_block(str(wanted), ["10.0.0.0/16"], others) == wanted


@given(st.lists(small, max_size=8), st.integers(16, 28))
def test_a_free_block_is_the_first_that_fits(taken, prefix):
    found = cidr_blocks.free_block("10.0.0.0/16", prefix, [str(block) for block in taken])
    candidates = ipaddress.IPv4Network("10.0.0.0/16").subnets(new_prefix=prefix)
    free = (one for one in candidates if not any(one.overlaps(block) for block in taken))
    assert found == next(free, None)


@given(st.integers(32, 56), st.integers(0, 2**32 - 1))
def test_a_random_ipv6_block_is_a_56_of_the_pool(prefix, seed):
    pool = ipaddress.IPv6Network((0xFD << 120 | seed << 80, prefix), strict=False)
    block = cidr_blocks.random_ipv6_block(str(pool))
    assert block.prefixlen == 56
    assert block.subnet_of(pool)


@given(st.integers(0, 255), st.integers(0, 255))
def test_an_ipv6_subnet_is_a_64_of_the_vpc(mine, other):
    vpc = "fd73:7465:1:ab00::/56"
    text = f"fd73:7465:1:ab{mine:02x}::/64"
    taken = [f"fd73:7465:1:ab{other:02x}::/64"]
    if mine == other:
        with pytest.raises(AlreadyExists):
            cidr_blocks.subnet_ipv6_block(text, ["10.0.0.0/16", vpc], taken)
    else:
        assert str(cidr_blocks.subnet_ipv6_block(text, ["10.0.0.0/16", vpc], taken)) == str(ipaddress.ip_network(text))


# https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html: the table of restrictions
@pytest.mark.parametrize(
    ("existing", "further", "good"),
    [
        (["10.2.0.0/16"], "10.3.0.0/16", True),
        (["10.2.0.0/16"], "10.0.0.0/16", True),
        (["10.1.0.0/16"], "10.0.0.0/16", False),
        (["10.2.0.0/16"], "172.16.0.0/16", False),
        (["10.2.0.0/16"], "192.168.0.0/24", False),
        (["10.2.0.0/16"], "198.19.0.0/24", False),
        (["10.2.0.0/16"], "100.64.0.0/16", True),
        (["10.2.0.0/16"], "8.8.0.0/16", True),
        (["10.2.0.0/16", "100.64.0.0/16"], "10.3.0.0/16", True),
        (["172.16.0.0/16"], "172.17.0.0/16", True),
        (["172.16.0.0/16"], "172.31.0.0/16", False),
        (["192.168.0.0/24"], "192.168.1.0/24", True),
        (["192.168.0.0/24"], "10.0.0.0/16", False),
        (["198.19.0.0/24"], "10.0.0.0/16", False),
        (["100.64.0.0/16"], "10.0.0.0/16", False),
        (["8.8.0.0/16"], "100.64.0.0/16", True),
        (["10.2.0.0/16"], "10.2.128.0/20", False),
    ],
)
def test_which_blocks_may_stand_beside_each_other(existing, further, good):
    networks = [ipaddress.IPv4Network(block) for block in existing]
    block = ipaddress.IPv4Network(further)
    if good:
        cidr_blocks.check_further_block(block, networks)
    else:
        with pytest.raises(InvalidParameter) as refusal:
            cidr_blocks.check_further_block(block, networks)
        assert refusal.value.code == "InvalidVpc.Range"


@given(small)
def test_capacity_leaves_out_five(block):
    assume(block.prefixlen <= 28)
    assert cidr_blocks.capacity(str(block)) == len(list(block)) - 5
