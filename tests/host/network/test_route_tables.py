"""Routes to appliances, here and on another host; into and past the VPC's own blocks; and into nothing."""

from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from stead_agent.network import interface as net
from tests.host.network.hosts import Cloud, new_cloud
from tests.host.network.world import Guest

OUTSIDE = "203.0.113.7"  # an address that only the appliance knows
OUTSIDE_6 = "2001:db8:ffff::7"
IPV6 = "2001:db8:5:100::/56"
SUBNETS = ("10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with new_cloud(2) as made:
        yield made


def _to(destination: str, guest: Guest) -> net.TableRoute:
    return net.TableRoute(destination, net.RouteTo.INTERFACE, guest.interface_id)


def _knows_outside(guest: Guest, *, ipv6: bool = False) -> None:
    def add() -> None:
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            ip.addr("add", index=1, address=OUTSIDE, prefixlen=32)
            if ipv6:
                ip.addr("add", index=1, address=OUTSIDE_6, prefixlen=128)

    guest.world.machine.inside(guest.namespace, add)


@pytest.mark.parametrize("home", [0, 1])
def test_what_is_beyond_goes_to_the_appliance(cloud: Cloud, home: int) -> None:
    """By the subnet's own route table alone, whatever the host of the appliance; its subnet has none such."""
    vpc = cloud.vpc("10.0.0.0/16", *SUBNETS, ipv6=IPV6)
    near = cloud.guest(vpc, 0, "10.0.1.10", ipv6="2001:db8:5:100::10")
    other = cloud.guest(vpc, 0, "10.0.2.10", 1, ipv6="2001:db8:5:101::10")
    appliance = cloud.guest(vpc, home, "10.0.3.5", 2, ipv6="2001:db8:5:102::5", is_router=True)
    _knows_outside(appliance, ipv6=True)
    assert not near.pings(OUTSIDE)
    cloud.route(vpc, 0, _to("203.0.113.0/24", appliance), _to("::/0", appliance))
    assert near.pings(OUTSIDE)
    assert cloud.reaches(near, appliance, OUTSIDE) == near.address
    assert cloud.reaches(near, appliance, OUTSIDE_6) == "2001:db8:5:100::10"
    assert not other.pings(OUTSIDE)
    assert cloud.reaches(other, appliance, OUTSIDE_6) is None
    assert not near.pings("203.0.114.7")
    assert near.pings(other.address)
    # The longest prefix wins, and a black hole is one.
    cloud.route(vpc, 0, _to("203.0.113.0/24", appliance), net.TableRoute(f"{OUTSIDE}/32", net.RouteTo.NOWHERE))
    assert not near.pings(OUTSIDE)
    assert cloud.reaches(near, appliance, OUTSIDE_6) is None
    for host in cloud.hosts:
        assert host.network.audit() == ()


@pytest.mark.parametrize("home", [0, 1])
def test_a_middlebox_sees_what_two_subnets_say(cloud: Cloud, home: int) -> None:
    """A route inside of the VPC's blocks goes before the local route, in both directions."""
    vpc = cloud.vpc("10.0.0.0/16", *SUBNETS)
    near = cloud.guest(vpc, 0, "10.0.1.10")
    far = cloud.guest(vpc, 1, "10.0.2.10", 1)
    middlebox = cloud.guest(vpc, home, "10.0.3.5", 2, is_router=True)
    watch = middlebox.frames()
    assert near.pings(far.address)
    assert _between(watch.read()) == 0
    cloud.route(vpc, 0, _to("10.0.2.0/24", middlebox))
    cloud.route(vpc, 1, _to("10.0.1.0/24", middlebox))
    assert near.pings(far.address)
    assert _between(watch.read()) == 2
    assert cloud.reaches(near, far) == near.address
    assert near.pings(middlebox.address)


def _between(frames: list[bytes]) -> int:
    """Count the pings and their answers."""
    return sum(frame[12:14] == b"\x08\0" and frame[23] == 1 and frame[34] in {0, 8} for frame in frames)


def test_nothing_is_routed_to_who_checks_destinations(cloud: Cloud) -> None:
    """A route may name an interface with source/destination check: what it gets is dropped."""
    vpc = cloud.vpc("10.0.0.0/16", *SUBNETS)
    near = cloud.guest(vpc, 0, "10.0.1.10")
    for home in (0, 1):
        strict = cloud.guest(vpc, home, f"10.0.3.{5 + home}", 2)
        _knows_outside(strict)
        cloud.route(vpc, 0, _to("203.0.113.0/24", strict))
        watch = strict.frames()
        assert cloud.reaches(near, strict, OUTSIDE) is None
        assert [frame for frame in watch.read() if frame[12:14] == b"\x08\0"] == []


def test_a_target_comes_and_goes(cloud: Cloud) -> None:
    vpc = cloud.vpc("10.0.0.0/16", *SUBNETS)
    near = cloud.guest(vpc, 0, "10.0.1.10")
    cloud.route(vpc, 0, net.TableRoute("203.0.113.0/24", net.RouteTo.INTERFACE, "eni-00000000000000bad"))
    assert "blackhole" in cloud.hosts[0].inside_run(vpc, "ip", "route", "show", "table", "all")
    appliance = cloud.guest(vpc, 1, "10.0.3.5", 2, is_router=True)
    _knows_outside(appliance)
    cloud.route(vpc, 0, _to("203.0.113.0/24", appliance))
    assert near.pings(OUTSIDE)
    # Its MAC is known for as long as it is there, and not longer.
    for host in cloud.hosts:
        assert host.network.audit() == ()
    cloud.vpcs[vpc] = net.VpcNetwork(vpc, cloud.vpcs[vpc].vni, ("10.0.0.0/16",), cloud.vpcs[vpc].subnets)
    cloud.apply(vpc)
    assert "lladdr" not in cloud.hosts[0].inside_run(vpc, "ip", "neigh", "show", "dev", "vx", "nud", "all")
    assert cloud.hosts[0].inside_run(vpc, "bridge", "fdb", "show", "dev", "vx").count("dst") == 0
