"""Interfaces of interface endpoints: who reaches what listens in their namespaces, and what is left of them."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from stead_agent.network.kernel import KernelNetwork
from stead_agent.network.namespaces import INTERFACE_PREFIX
from tests.host.network.world import POOL, Guest, World, got, new_world, sent

OPEN = fw.Group("sg-00000001", (sent(),))
CLIENTS = fw.Group("sg-00000002", (sent(),))
HTTPS = fw.Group("sg-00000003", (got(1, "tcp", CLIENTS.id, 443, 443),))  # and nothing out
EMPTY = fw.Group("sg-00000004", ())


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


def _endpoint(world: World, vpc_id: str, address: str, *group_ids: str, subnet: int = 0) -> Guest:
    """Add an endpoint's interface to the states; the network plugs it in."""
    guest = world.guest(vpc_id, address, *group_ids, subnet=subnet, plugged=False)
    _mark(world, vpc_id, guest.interface_id)
    return guest


def _mark(world: World, vpc_id: str, *interface_ids: str) -> None:
    network, firewall = world.vpcs[vpc_id]
    marked = network.endpoint_interfaces | set(interface_ids)
    world.apply(replace(network, endpoint_interfaces=marked), firewall)
    world.wait_for_carriers(vpcs=tuple(sorted(marked)))


def _forget(world: World, endpoint: Guest) -> None:
    network, firewall = world.vpcs[endpoint.vpc_id]
    left = network.endpoint_interfaces - {endpoint.interface_id}
    world.vpcs[endpoint.vpc_id] = (replace(network, endpoint_interfaces=left), firewall)
    world.forget(endpoint)


def _listen(world: World, endpoint: Guest, port: int = 443) -> socket.socket:
    def make() -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen()
        return listener

    return world.namespaces.inside(endpoint.interface_id, make)


def _reaches(guest: Guest, endpoint: Guest, listener: socket.socket, port: int = 443) -> str | None:
    """Tell the address from which a guest's connection comes to a listener; None when it does not come."""
    connection = guest.connect(endpoint.address, port)
    if connection is None:
        return None
    accepted, (source, _) = listener.accept()
    accepted.close()
    connection.close()
    return str(source)


def _vpc(world: World) -> str:
    groups = (OPEN, CLIENTS, HTTPS, EMPTY)
    return world.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", groups=groups, internet=False)


def test_clients_of_its_subnet_and_of_others(world: World) -> None:
    """Each is seen as itself, on the answer's way back as well, and nobody else is let in by the endpoint's group."""
    vpc = _vpc(world)
    near, far = world.guest(vpc, "10.0.1.10", CLIENTS.id), world.guest(vpc, "10.0.2.10", CLIENTS.id, subnet=1)
    other = world.guest(vpc, "10.0.1.11", OPEN.id)
    endpoint = _endpoint(world, vpc, "10.0.1.77", HTTPS.id)
    with _listen(world, endpoint) as listener, _listen(world, endpoint, 80) as plain:
        assert _reaches(near, endpoint, listener) == "10.0.1.10"
        assert _reaches(far, endpoint, listener) == "10.0.2.10"
        assert _reaches(other, endpoint, listener) is None
        assert _reaches(near, endpoint, plain, 80) is None
        assert not near.pings(endpoint.address)
        assert world.network.audit() == ()
        world.change(endpoint, group_ids=(EMPTY.id,))
        assert _reaches(near, endpoint, listener) is None


def test_a_flow_ends_when_the_rule_goes(world: World) -> None:
    vpc = _vpc(world)
    guest, endpoint = world.guest(vpc, "10.0.1.10", CLIENTS.id), _endpoint(world, vpc, "10.0.1.77", HTTPS.id)
    with _listen(world, endpoint) as listener:
        connection = guest.connect(endpoint.address, 443)
        assert connection is not None
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        connection.send(b"before")
        world.settle()
        assert accepted.recv(100) == b"before"
        world.groups(vpc, replace(HTTPS, rules=(), members=frozenset({endpoint.address})))
        connection.send(b"after")
        world.settle()
        with pytest.raises(BlockingIOError):
            accepted.recv(100)
        accepted.close()


