"""Public addresses: from the host, between VPCs, back to oneself, and out by an uplink; never past what was allowed."""

import contextlib
import select
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.network.world import ANYWHERE, HOST_ADDRESS, POOL, Guest, World, add_outside, got, new_world, sent

SSH, CLOSED = "sg-0000000000000000a", "sg-0000000000000000b"
OUTSIDE, UPLINK = "203.0.113.9", "203.0.113.2"


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def _groups(peer: str = ANYWHERE) -> tuple[fw.Group, ...]:
    ssh = (sent(), got(1, "tcp", peer, 22, 22), got(2, "icmp", peer, 8, -1))
    return (fw.Group(SSH, ssh), fw.Group(CLOSED, (sent(),)))


def _is_open(found: socket.socket | None) -> bool:
    return found is not None


@pytest.fixture
def cloud(world: World) -> tuple[World, Guest, Guest]:
    """Two VPCs with equal private addresses, a guest with a public address in each; no uplink."""
    world.start(net.HostNetwork((POOL,)))
    guests = []
    for number in (10, 20):
        vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
        guests.append(world.guest(vpc, "10.0.1.10", SSH, public=f"198.51.100.{number}"))
    return world, guests[0], guests[1]


def test_host_reaches_guests_by_its_own_stable_address(cloud: tuple[World, Guest, Guest]) -> None:
    world, guest, _ = cloud
    host = world.at_host()
    listener = guest.listen(22)
    assert host.connect("198.51.100.10", 22)
    assert listener.accept()[1][0] == HOST_ADDRESS
    assert host.pings("198.51.100.10")
    guest.listen(80)
    assert not host.connect("198.51.100.10", 80)


def test_groups_see_the_real_remote(cloud: tuple[World, Guest, Guest]) -> None:
    world, guest, _ = cloud
    guest.listen(22)
    world.groups(guest.vpc_id, *_groups(peer="198.51.100.20/32"))
    assert not world.at_host().connect("198.51.100.10", 22)
    world.groups(guest.vpc_id, *_groups(peer=f"{HOST_ADDRESS}/32"))
    assert world.at_host().connect("198.51.100.10", 22)


def test_from_vpc_to_vpc_both_sides_decide(cloud: tuple[World, Guest, Guest]) -> None:
    world, one, two = cloud
    listener = two.listen(22)
    assert one.connect("198.51.100.20", 22)
    assert listener.accept()[1][0] == "198.51.100.10"
    world.groups(two.vpc_id, *_groups(peer="198.51.100.10/32"))
    assert one.connect("198.51.100.20", 22)
    world.groups(two.vpc_id, *_groups(peer="198.51.100.11/32"))
    assert not one.connect("198.51.100.20", 22)
    world.groups(two.vpc_id, *_groups())
    world.groups(one.vpc_id, replace(_groups()[0], rules=_groups()[0].rules[1:]))
    assert not one.connect("198.51.100.20", 22)


def test_the_hosts_own_table_of_flows_is_spared(cloud: tuple[World, Guest, Guest]) -> None:
    """Guests' flows between VPCs are tracked in their namespaces: they cannot fill the table that the host lives by."""
    world, one, two = cloud
    two.listen(22)
    world.settle()
    before = world.at_host_run("sysctl", "-n", "net.netfilter.nf_conntrack_count")
    assert one.connect("198.51.100.20", 22)
    assert world.at_host_run("sysctl", "-n", "net.netfilter.nf_conntrack_count") == before


def test_a_routing_guest_cannot_leave_as_its_neighbour(cloud: tuple[World, Guest, Guest]) -> None:
    """Without source check it may send from any address; but only its own has its public address."""
    world, one, two = cloud
    router = world.guest(one.vpc_id, "10.0.1.66", SSH, public="198.51.100.66", source_dest_check=False)
    world.groups(two.vpc_id, fw.Group(SSH, (sent(), got(1, "-1", ANYWHERE))))
    watch = two.frames()
    for source in (one.address, router.address):
        packet = f.ipv4(source, "198.51.100.20", f.UDP, f.udp(1, 2))
        router.emit(f.ethernet(net.GATEWAY_MAC, router.mac, f.IPV4, packet))
    assert [frame[26:30] for frame in watch.read() if frame[12:14] == b"\x08\0"] == [socket.inet_aton("198.51.100.66")]


def test_within_a_vpc_and_to_oneself(cloud: tuple[World, Guest, Guest]) -> None:
    """By a public address one is a stranger, even to oneself: so says EC2."""
    world, one, _ = cloud
    neighbour = world.guest(one.vpc_id, "10.0.1.11", SSH, public="198.51.100.11")
    listener = one.listen(22)
    assert neighbour.connect("198.51.100.10", 22)
    assert listener.accept()[1][0] == "198.51.100.11"
    assert one.connect("198.51.100.10", 22)
    assert listener.accept()[1][0] == "198.51.100.10"
    assert neighbour.connect("10.0.1.10", 22)
    assert listener.accept()[1][0] == "10.0.1.11"
    private = world.guest(one.vpc_id, "10.0.1.12", SSH)
    assert not private.connect("198.51.100.10", 22)


