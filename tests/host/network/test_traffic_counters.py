"""What leaves a VPC for the internet and other hosts is counted, each packet once and what is dropped not at all."""

from collections.abc import Iterator

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.network.hosts import Cloud, new_cloud, underlay_address
from tests.host.network.world import ANYWHERE, POOL, World, got, new_world, sent

UDP = 28 + len(b"probe")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with new_cloud(2) as made:
        yield made


def test_bytes_to_another_host_are_counted_by_address_and_host(cloud: Cloud) -> None:
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
    one, near, far = (cloud.guest(vpc, host, f"10.0.1.{10 + number}") for number, host in enumerate((0, 0, 1)))
    counted = cloud.hosts[0].network.traffic
    assert counted([vpc]) == {vpc: {}}
    for _ in range(3):
        assert cloud.reaches(one, far)
    assert cloud.reaches(one, near)
    key = ("to_host", one.address, underlay_address(1))
    assert counted([vpc]) == {vpc: {key: 3 * UDP}}
    assert counted(None) == counted([vpc])
    cloud.apply(vpc)
    for host in cloud.hosts:
        assert host.network.audit() == ()
    assert cloud.reaches(one, far)
    assert counted(["vpc-0123456789abcdef0", vpc]) == {vpc: {key: 4 * UDP}}


OPEN, MUTE = "sg-0000000000000000a", "sg-0000000000000000b"


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


def test_bytes_by_public_addresses_are_counted_by_the_private_one_and_what_is_dropped_is_not(world: World) -> None:
    groups = (fw.Group(OPEN, (sent(), got(1, "17", ANYWHERE))), fw.Group(MUTE, ()))
    one_vpc, other_vpc = (world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=groups) for _ in range(2))
    one = world.guest(one_vpc, "10.0.1.10", OPEN, public="198.51.100.10")
    two = world.guest(other_vpc, "10.0.1.20", OPEN, public="198.51.100.20")
    mute = world.guest(other_vpc, "10.0.1.30", MUTE, public="198.51.100.30")
    assert one.reaches(two, 53, "198.51.100.20")
    mute.sends("198.51.100.10", 53)
    one.sends("198.51.100.30", 53)
    world.settle()
    assert world.network.traffic([one_vpc, other_vpc]) == {
        one_vpc: {("to_internet", one.address, ""): 2 * UDP},
        other_vpc: {("from_internet", two.address, ""): UDP},
    }
    assert world.firewall.audit() == world.network.audit() == ()


def test_counters_outlive_changes_and_the_agent(world: World) -> None:
    groups = (fw.Group(OPEN, (sent(), got(1, "17", ANYWHERE))),)
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=groups)
    one = world.guest(vpc, "10.0.1.10", OPEN, public="198.51.100.10")
    key = ("to_internet", one.address, "")
    for number in (1, 2):
        one.sends("198.51.100.77", 53)
        world.settle()
        assert world.network.traffic([vpc])[vpc][key] == number * UDP
        world.groups(vpc, *groups)
        world.restart()
        world.start(net.HostNetwork((POOL,)))
    world.network.remove(vpc)
    assert world.network.traffic(None) == {}