def test_nothing_lies_behind_it(world: World) -> None:
    """Its namespace forwards nothing, and begins nothing with guests that its group does not let out."""
    vpc = _vpc(world)
    guest, endpoint = world.guest(vpc, "10.0.1.10", CLIENTS.id), _endpoint(world, vpc, "10.0.2.77", HTTPS.id, subnet=1)
    guest.listen(80)

    def begin() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    opened = world.namespaces.inside(endpoint.interface_id, begin)
    assert world.connect(opened, "10.0.1.10", 80) is None
    forwards = Path("/proc/sys/net/ipv4/ip_forward")
    inside = world.namespaces.inside
    assert inside(endpoint.interface_id, lambda: forwards.read_text(encoding="ascii").strip()) == "0"


def test_two_of_a_host_and_the_end_of_one(world: World) -> None:
    vpc = _vpc(world)
    guest = world.guest(vpc, "10.0.1.10", CLIENTS.id)
    one = _endpoint(world, vpc, "10.0.1.77", HTTPS.id)
    two = _endpoint(world, vpc, "10.0.2.77", HTTPS.id, subnet=1)
    with _listen(world, two) as listener:
        _forget(world, one)
        assert world.namespaces.listed(INTERFACE_PREFIX) == {two.interface_id}
        assert not guest.connect(one.address, 443)
        assert _reaches(guest, two, listener) == "10.0.1.10"
        assert one.tap not in world.at_host_run("ip", "link")
    world.firewall.remove(vpc)
    world.network.remove(vpc)
    assert world.namespaces.listed(INTERFACE_PREFIX) == frozenset()


def test_damage_is_repaired(world: World) -> None:
    vpc = _vpc(world)
    guest, endpoint = world.guest(vpc, "10.0.1.10", CLIENTS.id), _endpoint(world, vpc, "10.0.1.77", HTTPS.id)
    name = endpoint.interface_id
    isolated_off = ("ip", "link", "set", "dev", endpoint.tap, "type", "bridge_slave", "isolated", "off")
    for run, damage in (
        (world.at_host_run, ("ip", "link", "del", endpoint.tap)),
        (world.at_host_run, isolated_off),
        (lambda *words: world.inside_run(name, *words), ("ip", "route", "flush", "table", "main")),
        (lambda *words: world.inside_run(name, *words), ("ip", "addr", "flush", "dev", "eth0")),
        (lambda *_: world.namespaces.delete(name), ()),
    ):
        run(*damage)
        assert world.network.audit()
        assert world.network.audit() == ()
        world.wait_for_carriers(vpcs=(name,))
        with _listen(world, endpoint) as listener:
            assert _reaches(guest, endpoint, listener) == "10.0.1.10"


def test_after_restarts(world: World) -> None:
    """A new agent adopts what is wanted and removes what is not, also what a crash left half made."""
    vpc = _vpc(world)
    guest = world.guest(vpc, "10.0.1.10", CLIENTS.id)
    remaining = _endpoint(world, vpc, "10.0.1.77", HTTPS.id)
    gone = _endpoint(world, vpc, "10.0.2.77", HTTPS.id, subnet=1)
    half = "eni-0000000000000dead"
    world.namespaces.create(half)
    before = world.namespaces.identity(remaining.interface_id)
    desired, _ = world.vpcs[vpc]
    with _listen(world, remaining) as listener:
        world.network = KernelNetwork(world.namespaces)
        world.network.apply_host(net.HostNetwork((POOL,)))
        assert half not in world.namespaces.listed(INTERFACE_PREFIX)
        world.network.apply(replace(desired, endpoint_interfaces=frozenset({remaining.interface_id})))
        assert world.namespaces.listed(INTERFACE_PREFIX) == {remaining.interface_id}
        assert world.namespaces.identity(remaining.interface_id) == before
        assert gone.tap not in world.at_host_run("ip", "link")
        assert _reaches(guest, remaining, listener) == "10.0.1.10"