def test_a_lost_public_address_is_lost_at_once(cloud: tuple[World, Guest, Guest]) -> None:
    world, one, two = cloud
    listener = one.listen(22)
    client = world.at_host().connect("198.51.100.10", 22)
    assert client is not None
    server, _ = listener.accept()
    world.move_public(one, "")
    client.send(b"x")
    world.settle()
    assert not select.select([server], [], [], 0)[0]
    world.move_public(two, "198.51.100.10")
    second = two.listen(22)
    assert world.at_host().connect("198.51.100.10", 22)
    assert second.accept()


def test_free_addresses_are_unreachable(cloud: tuple[World, Guest, Guest]) -> None:
    """Neither the host nor a guest sends a packet to a free address out by a default route."""
    world, one, _ = cloud
    with pytest.raises(OSError, match=r"No route to host|unreachable"):
        world.at_host().open(socket.AF_INET, socket.SOCK_STREAM).connect(("198.51.100.99", 22))
    assert not one.connect("198.51.100.99", 22)


def test_subnet_without_internet_route(world: World) -> None:
    world.start(net.HostNetwork((POOL,)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups(), internet=False)
    guest = world.guest(vpc, "10.0.1.10", SSH, public="198.51.100.10")
    neighbour = world.guest(vpc, "10.0.1.11", SSH)
    guest.listen(22)
    assert not world.at_host().connect("198.51.100.10", 22)
    assert neighbour.connect(guest.address, 22)
    network, firewall = world.vpcs[vpc]
    routed = replace(firewall, subnets=tuple(replace(subnet, internet=True) for subnet in firewall.subnets))
    world.apply(network, routed)
    assert not world.at_host().connect("198.51.100.10", 22)  # it is let out, and there is no route
    table = network.route_tables[0].id
    world.apply(replace(network, subnets=tuple(replace(it, route_table_id=table) for it in network.subnets)), routed)
    assert world.at_host().connect("198.51.100.10", 22)


# --- the host


def test_guests_cannot_reach_the_host(world: World) -> None:
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    assert world.start(net.HostNetwork((POOL,)), host_ports=frozenset({8443})).uplink is None
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
    guest = world.guest(vpc, "10.0.1.10", SSH, public="198.51.100.10")
    host = world.at_host()
    for port in (22, 8443, 4789):
        host.listen("0.0.0.0", port)
    assert guest.connect(HOST_ADDRESS, 8443)
    assert not guest.connect(HOST_ADDRESS, 22)
    for address in (UPLINK, "169.254.0.1"):
        assert not guest.connect(address, 8443)
    assert not guest.pings(HOST_ADDRESS)
    assert not guest.connect(OUTSIDE, 22)  # no uplink: not even the neighbourhood
    with host.open(socket.AF_INET, socket.SOCK_DGRAM) as vxlan:
        vxlan.bind(("0.0.0.0", 4789))
        for address in (HOST_ADDRESS, UPLINK):
            guest.sends(address, 4789)
        world.settle()
        assert not select.select([vxlan], [], [], 0)[0]
    assert outside.connect(UPLINK, 8443)  # others still can


def test_no_uplink_no_way_in(world: World) -> None:
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    world.start(net.HostNetwork((POOL,)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
    guest = world.guest(vpc, "10.0.1.10", SSH, public="198.51.100.10")
    guest.listen(22)
    world.route(outside.namespace, POOL, UPLINK)
    assert not outside.connect("198.51.100.10", 22)
    assert world.at_host().connect("198.51.100.10", 22)


def test_where_the_host_has_another_address_guests_may_reach_its_ports_there(world: World) -> None:
    """A controller that listens for other machines is found at one address by the guests of all hosts."""
    add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    world.start(net.HostNetwork((POOL,)), host_ports=frozenset({8443}), guest_address=UPLINK)
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
    guest = world.guest(vpc, "10.0.1.10", SSH, public="198.51.100.10")
    for port in (22, 8443):
        world.at_host().listen("0.0.0.0", port)
    assert guest.connect(UPLINK, 8443)
    assert guest.connect(HOST_ADDRESS, 8443)
    assert not guest.connect(UPLINK, 22)


# --- the uplink


def test_out_by_the_uplink_with_the_hosts_address(world: World) -> None:
    """A pool of its own is hidden behind the uplink's address; the host still forwards for nobody else."""
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    paths = world.start(net.HostNetwork((POOL,), uplink="auto"))
    assert (paths.uplink, paths.masqueraded_pools) == ("up0", (POOL,))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
    guest = world.guest(vpc, "10.0.1.10", SSH, public="198.51.100.10")
    private = world.guest(vpc, "10.0.1.11", SSH)
    listener = outside.listen(OUTSIDE, 443)
    assert guest.connect(OUTSIDE, 443)
    assert listener.accept()[1][0] == UPLINK
    assert guest.pings(OUTSIDE)
    assert not private.connect(OUTSIDE, 443)
    guest.listen(22)
    world.route(outside.namespace, POOL, UPLINK)  # the owner of the network may route the pool here
    assert outside.connect("198.51.100.10", 22)
    assert not outside.pings("198.51.100.99")


def test_a_vpcs_own_addresses_never_leave(world: World) -> None:
    """Nobody has this address, and its subnet is not here: that is no reason to look for it in the neighbourhood."""
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    world.start(net.HostNetwork((POOL,), uplink="auto"))
    guest = world.guest(
        world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups()), "10.0.1.10", SSH, public="198.51.100.10"
    )
    wire = outside.open(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(f.IPV4))
    wire.bind(("eth0", f.IPV4))
    for address in ("10.0.99.9", "10.0.1.99", "169.254.7.7"):
        with contextlib.suppress(OSError):  # the gateway says that it is unreachable
            guest.sends(address, 53)
    world.settle()
    assert not select.select([wire], [], [], 0)[0]
    guest.sends(OUTSIDE, 53)
    world.settle()
    assert select.select([wire], [], [], 0)[0]


def test_the_host_is_no_router_for_its_neighbours(world: World) -> None:
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    world.start(net.HostNetwork((POOL,), uplink="up0"))
    behind = world.add_link("vpc-host", "lan1", "192.168.7.1/24", "vpc-behind", "192.168.7.2/24")
    world.route(behind.namespace, "0.0.0.0/0", "192.168.7.1")
    world.route(outside.namespace, "192.168.7.0/24", UPLINK)
    assert world.at_host().pings("192.168.7.2")
    assert not outside.pings("192.168.7.2")


def test_pool_inside_the_uplinks_subnet(world: World) -> None:
    """Then public addresses are neighbours of the uplink: the host answers ARP for those in use, and only for them."""
    pool = "203.0.113.128/25"
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    arps = outside.open(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(f.ARP))
    arps.bind(("eth0", f.ARP))
    assert world.start(net.HostNetwork((pool,), uplink="up0")).masqueraded_pools == ()
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
    guest = world.guest(vpc, "10.0.1.10", SSH, public="203.0.113.140")
    world.settle()
    announced = []
    with contextlib.suppress(BlockingIOError):  # what is looked at is whether anything arrives
        while True:
            announced.append(arps.recv(100))
    assert [frame[28:32] for frame in announced if frame[28:32] == frame[38:42]] == [socket.inet_aton("203.0.113.140")]
    guest.listen(22)
    assert outside.connect("203.0.113.140", 22)
    listener = outside.listen(OUTSIDE, 443)
    assert guest.connect(OUTSIDE, 443)
    assert listener.accept()[1][0] == "203.0.113.140"
    assert not outside.pings("203.0.113.141")
    world.move_public(guest, "")
    assert not outside.connect("203.0.113.140", 22)
    world.move_public(guest, "203.0.113.141")
    assert outside.connect("203.0.113.141", 22)


def test_another_uplink_moves_everything(world: World) -> None:
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    world.start(net.HostNetwork((POOL,)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
    guest = world.guest(vpc, "10.0.1.10", SSH, public="198.51.100.10")
    outside.listen(OUTSIDE, 443)
    assert not guest.connect(OUTSIDE, 443)
    world.start(net.HostNetwork((POOL,), uplink="up0"))
    assert guest.connect(OUTSIDE, 443)
    world.start(net.HostNetwork((POOL,)))
    assert not guest.connect(OUTSIDE, 443)


def test_the_namespaces_own_resolver_gets_out(world: World) -> None:
    """dnsmasq in a VPC's namespace asks the world's resolvers, and nothing else: guests cannot pretend to be it."""
    outside = add_outside(world, f"{UPLINK}/24", f"{OUTSIDE}/24")
    world.start(net.HostNetwork((POOL,), uplink="up0"))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=_groups())
    with (
        outside.open(socket.AF_INET, socket.SOCK_DGRAM) as server,
        world.network.socket(vpc, socket.AF_INET, socket.SOCK_DGRAM) as resolver,
    ):
        server.bind((OUTSIDE, 53))
        resolver.sendto(b"question", (OUTSIDE, 53))
        world.settle()
        _, asker = server.recvfrom(100)
        assert asker[0] == UPLINK
        server.sendto(b"answer", asker)
        assert select.select([resolver], [], [], 20)[0]  # a neighbour on the way may be asked for its address first
        assert resolver.recv(100) == b"answer"
        resolver.sendto(b"not DNS", (OUTSIDE, 123))
        with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((OUTSIDE, 123))
            world.settle()
            assert not select.select([other], [], [], 0)[0]
