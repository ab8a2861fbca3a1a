"""A VPC's desired state becomes the kernel objects that docs/data-plane.md names."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.network.desired_objects import (
    choose_inner_address,
    default_host_address,
    host_objects,
    masqueraded,
    owner_of,
    vpc_alias,
    vpc_objects,
)
from stead_agent.network.interface import (
    HostNetwork,
    HostPaths,
    LocalInterface,
    PublicAddress,
    Subnet,
    VpcNetwork,
    bridge_name,
    gateway_address,
    resolver_addresses,
    subnet_link_name,
    tap_name,
)
from stead_agent.network.kernel_objects import Address, Bridge, Kind, Neighbour, Place, Proxy, Route, Setting, Up, Veth
from stead_agent.network.plan import Make, depends_on, key_of, links_of, plan, rank_of

POOL = "198.51.100.0/24"
NO_UPLINK = HostPaths(None, "198.51.100.1", (POOL,), is_router=False)
VPC = VpcNetwork(
    "vpc-0123456789abcdef0",
    7,
    ("10.0.0.0/16",),
    (Subnet("subnet-0123456789abcdef0", "10.0.1.0/24"),),
    (
        LocalInterface(
            "eni-0123456789abcdef0",
            "subnet-0123456789abcdef0",
            "06:00:00:00:00:01",
            ("10.0.1.10", "10.0.1.11"),
            (PublicAddress("198.51.100.10", "10.0.1.10"),),
        ),
    ),
)


def test_names_fit_the_kernel() -> None:
    for name in (bridge_name, tap_name, subnet_link_name):
        assert len(name("subnet-0123456789abcdef0")) == 15
    assert bridge_name("subnet-0123456789abcdef0") == "stb56789abcdef0"


def test_addresses_that_aws_reserves() -> None:
    assert gateway_address("10.0.1.0/24") == "10.0.1.1"
    assert resolver_addresses(("10.0.0.0/16",), ("10.0.1.0/24",)) == {"10.0.0.2", "10.0.1.2", "169.254.169.253"}


def test_a_subnet() -> None:
    objects = vpc_objects(VPC, NO_UPLINK, "169.254.1.1")
    bridge, link = "stb56789abcdef0", "sub56789abcdef0"
    assert Bridge(bridge, "stead vpc-0123456789abcdef0 subnet-0123456789abcdef0", 1500) in objects
    (port,) = [obj for obj in objects if isinstance(obj, Veth) and obj.master]
    assert (port.master, port.inner, port.inner_mac) == (bridge, link, "02:53:54:45:41:44")
    assert Address(Place.VPC, link, "10.0.1.1/24") in objects
    settings = {obj.path: obj.value for obj in objects if isinstance(obj, Setting) and obj.link == link}
    assert settings == {
        f"net/ipv4/conf/{link}/proxy_arp": "1",
        f"net/ipv4/conf/{link}/proxy_arp_pvlan": "1",
        f"net/ipv4/neigh/{link}/proxy_delay": "0",
    }
    assert {obj.address for obj in objects if isinstance(obj, Neighbour) and obj.link == link} == {
        "10.0.1.10",
        "10.0.1.11",
    }


def test_public_addresses_and_the_uplink() -> None:
    route = Route(Place.HOST, "198.51.100.10/32", "sti56789abcdef0", "169.254.1.1", "198.51.100.1")
    hidden = HostPaths("eth0", "198.51.100.1", (POOL,), is_router=False)
    shown = HostPaths("eth0", "198.51.100.1", (), is_router=False)
    for paths, proxies in ((NO_UPLINK, []), (hidden, []), (shown, [Proxy("eth0", "198.51.100.10")])):
        objects = vpc_objects(VPC, paths, "169.254.1.1")
        assert route in objects
        assert [obj for obj in objects if isinstance(obj, Proxy)] == proxies


def test_objects_are_different_and_their_links_are_there() -> None:
    objects = vpc_objects(VPC, NO_UPLINK, "169.254.1.1")
    assert len({key_of(obj) for obj in objects}) == len(objects)
    links = {(Place.VPC, "lo"), *(end for obj in objects for end in links_of(obj))}
    assert {link for obj in objects if (link := depends_on(obj))} <= links
    assert all(any(isinstance(it, Up) and depends_on(it) == end for it in objects) for end in links)
    assert min(rank_of(obj) for obj in objects) == 0


def test_the_host() -> None:
    objects = host_objects(HostNetwork((POOL,)), NO_UPLINK)
    assert Route(Place.HOST, POOL, metric=0xFFFFFFFE, kind=Kind.UNREACHABLE) in objects
    assert Address(Place.HOST, "stead0", "198.51.100.1/32") in objects
    assert not any(isinstance(obj, Setting) and "forward" in obj.path for obj in objects)
    with_uplink = host_objects(HostNetwork((POOL,)), HostPaths("eth0", "198.51.100.1", (POOL,), is_router=False))
    assert Setting(Place.HOST, "net/ipv4/conf/eth0/forwarding", "1", "eth0") in with_uplink
    assert not any(isinstance(obj, Setting) and "ip_forward" in obj.path for obj in with_uplink)
    assert host_objects(HostNetwork(()), HostPaths(None, None, (), is_router=False)) == [
        obj for obj in objects if isinstance(obj, Setting) and "bridge" in obj.path
    ]


def test_public_addresses_that_are_not_here_are_looked_for_on_the_uplink_where_that_can_be() -> None:
    """Where hosts answer ARP for public addresses, the others of the pool may be on other hosts."""
    near = host_objects(HostNetwork((POOL,)), HostPaths("eth0", "198.51.100.1", (), is_router=False))
    far = host_objects(HostNetwork((POOL,)), HostPaths("eth0", "198.51.100.1", (POOL,), is_router=False))
    assert Route(Place.HOST, POOL, "eth0", metric=0xFFFFFFFE) in near
    assert Route(Place.HOST, POOL, metric=0xFFFFFFFE, kind=Kind.UNREACHABLE) in far
    assert len([obj for obj in (*near, *far) if isinstance(obj, Route)]) == 2


def test_the_hosts_ipv6() -> None:
    """Router advertisements go on being heard: that setting comes before the ones that make a router of the uplink."""
    host = HostNetwork((POOL,), ipv6_pools=("2001:db8::/48",))
    for by_link in (True, False):
        paths = HostPaths("eth0", "198.51.100.1", (POOL,), is_router=False, has_ipv6_by_link=by_link)
        steps = [it.obj for it in plan([], host_objects(host, paths)) if isinstance(it, Make)]
        names = [it.path.removeprefix("net/ipv6/conf/") for it in steps if isinstance(it, Setting)]
        assert names.index("eth0/accept_ra") < names.index("eth0/forwarding")
        assert ("eth0/force_forwarding" in names) is by_link
        if not by_link:
            assert names.index("eth0/accept_ra") < names.index("all/forwarding")
        assert Route(Place.HOST, "2001:db8::/48", metric=0xFFFFFFFE, kind=Kind.UNREACHABLE) in steps
    alone = host_objects(host, HostPaths(None, "198.51.100.1", (POOL,), is_router=False))
    assert not any(isinstance(obj, Setting) and "ipv6/conf/all" in obj.path for obj in alone)


def test_the_hosts_address() -> None:
    assert default_host_address(()) is None
    assert default_host_address((POOL, "10.0.0.0/8")) == "198.51.100.1"
    assert default_host_address(("198.51.100.7/32",)) == "198.51.100.7"
    assert default_host_address(("198.51.100.6/31",)) == "198.51.100.6"


def test_pools_beyond_the_uplink() -> None:
    pools = ("192.168.1.128/25", POOL)
    assert masqueraded(pools, ["192.168.1.7/24"]) == (POOL,)
    assert masqueraded(pools, []) == pools
    assert masqueraded(pools, ["0.0.0.0/0"]) == pools


@settings(deadline=None)
@given(st.sets(st.text("0123456789abcdef", min_size=17, max_size=17), min_size=1, max_size=60))
def test_inner_addresses_are_unique_and_stable(ids: set[str]) -> None:
    taken: dict[str, str] = {}
    for digits in sorted(ids):
        taken[f"vpc-{digits}"] = choose_inner_address(f"vpc-{digits}", frozenset(taken.values()))
    assert len(set(taken.values())) == len(ids)
    assert all(address.startswith("169.254.") and int(address.split(".")[2]) < 128 for address in taken.values())
    alone = min(taken)
    assert choose_inner_address(alone, frozenset()) == taken[alone]


def test_inner_addresses_run_out() -> None:
    class Everything:
        def __contains__(self, _: object) -> bool:
            return True

    with pytest.raises(ValueError, match="taken"):
        choose_inner_address("vpc-1", Everything())


def test_aliases() -> None:
    assert owner_of(vpc_alias("vpc-1")) == "vpc-1"
    assert owner_of(vpc_alias("vpc-1", "subnet-2")) == "vpc-1"
    for other in ("", "stead", "to the printer", "docker vpc-1"):
        assert owner_of(other) is None


def test_a_subnet_of_ipv6_only() -> None:
    subnet = Subnet("subnet-0123456789abcdef0", "", "fd00:5:0:1::/64")
    interface = replace(VPC.interfaces[0], addresses=(), public_addresses=(), ipv6_addresses=("fd00:5:0:1::5",))
    vpc = replace(VPC, subnets=(subnet,), interfaces=(interface,), ipv6_cidrs=("fd00:5::/56",))
    objects = vpc_objects(vpc, NO_UPLINK, "169.254.1.1")
    link = "sub56789abcdef0"
    assert {obj.address for obj in objects if isinstance(obj, Address) and obj.link == link} == {
        "fe80::1/64",
        "fd00:5:0:1::1/64",
    }
    assert {obj.address for obj in objects if isinstance(obj, Neighbour) and obj.link == link} == {
        "fd00:5:0:1::5",
        "fe80::400:ff:fe00:1",
    }
