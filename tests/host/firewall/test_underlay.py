"""FAULTS 19: VXLAN has no authentication, so nobody but other hosts gets a packet to a host's port."""

import select
import socket
import struct
from collections.abc import Iterator

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from stead_proto import limits
from tests.host.firewall import frames as f
from tests.host.network.world import ANYWHERE, POOL, Guest, Host, World, add_outside, got, new_world, sent

VXLAN = 4789
EXPORT = limits.EXPORT_PORTS[-1]
OPEN = "sg-0000000000000000a"
HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def _start(world: World, *peers: str) -> tuple[Host, Guest, socket.socket]:
    """A host with an uplink that is its underlay too, a guest with a public address, and who listens for VXLAN."""
    outside = add_outside(world, f"{HERE}/24", f"{THERE}/24")
    world.route("vpc-outside", POOL, HERE)
    world.start(
        net.HostNetwork((POOL,), "up0"), underlay_address=HERE if peers else "", underlay_peers=frozenset(peers)
    )
    group = fw.Group(OPEN, (sent(), got(1, "-1", ANYWHERE)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(group,))
    guest = world.guest(vpc, "10.0.1.10", OPEN, public="198.51.100.10")
    listener = world.open("vpc-host", socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("0.0.0.0", VXLAN))
    return outside, guest, listener


def _arrives(world: World, sender: socket.socket, to: str, listener: socket.socket, port: int = VXLAN) -> bool:
    sender.sendto(b"\x08\0\0\0\0\0\x01\0", (to, port))
    world.settle()
    came = bool(select.select([listener], [], [], 0)[0])
    if came:
        listener.recv(100)
    return came


def test_other_hosts_alone_may_send(world: World) -> None:
    outside, guest, listener = _start(world, THERE)
    with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert _arrives(world, sender, HERE, listener)
        assert not _arrives(world, sender, "198.51.100.1", listener)
    world.at_host_run("ip", "addr", "add", "192.0.2.77/24", "dev", "up0")
    with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert not _arrives(world, sender, "192.0.2.77", listener)
    for place in ("192.0.2.1", "198.51.100.1"):
        with guest.udp() as sender:
            assert not _arrives(world, sender, place, listener)
    with world.open("vpc-host", socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert not _arrives(world, sender, "127.0.0.1", listener)


def test_unknown_hosts_may_not(world: World) -> None:
    """Nor may anybody where there are no other hosts; and one that has left may no longer."""
    outside, _, listener = _start(world, ELSEWHERE)
    with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert not _arrives(world, sender, HERE, listener)
        for peers, passes in ((frozenset({THERE}), True), (frozenset(), False)):
            world.firewall.apply_host(
                fw.HostFirewall(
                    (POOL,), "up0", "198.51.100.1", underlay_address=HERE if peers else "", underlay_peers=peers
                )
            )
            assert _arrives(world, sender, HERE, listener) is passes


def test_a_hosts_address_by_another_link_is_a_lie(world: World) -> None:
    _, _, listener = _start(world, THERE)
    other = world.add_link("vpc-host", "lan0", "203.0.113.1/24", "vpc-lan", "203.0.113.2/24")
    mac = world.at_host_run("cat", "/proc/net/arp")  # nobody is asked yet
    assert "lan0" not in mac
    with other.open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as liar:
        packet = f.ipv4(THERE, HERE, f.UDP, f.udp(4000, VXLAN, b"\x08" + bytes(7)))
        world.route("vpc-lan", "192.0.2.0/24", "203.0.113.1")
        world.at_host_run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.lan0.rp_filter=0")
        liar.sendto(packet, (HERE, 0))
        world.settle()
    assert not select.select([listener], [], [], 0)[0]


def test_guests_cannot_play_host(world: World) -> None:
    """Their addresses are hidden behind the host's own at the uplink: there they would be taken for it."""
    outside, guest, _ = _start(world, THERE)
    with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as listener, guest.udp() as sender:
        listener.bind(("0.0.0.0", VXLAN))
        with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.bind(("0.0.0.0", 4790))
            assert _arrives(world, sender, THERE, plain, 4790)  # the way is open
        assert not _arrives(world, sender, THERE, listener)
        first = f.udp(4000, VXLAN, struct.pack("!II", 1 << 27, 1 << 8) + bytes(24))
        for part in (
            f.ipv4(guest.address, THERE, f.UDP, first[:16], more=True),
            f.ipv4(guest.address, THERE, f.UDP, first[16:], offset=16),
        ):
            guest.emit(f.ethernet(net.GATEWAY_MAC, guest.mac, f.IPV4, part))
        world.settle()
        assert not select.select([listener], [], [], 0)[0]


def _connects(world: World, client: socket.socket, to: str) -> bool:
    """Tell whether a connection comes to be: at once, or not at all, for nobody answers what the firewall drops."""
    return world.connect(client, to, EXPORT) is not None


def test_other_hosts_alone_may_ask_for_volumes(world: World) -> None:
    outside, guest, _ = _start(world, THERE)
    listener = world.open("vpc-host", socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", EXPORT))
    listener.listen()
    for place, is_let_in in ((HERE, True), ("198.51.100.1", False)):
        with outside.open(socket.AF_INET, socket.SOCK_STREAM) as client:
            assert _connects(world, client, place) is is_let_in
    world.at_host_run("ip", "addr", "add", "192.0.2.77/24", "dev", "up0")
    with outside.open(socket.AF_INET, socket.SOCK_STREAM) as client:
        assert not _connects(world, client, "192.0.2.77")
    for place in (HERE, "198.51.100.1"):
        with guest.open(socket.AF_INET, socket.SOCK_STREAM) as client:
            assert not _connects(world, client, place)
    with world.open("vpc-host", socket.AF_INET, socket.SOCK_STREAM) as client:
        assert _connects(world, client, "127.0.0.1")  # whoever is on the host has better ways
    world.firewall.apply_host(fw.HostFirewall((POOL,), "up0", "198.51.100.1"))
    with outside.open(socket.AF_INET, socket.SOCK_STREAM) as client:
        assert not _connects(world, client, HERE)
