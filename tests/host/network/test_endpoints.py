"""Gateway endpoints: who reaches what is in their namespace, by which route and rules, and what is left of them."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from stead_agent.network.kernel import KernelNetwork
from tests.host.network.world import POOL, Guest, World, new_world, sent

SERVICE = "198.51.100.1"
OTHER = "198.51.100.2"
ENDPOINT = "vpce-0123456789abcdef0"
SECOND = "vpce-0123456789abcdef1"
OPEN = fw.Group("sg-00000001", (sent(),))


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


def _route(world: World, vpc_id: str, *endpoint_ids: str) -> None:
    """Let each subnet, by its own route table, lead to an endpoint, or with "" to none."""
    network, firewall = world.vpcs[vpc_id]
    tables = tuple(
        net.RouteTable(f"rtb-{index}", (net.TableRoute(f"{SERVICE}/32", net.RouteTo.ENDPOINT, each),) if each else ())
        for index, each in enumerate(endpoint_ids)
    )
    subnets = tuple(replace(each, route_table_id=f"rtb-{index}") for index, each in enumerate(network.subnets))
    endpoints = tuple(net.GatewayEndpoint(each, (SERVICE,)) for each in dict.fromkeys(endpoint_ids) if each)
    world.apply(replace(network, subnets=subnets, route_tables=tables, endpoints=endpoints), firewall)
    world.wait_for_carriers(vpcs=tuple(each.id for each in endpoints))


def _listen(world: World, endpoint_id: str, port: int = 80) -> socket.socket:
    def make() -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen()
        return listener

    return world.namespaces.inside(endpoint_id, make)


def _reaches(guest: Guest, listener: socket.socket, address: str = SERVICE, port: int = 80) -> str | None:
    """Tell the address from which a guest's connection comes to a listener; None when it does not come."""
    connection = guest.connect(address, port)
    if connection is None:
        return None
    accepted, (source, _) = listener.accept()
    accepted.close()
    connection.close()
    return str(source)


def _two_subnets(world: World) -> tuple[str, Guest, Guest]:
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", groups=(OPEN,), internet=False)
    with_route, without = world.guest(vpc, "10.0.1.10", OPEN.id), world.guest(vpc, "10.0.2.10", OPEN.id, subnet=1)
    return vpc, with_route, without


def test_only_by_the_route(world: World) -> None:
    """A guest without any other way out reaches the service as itself; one of a subnet without the route does not."""
    vpc, guest, other = _two_subnets(world)
    _route(world, vpc, ENDPOINT, "")
    with _listen(world, ENDPOINT) as listener:
        assert _reaches(guest, listener) == "10.0.1.10"
        assert _reaches(other, listener) is None
        assert not guest.connect(OTHER, 80)
        assert not guest.connect("203.0.113.9", 80)
        assert world.network.audit() == ()
        _route(world, vpc, "", "")
        assert _reaches(guest, listener) is None
    assert world.namespaces.endpoints() == frozenset()
    assert "vpe" not in world.inside_run(vpc, "ip", "link")


def test_nothing_lies_behind_it(world: World) -> None:
    """The endpoint's namespace forwards nothing, and begins nothing with guests."""
    vpc, guest, _ = _two_subnets(world)
    _route(world, vpc, ENDPOINT, ENDPOINT)
    assert not guest.connect(SERVICE, 81)  # nobody listens
    guest.listen(80)

    def begin() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    assert world.connect(world.namespaces.inside(ENDPOINT, begin), "10.0.1.10", 80) is None
    forwards = Path("/proc/sys/net/ipv4/ip_forward")
    assert world.namespaces.inside(ENDPOINT, lambda: forwards.read_text(encoding="ascii").strip()) == "0"


def test_security_groups_decide(world: World) -> None:
    """What the sender's groups do not let out does not come, and a flow ends when the rule goes."""
    only = fw.Group("sg-00000002", (sent(2, "tcp", f"{SERVICE}/32", 443, 443),))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(only,), internet=False)
    guest = world.guest(vpc, "10.0.1.10", only.id)
    _route(world, vpc, ENDPOINT)
    with _listen(world, ENDPOINT) as plain, _listen(world, ENDPOINT, 443) as secure:
        assert _reaches(guest, plain) is None
        connection = guest.connect(SERVICE, 443)
        assert connection is not None
        accepted, _ = secure.accept()
        accepted.setblocking(False)
        connection.send(b"before")
        world.settle()
        assert accepted.recv(100) == b"before"
        world.groups(vpc, replace(only, rules=()))
        connection.send(b"after")
        world.settle()
        with pytest.raises(BlockingIOError):
            accepted.recv(100)
        accepted.close()


