"""A guest lies in every way we know of; not one frame of it gets to its neighbour, the host, or the gateway's memory."""

import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from stead_agent.network.kernel_objects import Place
from stead_agent.network.rtnetlink import Kernel
from tests.host.firewall import frames as f
from tests.host.network.world import ANYWHERE, HOST_ADDRESS, POOL, Frames, Guest, World, got, new_world, sent

OPEN = "sg-0000000000000000a"
GATEWAY = "10.0.1.1"
LLDP, BRIDGES = "01:80:c2:00:00:0e", "01:80:c2:00:00:00"
NEARBY = "33:33:00:00:00:01"


@dataclass
class Stage:
    """Two guests of one subnet, whose group lets everything in; and a watch on the victim and on the host's side."""

    world: World
    attacker: Guest
    victim: Guest
    seen: Frames
    host_wire: socket.socket

    def emit(self, *frames: bytes) -> None:
        for frame in frames:
            self.attacker.emit(frame)

    def arrived(self) -> list[str]:
        """Frames at the victim, and those that the host's stack was given."""
        answer = f.arp(2, net.GATEWAY_MAC, GATEWAY, self.victim.mac, self.victim.address)
        true_answer = f.ethernet(self.victim.mac, net.GATEWAY_MAC, f.ARP, answer)[:42]  # the victim may ask at any time
        found = [frame.hex() for frame in self.seen.read() if frame[:42] != true_answer]
        if select.select([self.host_wire], [], [], 0)[0]:
            found.append("host: " + self.host_wire.recv(4096).hex())
        return found


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        group = fw.Group(OPEN, (sent(), got(1, "-1", ANYWHERE)))
        vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(group,))
        attacker = world.guest(vpc, "10.0.1.10", OPEN, public="198.51.100.10")
        victim = world.guest(vpc, "10.0.1.11", OPEN)
        bridge = net.bridge_name(world.vpcs[vpc][0].subnets[0].id)
        wire = world.open("vpc-host", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        wire.bind((bridge, 3))
        yield Stage(world, attacker, victim, victim.frames(), wire)


@pytest.fixture(autouse=True)
def _the_way_is_open(stage: Stage) -> Iterator[None]:
    """Before and after each lie the neighbours can talk, so what does not arrive was dropped for being a lie."""
    assert stage.attacker.reaches(stage.victim, 5000)
    assert stage.victim.reaches(stage.attacker, 5000)
    stage.seen.read()
    yield
    assert stage.attacker.reaches(stage.victim, 5000)
    assert stage.victim.reaches(stage.attacker, 5000)


def _destinations(stage: Stage) -> tuple[str, str, str]:
    return (stage.victim.mac, f.BROADCAST, net.GATEWAY_MAC)


def test_false_mac(stage: Stage) -> None:
    packet = f.ipv4(stage.attacker.address, stage.victim.address, f.UDP, f.udp(1, 2))
    for false in (stage.victim.mac, net.GATEWAY_MAC, "06:de:ad:be:ef:01", f.BROADCAST):
        stage.emit(*(f.ethernet(to, false, f.IPV4, packet) for to in _destinations(stage)))
        assert stage.arrived() == [], false


def test_false_source_address(stage: Stage) -> None:
    near = ("10.0.1.11", GATEWAY, "10.0.1.2", "169.254.169.254", "198.51.100.10", HOST_ADDRESS)
    for false in (*near, "8.8.8.8", "127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1"):
        packet = f.ipv4(false, stage.victim.address, f.UDP, f.udp(1, 2))
        stage.emit(*(f.ethernet(to, stage.attacker.mac, f.IPV4, packet) for to in _destinations(stage)))
        assert stage.arrived() == [], false


@pytest.mark.parametrize("claimed", ["10.0.1.11", GATEWAY, "169.254.169.254", "10.0.1.77"])
def test_false_arp(stage: Stage, claimed: str) -> None:
    me, victim = stage.attacker.mac, stage.victim.mac
    for operation in (1, 2):
        for to in _destinations(stage):
            stage.emit(
                f.ethernet(to, me, f.ARP, f.arp(operation, me, claimed, victim, stage.victim.address)),
                f.ethernet(to, me, f.ARP, f.arp(operation, me, claimed, f.BROADCAST, claimed)),  # gratuitous
                f.ethernet(to, me, f.ARP, f.arp(operation, net.GATEWAY_MAC, claimed, victim, stage.victim.address)),
                f.ethernet(to, me, f.ARP, f.arp(operation, net.GATEWAY_MAC, stage.attacker.address, victim, GATEWAY)),
            )
        assert stage.arrived() == [], operation


def test_odd_arp(stage: Stage) -> None:
    """Another hardware or protocol type, other lengths, RARP: nothing that a neighbour might read differently."""
    me = stage.attacker
    right = f.arp(2, me.mac, GATEWAY, stage.victim.mac, stage.victim.address)
    for start in (b"\0\6\x08\0\6\4", b"\0\1\x86\xdd\6\4", b"\0\1\x08\0\7\4", b"\0\1\x08\0\6\5"):
        stage.emit(f.ethernet(f.BROADCAST, me.mac, f.ARP, start + right[6:]))
    stage.emit(f.ethernet(f.BROADCAST, me.mac, 0x8035, right))
    assert stage.arrived() == []


def test_false_dhcp_server(stage: Stage) -> None:
    """Offers and acknowledgements, broadcast, to the neighbour's MAC, and routed to its address by the gateway."""
    me, victim = stage.attacker, stage.victim
    for kind in (2, 5):
        answer = f.udp(67, 68, f.dhcp(2, "10.0.1.66", victim.mac, kind))
        for source in (me.address, GATEWAY, "0.0.0.0"):
            for destination in ("255.255.255.255", victim.address, "10.0.1.255"):
                packet = f.ipv4(source, destination, f.UDP, answer)
                stage.emit(*(f.ethernet(to, me.mac, f.IPV4, packet) for to in _destinations(stage)))
        assert stage.arrived() == [], kind


def test_false_dhcp_server_in_fragments(stage: Stage) -> None:
    me, victim = stage.attacker, stage.victim
    answer = f.udp(67, 68, f.dhcp(2, "10.0.1.66", victim.mac, 5))
    first, rest = answer[:8], answer[8:]
    for frame in (
        f.ipv4(me.address, victim.address, f.UDP, first, more=True),
        f.ipv4(me.address, victim.address, f.UDP, rest, offset=8),
    ):
        stage.emit(f.ethernet(net.GATEWAY_MAC, me.mac, f.IPV4, frame))
    assert stage.arrived() == []


def test_false_ipv6_router_and_neighbours(stage: Stage) -> None:
    me = stage.attacker.mac
    solicitation = f.icmpv6("fe80::66", "ff02::1:ff00:1", 135, bytes(4) + socket.inet_pton(socket.AF_INET6, "fe80::1"))
    advertisement = f.icmpv6(
        "fe80::1", "ff02::1", 136, b"\xa0\0\0\0" + socket.inet_pton(socket.AF_INET6, "fe80::1") + b"\2\1" + f.mac(me)
    )
    behind_headers = f.ipv6("fe80::66", "ff02::1", 60, b"\x3a\0\1\4\0\0\0\0" + f.router_advertisement(me)[40:])
    for payload in (f.router_advertisement(me), solicitation, advertisement, behind_headers):
        stage.emit(*(f.ethernet(to, me, f.IPV6, payload) for to in (NEARBY, *_destinations(stage))))
    assert stage.arrived() == []


def test_tagged_frames(stage: Stage) -> None:
    """CVE-2021-27853 and its like: what a filter does not look into, a neighbour may."""
    for tags in (
        [(f.VLAN, 0)],
        [(f.VLAN, 0)] * 2,
        [(f.VLAN, 0)] * 3,
        [(f.VLAN, 1)],
        [(f.SERVICE_VLAN, 0)],
        [(f.SERVICE_VLAN, 1), (f.VLAN, 0)],
        [(0x9100, 0)],
    ):
        for frame in _harmless_untagged(stage):
            stage.emit(f.tagged(frame, *tags))
        assert stage.arrived() == [], tags


def _harmless_untagged(stage: Stage) -> list[bytes]:
    """Frames of which at least the right ones would arrive, by each way to the neighbour."""
    me, victim = stage.attacker, stage.victim
    payloads = [
        (f.IPV4, f.ipv4(me.address, victim.address, f.UDP, f.udp(1, 2))),
        (f.ARP, f.arp(2, me.mac, GATEWAY, victim.mac, victim.address)),
        (f.IPV6, f.router_advertisement(me.mac)),
    ]
    return [f.ethernet(to, me.mac, kind, payload) for kind, payload in payloads for to in _destinations(stage)]


@pytest.mark.parametrize("oui", [bytes(3), b"\0\0\xf8"])
def test_llc_and_snap(stage: Stage, oui: bytes) -> None:
    """CVE-2021-27854, 27861, 27862: both encapsulations, with right, wrong and no lengths, and as ethertypes."""
    for kind in (b"", b"\x88\x70", b"\x88\xb7", b"\0\0", b"\x05\xff"):
        for frame in _harmless_untagged(stage):
            stage.emit(f.snap(frame, oui, kind), f.tagged(f.snap(frame, oui, kind), (f.VLAN, 0)))
        assert stage.arrived() == [], kind


def test_other_ethertypes(stage: Stage) -> None:
    packet = f.ipv4(stage.attacker.address, stage.victim.address, f.UDP, f.udp(1, 2))
    for kind in (0x88B7, 0x8870, 0x88CC, 0x888E, 0x8847, 0x8863, 0x8864, 0x22F0, 0x88E5, 0x0003, 0x6558):
        stage.emit(*(f.ethernet(to, stage.attacker.mac, kind, packet) for to in (LLDP, NEARBY, *_destinations(stage))))
        assert stage.arrived() == [], hex(kind)


def test_bridge_protocols(stage: Stage) -> None:
    """Spanning tree, LLDP and pause frames have addresses that a bridge handles before all else."""
    me = stage.attacker.mac
    root = (
        b"\x42\x42\x03"
        + bytes(5)
        + bytes(8)
        + bytes(4)
        + bytes(8)
        + struct.pack("!HHHHH", 0x8001, 0, 0x1400, 0x200, 0xF00)
    )
    for number in range(16):
        stage.emit(f.ethernet(f"{BRIDGES[:-2]}{number:02x}", me, len(root), root))
        stage.emit(f.ethernet(f"{BRIDGES[:-2]}{number:02x}", stage.victim.mac, 0x88CC, root))
    assert stage.arrived() == []


def test_cut_frames(stage: Stage) -> None:
    """Headers that end too early, or claim what is not there."""
    me, victim = stage.attacker, stage.victim
    packet = f.ipv4(me.address, victim.address, f.UDP, f.udp(1, 2))
    start = f.mac(victim.mac) + f.mac(me.mac) + struct.pack("!H", f.IPV4)
    for length in (0, 1, 8, 12, 16, 19):
        stage.emit(start + packet[:length])
    for first_byte in (0x44, 0x40, 0x55, 0x65, 0x05):  # header length and version
        stage.emit(start + bytes([first_byte]) + packet[1:])
    assert stage.arrived() == []


def test_frames_past_the_gateway(stage: Stage) -> None:
    """Right in all but the destination MAC: neighbours are not on one wire, whatever their groups allow."""
    me, victim = stage.attacker, stage.victim
    packet = f.ipv4(me.address, victim.address, f.UDP, f.udp(1, 2))
    stage.emit(f.ethernet(victim.mac, me.mac, f.IPV4, packet), f.ethernet(f.BROADCAST, me.mac, f.IPV4, packet))
    assert stage.arrived() == []


def test_gateway_remembers_the_truth(stage: Stage) -> None:
    """After all these lies the VPC's namespace has the same MAC for each neighbour."""
    world, vpc_id = stage.world, stage.attacker.vpc_id

    def look() -> dict[str, str]:
        with Kernel(world.namespaces.host, namespace) as kernel:
            return {address: mac for _, address, mac, _ in kernel.neighbours(Place.VPC)}

    namespace = world.namespaces.open(vpc_id)
    neighbours = world.namespaces.inside(None, look)
    assert neighbours[stage.victim.address] == stage.victim.mac
    assert neighbours[stage.attacker.address] == stage.attacker.mac
    assert "169.254.169.254" not in neighbours


def test_without_source_check_addresses_are_free_but_not_the_mac(stage: Stage) -> None:
    me, victim = stage.attacker, stage.victim
    foreign = f.ipv4("192.168.9.9", victim.address, f.UDP, f.udp(1, 2))
    stage.world.change(me, source_dest_check=False)
    stage.emit(f.ethernet(net.GATEWAY_MAC, victim.mac, f.IPV4, foreign))
    stage.emit(f.ethernet(net.GATEWAY_MAC, me.mac, f.ARP, f.arp(2, me.mac, GATEWAY, net.GATEWAY_MAC, GATEWAY)))
    stage.emit(
        f.ethernet(
            net.GATEWAY_MAC, me.mac, f.IPV4, f.ipv4("192.168.9.9", victim.address, f.UDP, f.udp(67, 68, b"offer"))
        )
    )
    assert stage.arrived() == []
    stage.emit(f.ethernet(net.GATEWAY_MAC, me.mac, f.IPV4, foreign))
    frames = stage.arrived()
    stage.world.change(me, source_dest_check=True)
    assert len(frames) == 1
    assert socket.inet_aton("192.168.9.9").hex() in frames[0]
    stage.emit(f.ethernet(net.GATEWAY_MAC, me.mac, f.IPV4, foreign))
    assert stage.arrived() == []


def test_guest_cannot_see_or_reach_the_host_by_the_bridge(stage: Stage) -> None:
    """The host's stack answers ARP for any of its addresses on any link: on a bridge it must not be asked."""
    me = stage.attacker
    mine = me.frames()
    for target in (HOST_ADDRESS, "127.0.0.1"):
        for to in (f.BROADCAST, "02:53:54:45:41:03"):  # the bridge's own MAC
            stage.emit(f.ethernet(to, me.mac, f.ARP, f.arp(1, me.mac, me.address, f.BROADCAST, target)))
    stage.emit(f.ethernet("02:53:54:45:41:03", me.mac, f.IPV4, f.ipv4(me.address, HOST_ADDRESS, f.UDP, f.udp(1, 4789))))
    assert stage.arrived() == []
    # Only the gateway answers: the way to the pool's addresses leads through it.
    assert {frame[6:12] for frame in mine.read()} <= {f.mac(net.GATEWAY_MAC)}


def test_what_is_right_still_works(stage: Stage) -> None:
    """DHCP's first question, from no address to all, arrives at the gateway; nobody else sees it."""
    me = stage.attacker
    server = stage.world.namespaces.inside(
        me.vpc_id, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    )
    with server:
        server.bind(("0.0.0.0", 67))
        discover = f.ipv4("0.0.0.0", "255.255.255.255", f.UDP, f.udp(68, 67, f.dhcp(1, "0.0.0.0", me.mac, 1)))
        stage.emit(f.ethernet(f.BROADCAST, me.mac, f.IPV4, discover))
        assert stage.arrived() == []
        assert select.select([server], [], [], 0)[0]
