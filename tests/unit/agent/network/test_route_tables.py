"""Route tables become Linux tables and rules: who is led where, by plain values."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.network.desired_objects import vpc_objects
from stead_agent.network.interface import (
    HostPaths,
    LocalInterface,
    NatGateway,
    RemoteInterface,
    RouteTable,
    RouteTo,
    Subnet,
    TableRoute,
    VpcNetwork,
    router_mark,
)
from stead_agent.network.kernel_objects import Kind, Neighbour, Place, Route, RoutingRule, Tunnel, Vxlan
from stead_agent.network.numbers import spread
from stead_agent.network.overlay import ipv6_next_hop, overlay_mac, router_next_hops, whereabouts
from stead_agent.network.plan import Change, Make, Remove, key_of
from stead_agent.network.wanted import steps_between, wanted_of

PATHS = HostPaths(None, "198.51.100.1", (), is_router=False, underlay_address="192.0.2.1", overlay_mtu=1550)
VPC = VpcNetwork(
    "vpc-0123456789abcdef0",
    7,
    ("10.0.0.0/16",),
    (Subnet("subnet-0123456789abcdef0", "10.0.1.0/24", route_table_id="rtb-1"),),
    (LocalInterface("eni-1", "subnet-0123456789abcdef0", "06:00:00:00:00:01", ("10.0.1.10",), is_router=True),),
    remotes=(
        RemoteInterface("eni-2", "06:00:00:00:00:02", ("10.0.2.10", "10.0.2.11"), "192.0.2.2"),
        RemoteInterface("eni-3", "06:00:00:00:00:03", ("10.0.2.12",), "192.0.2.2", is_router=True),
    ),
)
SUBNET_LINK = "sub56789abcdef0"


def _routes(*routes: TableRoute, vpc: VpcNetwork = VPC) -> dict[str, Route]:
    """Write these routes; give those that are in no main table, by destination."""
    objects = vpc_objects(replace(vpc, route_tables=(RouteTable("rtb-1", routes),)), PATHS, "169.254.1.1")
    rules = {obj.table for obj in objects if isinstance(obj, RoutingRule) and obj.incoming == SUBNET_LINK}
    return {obj.destination: obj for obj in objects if isinstance(obj, Route) and obj.table in rules}


def test_targets() -> None:
    found = _routes(
        TableRoute("0.0.0.0/0", RouteTo.INTERNET),
        TableRoute("203.0.113.0/24", RouteTo.INTERFACE, "eni-1"),
        TableRoute("203.0.114.0/24", RouteTo.INTERFACE, "eni-3"),
        TableRoute("203.0.115.0/24", RouteTo.INTERFACE, "eni-2"),  # checks its destinations
        TableRoute("203.0.116.0/24", RouteTo.INTERFACE, "eni-9"),
        TableRoute("10.1.0.0/16", RouteTo.PEER, "vpc-9"),
        TableRoute("203.0.117.0/24", RouteTo.NOWHERE),
        TableRoute("::/0", RouteTo.INTERNET),  # a VPC without IPv6
    )
    assert {destination: (route.link, route.gateway) for destination, route in found.items() if route.link} == {
        "0.0.0.0/0": ("internet", "169.254.0.1"),
        "203.0.113.0/24": (SUBNET_LINK, "10.0.1.10"),
        "203.0.114.0/24": ("vx", router_next_hops(VPC.remotes)["eni-3"]),
    }
    nowhere = {destination for destination, route in found.items() if route.kind is Kind.BLACKHOLE}
    assert nowhere == {"203.0.115.0/24", "203.0.116.0/24", "10.1.0.0/16", "203.0.117.0/24"}


def test_what_is_inside_goes_before_the_vpc_itself() -> None:
    objects = vpc_objects(
        replace(
            VPC,
            route_tables=(
                RouteTable(
                    "rtb-1",
                    (TableRoute("10.0.2.0/24", RouteTo.INTERFACE, "eni-1"), TableRoute("10.0.0.0/8", RouteTo.INTERNET)),
                ),
            ),
        ),
        PATHS,
        "169.254.1.1",
    )
    rules = {obj.priority: obj for obj in objects if isinstance(obj, RoutingRule)}
    tables = {obj.destination: obj.table for obj in objects if isinstance(obj, Route) and obj.table != 254}
    assert rules[1000].table == tables["10.0.2.0/24"]
    assert rules[33000].table == tables["10.0.0.0/8"]
    assert rules[1000].incoming == rules[33000].incoming == SUBNET_LINK
    assert (rules[500].incoming, rules[500].mark) == ("vx", router_mark("eni-1"))
    assert rules[33500].incoming == "lo"
    assert 32766 not in rules


def test_a_nat_gateway_is_a_router() -> None:
    plain = replace(VPC, interfaces=(replace(VPC.interfaces[0], is_router=False),))
    route = TableRoute("0.0.0.0/0", RouteTo.INTERFACE, "eni-1")
    assert _routes(route, vpc=plain)["0.0.0.0/0"].kind is Kind.BLACKHOLE
    with_gateway = replace(plain, nat_gateways=(NatGateway("nat-1", "eni-1"),))
    assert _routes(route, vpc=with_gateway)["0.0.0.0/0"].gateway == "10.0.1.10"


def test_a_subnet_without_a_table_reaches_its_vpc_only() -> None:
    bare = replace(VPC, subnets=(replace(VPC.subnets[0], route_table_id=""),))
    objects = vpc_objects(bare, PATHS, "169.254.1.1")
    assert not [obj for obj in objects if isinstance(obj, RoutingRule) and obj.incoming == SUBNET_LINK]
    assert not [it for it in objects if isinstance(it, Route) and it.destination == "0.0.0.0/0" and it.table == 254]


def test_the_overlay() -> None:
    objects = vpc_objects(VPC, PATHS, "169.254.1.1")
    assert Vxlan("vx", 7, "192.0.2.1", "02:58:c0:00:02:01", 1500) in objects
    hop = router_next_hops(VPC.remotes)["eni-3"]
    assert {obj.address: obj.mac for obj in objects if isinstance(obj, Neighbour) and obj.link == "vx"} == {
        "192.0.2.2": "02:58:c0:00:02:02",
        hop: "06:00:00:00:00:03",
    }
    assert {obj.mac: obj.host for obj in objects if isinstance(obj, Tunnel)} == {
        overlay_mac("192.0.2.2"): "192.0.2.2",
        "06:00:00:00:00:03": "192.0.2.2",
    }
    narrow = vpc_objects(VPC, replace(PATHS, overlay_mtu=1450), "169.254.1.1")
    assert [obj.mtu for obj in narrow if isinstance(obj, Vxlan)] == [1450]
    alone = vpc_objects(VPC, replace(PATHS, underlay_address=""), "169.254.1.1")
    assert not [obj for obj in alone if isinstance(obj, Vxlan | Tunnel)]
    assert ipv6_next_hop("192.0.2.2") == "fe80::5354:c000:202"


def test_what_is_here_is_not_elsewhere() -> None:
    """An address that moved here may still be listed as being on another host."""
    late = replace(VPC.remotes[0], addresses=("10.0.1.10", "10.0.2.10", "2001:db8::1"))
    assert whereabouts(replace(VPC, remotes=(late,)), PATHS).hosts == {"10.0.2.10": "192.0.2.2"}


def test_one_address_more_among_many_is_one_step() -> None:
    many = tuple(
        RemoteInterface(f"eni-{n}", "06:00:00:00:00:09", (f"10.0.{n >> 8}.{n & 255}",), f"192.0.2.{2 + n % 9}")
        for n in range(512, 4096)
    )
    before = wanted_of(replace(VPC, remotes=many[1:]), PATHS, "169.254.1.1")
    after = wanted_of(replace(VPC, remotes=many), PATHS, "169.254.1.1")
    (step,) = steps_between(before, after)
    assert isinstance(step, Make)
    assert isinstance(step.obj, Route)
    assert step.obj.destination == "10.0.2.0/32"
    assert steps_between(after, before) == [Remove(step.obj)]
    moved = wanted_of(replace(VPC, remotes=(replace(many[0], host="192.0.2.3"), *many[1:])), PATHS, "169.254.1.1")
    (change,) = steps_between(after, moved)
    assert isinstance(change, Change)
    renumbered = wanted_of(replace(VPC, vni=8, remotes=many), PATHS, "169.254.1.1")
    assert len(steps_between(after, renumbered)) > len(many)  # they went with the device


REMOTES = st.lists(
    st.builds(
        RemoteInterface,
        st.sampled_from(["eni-5", "eni-6", "eni-7"]),
        st.just("06:00:00:00:00:09"),
        st.lists(st.sampled_from(["10.0.2.1", "10.0.2.2", "10.0.1.10"]), max_size=2).map(tuple),
        st.sampled_from(["192.0.2.2", "192.0.2.3"]),
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda remote: remote.id,
).map(tuple)


@settings(deadline=None)
@given(REMOTES, REMOTES, st.sampled_from([7, 8]), st.integers(0, 1))
def test_small_changes_lead_to_the_whole_state(
    one: tuple[RemoteInterface, ...], two: tuple[RemoteInterface, ...], vni: int, local: int
) -> None:
    """Carried out on what was there, the steps leave exactly what a new agent would make."""
    old = wanted_of(replace(VPC, remotes=one), PATHS, "169.254.1.1")
    after = replace(VPC, vni=vni, remotes=two, interfaces=VPC.interfaces[:local])
    new = wanted_of(after, PATHS, "169.254.1.1", before=old)
    assert new == wanted_of(after, PATHS, "169.254.1.1")
    there = {key_of(obj): obj for obj in old.everything()}
    for step in steps_between(old, new):
        match step:
            case Remove(obj):
                del there[key_of(obj)]
                if isinstance(obj, Vxlan):
                    there = {key: it for key, it in there.items() if getattr(it, "link", "") != "vx"}
            case Make(obj) | Change(_, obj):
                there[key_of(obj)] = obj
    assert there == {key_of(obj): obj for obj in new.everything()}


@given(st.sets(st.text("0123456789abcdef", min_size=1, max_size=4), max_size=40), st.integers(40, 90))
def test_numbers_are_different_and_fit(names: set[str], room: int) -> None:
    found = spread(names, room)
    assert set(found) == names
    assert len(set(found.values())) == len(names)
    assert all(0 <= number < room for number in found.values())


def test_numbers_run_out() -> None:
    with pytest.raises(ValueError, match="taken"):
        spread(["a", "b"], 2, {0})


def test_rules_are_of_the_vpcs_namespace() -> None:
    objects = vpc_objects(VPC, PATHS, "169.254.1.1")
    assert {obj.place for obj in objects if isinstance(obj, RoutingRule)} == {Place.VPC}


def test_a_router_without_ipv4_routes_ipv6_alone() -> None:
    router = replace(VPC.interfaces[0], addresses=(), ipv6_addresses=("fd00:5::1:5",))
    vpc = replace(VPC, interfaces=(router,), ipv6_cidrs=("fd00:5::/56",))
    routes = tuple(TableRoute(each, RouteTo.INTERFACE, "eni-1") for each in ("203.0.113.0/24", "2001:db8::/32"))
    found = _routes(*routes, vpc=vpc)
    assert found["203.0.113.0/24"].kind is Kind.BLACKHOLE
    assert found["2001:db8::/32"].gateway == "fe80::400:ff:fe00:1"
