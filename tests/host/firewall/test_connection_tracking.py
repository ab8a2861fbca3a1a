"""Idle timeouts of an interface's flows, as the kernel counts them down in its table of flows."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from stead_agent.nfnetlink import NetfilterSocket, Span, attributes
from tests.host.network.world import ANYWHERE, POOL, Guest, World, got, new_world, sent
from tests.support.waiting import wait_for

GROUP = "sg-0000000000000000a"
OPEN = fw.Group(GROUP, (sent(), got(1, "-1", ANYWHERE)))
TCP, UDP, STREAM = 432_000, 30, 180  # EC2's defaults
CHOSEN = fw.IdleTimeouts(tcp_established=4_000, udp=55, udp_stream=100)
GET_FLOWS = (1 << 8) | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
TUPLE_ORIGINAL, TIMEOUT, TUPLE_PROTOCOL, PROTOCOL_AND_PORT = 1, 7, 2, (1, 3)  # CTA_… of nfnetlink_conntrack.h
SLACK = 25  # seconds that a slow machine may take before it looks


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


@pytest.fixture
def pair(world: World) -> tuple[Guest, Guest]:
    """Two guests of one subnet that may talk."""
    world.start(net.HostNetwork((POOL,)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(OPEN,))
    return world.guest(vpc, "10.0.1.10", GROUP), world.guest(vpc, "10.0.1.20", GROUP)


def left(world: World, vpc_id: str, protocol: int, port: int) -> int:
    """After how many seconds the one flow to a port is forgotten, unless there is traffic."""

    def read() -> list[int]:
        with contextlib.closing(NetfilterSocket()) as netfilter:
            return [
                int.from_bytes(buffer[slice(*parts[TIMEOUT])])
                for buffer, span in netfilter.dump(GET_FLOWS, socket.AF_UNSPEC)
                if _goes_to(buffer, parts := attributes(buffer, span), protocol, port)
            ]

    (seconds,) = world.namespaces.inside(vpc_id, read)
    return seconds


def _goes_to(buffer: bytes, parts: dict[int, Span], protocol: int, port: int) -> bool:
    ends = attributes(buffer, attributes(buffer, parts[TUPLE_ORIGINAL])[TUPLE_PROTOCOL])
    return [int.from_bytes(buffer[slice(*ends[kind])]) for kind in PROTOCOL_AND_PORT] == [protocol, port]


def assert_lives(world: World, vpc_id: str, protocol: int, port: int, seconds: int) -> None:
    assert seconds - SLACK < left(world, vpc_id, protocol, port) <= seconds


def answered(client: Guest, server: Guest, port: int) -> tuple[socket.socket, socket.socket]:
    """One question by UDP and its answer; both sockets, to go on with."""
    there, here = server.udp(port), client.udp()
    here.connect((server.address, port))
    here.send(b"?")
    client.world.settle()
    _, asker = there.recvfrom(16)
    there.sendto(b"!", asker)
    client.world.settle()
    return here, there


@pytest.mark.parametrize("chosen_by", ["who begins", "who answers"])
def test_flows_in_both_directions_have_them(world: World, pair: tuple[Guest, Guest], chosen_by: str) -> None:
    one, two = pair
    client, server = (one, two) if chosen_by == "who begins" else (two, one)
    world.change(one, idle_timeouts=CHOSEN)
    server.listen(80)
    connection = client.connect(server.address, 80)
    assert connection
    assert_lives(world, one.vpc_id, socket.IPPROTO_TCP, 80, 4_000)
    with server.udp(90):
        client.sends(server.address, 90)
        world.settle()
    assert_lives(world, one.vpc_id, socket.IPPROTO_UDP, 90, 55)
    answered(client, server, 91)
    assert_lives(world, one.vpc_id, socket.IPPROTO_UDP, 91, 55)  # one question and its answer are no stream yet


def test_a_stream_of_datagrams_has_its_own(world: World, pair: tuple[Guest, Guest]) -> None:
    """The kernel takes it for one when it is answered, and goes on for more than two seconds."""
    one, two = pair
    world.change(one, idle_timeouts=CHOSEN)
    here, there = answered(one, two, 92)

    def goes_on() -> bool:
        here.send(b"?")
        world.settle()
        there.sendto(there.recv(16), here.getsockname())
        world.settle()
        return left(world, one.vpc_id, socket.IPPROTO_UDP, 92) > CHOSEN.udp

    wait_for(goes_on, "the flow is a stream", poll=0.3)
    assert_lives(world, one.vpc_id, socket.IPPROTO_UDP, 92, 100)


def test_without_any_they_are_those_of_ec2(world: World, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    third = world.guest(one.vpc_id, "10.0.1.30", GROUP)
    world.change(third, idle_timeouts=CHOSEN)
    two.listen(80)
    assert one.connect(two.address, 80)
    assert_lives(world, one.vpc_id, socket.IPPROTO_TCP, 80, TCP)
    answered(one, two, 91)
    assert_lives(world, one.vpc_id, socket.IPPROTO_UDP, 91, UDP)
    setting = world.inside_run(one.vpc_id, "sysctl", "-n", "net.netfilter.nf_conntrack_udp_timeout_stream")
    assert int(setting) == STREAM


def test_a_change_counts_for_flows_that_begin_after_it(world: World, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    world.change(one, idle_timeouts=CHOSEN)
    two.listen(80)
    before = one.connect(two.address, 80)
    world.change(one, idle_timeouts=fw.IdleTimeouts(tcp_established=7_000))
    assert before
    two.listen(82)
    after = one.connect(two.address, 82)
    assert after
    assert_lives(world, one.vpc_id, socket.IPPROTO_TCP, 82, 7_000)
    world.change(one, idle_timeouts=fw.IdleTimeouts())
    rules = world.inside_run(one.vpc_id, "nft", "list", "table", "inet", "stead")
    assert "ct timeout" not in rules
    two.listen(81)
    assert one.connect(two.address, 81)
    assert_lives(world, one.vpc_id, socket.IPPROTO_TCP, 81, TCP)


def test_they_come_back_and_leave_nothing(world: World, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    world.change(one, idle_timeouts=CHOSEN)
    assert world.firewall.audit() == ()
    world.inside_run(one.vpc_id, "nft", "flush", "chain", "inet", "stead", f"{one.interface_id}-out")
    world.inside_run(one.vpc_id, "nft", "flush", "chain", "inet", "stead", f"{one.interface_id}-in")
    for name in ("tcp-4000", "udp-55-100"):
        world.inside_run(one.vpc_id, "nft", "delete", "ct", "timeout", "inet", "stead", name)
    assert world.firewall.audit() == (f"{one.vpc_id}: table inet stead",)
    two.listen(80)
    assert one.connect(two.address, 80)
    assert_lives(world, one.vpc_id, socket.IPPROTO_TCP, 80, 4_000)
    world.forget(one)
    assert "ct timeout" not in world.inside_run(one.vpc_id, "nft", "list", "table", "inet", "stead")


def test_nonsense_costs_only_the_timeouts(world: World, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    network, firewall = world.vpcs[one.vpc_id]
    world.change(one, idle_timeouts=fw.IdleTimeouts(tcp_established=432_001))
    two.listen(80)
    assert one.connect(two.address, 80)
    assert_lives(world, one.vpc_id, socket.IPPROTO_TCP, 80, TCP)
    bad = world.vpcs[one.vpc_id][1]
    world.apply(network, firewall)
    (refusal,) = world.apply(network, bad)
    assert refusal.id == one.interface_id