def test_network_acls_decide(world: World) -> None:
    """Both ways: of what leaves the subnet, and of the answers."""
    vpc, guest, _ = _two_subnets(world)
    _route(world, vpc, ENDPOINT, ENDPOINT)
    out, back = fw.AclEntry(100, True, True, "-1", "0.0.0.0/0"), fw.AclEntry(100, False, True, "-1", "0.0.0.0/0")
    network, firewall = world.vpcs[vpc]
    with _listen(world, ENDPOINT) as listener:
        for entries, passes in (((out, back), True), ((out,), False), ((back,), False)):
            subnets = tuple(
                replace(each, acl_id="acl-00000001", cidr=net_subnet.cidr)
                for each, net_subnet in zip(firewall.subnets, network.subnets, strict=True)
            )
            world.apply(network, replace(firewall, subnets=subnets, acls=(fw.Acl("acl-00000001", entries),)))
            assert (_reaches(guest, listener) is not None) is passes


def test_each_subnet_its_own_endpoint(world: World) -> None:
    vpc, first, second = _two_subnets(world)
    _route(world, vpc, ENDPOINT, SECOND)
    with _listen(world, ENDPOINT) as one, _listen(world, SECOND) as other:
        assert _reaches(first, one) == "10.0.1.10"
        assert _reaches(second, other) == "10.0.2.10"


def test_vpcs_of_the_same_addresses(world: World) -> None:
    guests = []
    for endpoint in (ENDPOINT, SECOND):
        vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(OPEN,), internet=False)
        guests.append(world.guest(vpc, "10.0.1.10", OPEN.id))
        _route(world, vpc, endpoint)
    with _listen(world, ENDPOINT) as one, _listen(world, SECOND) as other:
        assert [_reaches(guests[0], one), _reaches(guests[1], other)] == ["10.0.1.10", "10.0.1.10"]
        world.firewall.remove(guests[0].vpc_id)
        world.network.remove(guests[0].vpc_id)
        assert world.namespaces.endpoints() == {SECOND}
        assert _reaches(guests[1], other) == "10.0.1.10"


def test_damage_is_repaired(world: World) -> None:
    vpc, guest, _ = _two_subnets(world)
    _route(world, vpc, ENDPOINT, ENDPOINT)
    link = net.endpoint_link_name(ENDPOINT)
    world.inside_run(vpc, "ip", "link", "del", link)
    assert world.network.audit()
    assert world.network.audit() == ()
    world.wait_for_carriers(vpcs=(ENDPOINT,))
    with _listen(world, ENDPOINT) as listener:
        assert _reaches(guest, listener) == "10.0.1.10"
    world.namespaces.delete(ENDPOINT)
    assert f"{ENDPOINT}: namespace" in world.network.audit()
    assert world.network.audit() == ()
    world.wait_for_carriers(vpcs=(ENDPOINT,))
    with _listen(world, ENDPOINT) as listener:
        assert _reaches(guest, listener) == "10.0.1.10"


def test_after_restarts(world: World) -> None:
    """A new agent adopts what is wanted and removes what is not, also what a crash left half made."""
    vpc, guest, _ = _two_subnets(world)
    _route(world, vpc, ENDPOINT, SECOND)
    desired, _ = world.vpcs[vpc]
    world.namespaces.create("vpce-0000000000000dead")
    world.network = KernelNetwork(world.namespaces)
    world.network.apply_host(net.HostNetwork((POOL,)))
    assert "vpce-0000000000000dead" not in world.namespaces.endpoints()
    before = world.namespaces.identity(ENDPOINT)
    remaining = replace(desired, endpoints=desired.endpoints[:1])
    world.network.apply(remaining)
    assert world.namespaces.endpoints() == {ENDPOINT}
    assert world.namespaces.identity(ENDPOINT) == before
    with _listen(world, ENDPOINT) as listener:
        assert _reaches(guest, listener) == "10.0.1.10"
    world.network = KernelNetwork(world.namespaces)
    world.network.apply_host(net.HostNetwork((POOL,)))
    world.firewall.remove(vpc)
    world.network.remove(vpc)
    assert world.namespaces.endpoints() == frozenset()
