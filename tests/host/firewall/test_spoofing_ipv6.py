"""A guest lies in IPv6 in every way we know of (FAULTS 5, 9, 22): not one frame of it passes its own tap."""

import random
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from stead_agent.firewall.guest_ipv6 import link_local
from stead_agent.firewall.interface import Group, GroupRule
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.firewall.desired_states import desired_firewall, desired_network
from tests.host.firewall.ec2 import Cloud, Eni, Subnet, Vpc
from tests.host.firewall.hosts import Hosts, Wire, new_hosts

VPC, SUBNET, OPEN = "vpc-0000000000000001", "subnet-0000000000000001", "sg-000000000000000a"
ROUTERS, NODES = "ff02::2", "ff02::1"
ROUTERS_MAC, NODES_MAC = "33:33:00:00:00:02", "33:33:00:00:00:01"
DHCP_SERVERS, DHCP_SERVERS_MAC = "ff02::1:2", "33:33:00:01:00:02"


@dataclass
class Stage:
    """Two guests whose groups let everything in, a router and the gateway's side of their bridge."""

    hosts: Hosts
    attacker: Eni
    victim: Eni
    router: Eni
    gateway: Wire

    @property
    def own(self) -> str:
        return link_local(self.attacker.mac)

    def emit(self, *packets: bytes, to: str = net.GATEWAY_MAC, by: Eni | None = None) -> None:
        sender = by or self.attacker
        for packet in packets:
            self.hosts.wires[sender.id].send(f.ethernet(to, sender.mac, f.IPV6, packet))

    def emit_to_all(self, *packets: bytes, by: Eni | None = None) -> None:
        """Send to every address that may be listened to."""
        for to in (net.GATEWAY_MAC, self.victim.mac, f.BROADCAST, NODES_MAC, ROUTERS_MAC):
            self.emit(*packets, to=to, by=by)

    def passed(self) -> list[str]:
        """Frames that got past the tap: to the gateway, or to the victim."""
        self.hosts.settle()
        macs = {f.mac(self.attacker.mac), f.mac(self.router.mac)}
        found = [frame.hex() for frame in self.gateway.read() if frame[6:12] in macs]
        reports = f.mac("33:33:00:00:00:16")  # the gateway's own, of what it listens to
        heard = [frame for frame in self.hosts.wires[self.victim.id].read() if frame[:6] != reports]
        return found + [f"victim: {frame.hex()}" for frame in heard]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    everybody = [
        GroupRule(f"sgr-{number:017x}", egress, "-1", -1, -1, block)
        for number, (egress, block) in enumerate((e, b) for e in (False, True) for b in ("0.0.0.0/0", "::/0"))
    ]
    cloud = Cloud(
        {VPC: Vpc(VPC, "10.0.0.0/16", "2001:db8:1::/56")},
        {SUBNET: Subnet(SUBNET, VPC, "10.0.1.0/24", "2001:db8:1:1::/64")},
        groups={OPEN: Group(OPEN, tuple(everybody))},
    )
    for number in (1, 2, 3):
        eni = Eni(
            f"eni-{number:017x}", SUBNET, "a", f"06:00:00:00:00:0{number}", f"10.0.1.1{number}",
            f"2001:db8:1:1::1{number}", (OPEN,), check=number != 3,
        )  # fmt: skip
        cloud.enis[eni.id] = eni
    with new_hosts("a") as hosts:
        host = hosts.hosts["a"]
        host.network.apply(desired_network(cloud, cloud.vpcs[VPC], "a"))
        desired = desired_firewall(cloud, cloud.vpcs[VPC], "a")
        assert host.firewall.apply(replace(desired, acls=())) == ()
        for eni in cloud.enis.values():
            hosts.plug("a", eni.id, SUBNET)
        gateway = host.namespaces.inside(
            VPC, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        )
        gateway.bind((net.subnet_link_name(SUBNET), 3))
        hosts.wait_for_carriers()
        attacker, victim, router = cloud.enis.values()
        with gateway:
            yield Stage(hosts, attacker, victim, router, Wire(gateway))


@pytest.fixture(autouse=True)
def _the_way_is_open(stage: Stage) -> Iterator[None]:
    """Before and after each lie the neighbours can talk, so what does not arrive was dropped for being a lie."""
    _talk(stage)
    yield
    _talk(stage)


def _talk(stage: Stage) -> None:
    number = random.randrange(10_000, 50_000)  # no port that a rule of its own concerns: 546 and 547 are DHCP's
    for sender in (stage.attacker, stage.router):
        stage.emit(_datagram(sender.ipv6, stage.victim.ipv6, number), by=sender)
    found = stage.passed()
    assert len([it for it in found if it.startswith("victim")]) == 2, found


def _datagram(source: str, destination: str, port: int = 53, hops: int = 64) -> bytes:
    return f.ipv6(source, destination, f.UDP, _udp(source, destination, 4000, port), hops)


def _udp(source: str, destination: str, port: int, other_port: int) -> bytes:
    whole = f.udp(port, other_port)
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    total = f.checksum(ends + struct.pack("!II", len(whole), 17) + whole)
    return whole[:6] + struct.pack("!H", total or 0xFFFF) + whole[8:]


def _target(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


def _solicit(source: str, target: str, *options: bytes) -> bytes:
    return f.icmpv6(source, "ff02::1:ff00:1", 135, bytes(4) + _target(target) + b"".join(options))


def _advert(source: str, target: str, *options: bytes, to: str = NODES) -> bytes:
    return f.icmpv6(source, to, 136, b"\xa0\0\0\0" + _target(target) + b"".join(options))


def _mac(kind: int, text: str) -> bytes:
    return bytes([kind, 1]) + f.mac(text)


def test_the_truth_passes(stage: Stage) -> None:
    """All that a guest's own system says: probes, questions, answers, DHCP, from its address and its link-local one."""
    me = stage.attacker
    truths = [
        _solicit("::", me.ipv6),
        _solicit("::", stage.own, b"\x0e\1" + b"random"),
        _solicit(me.ipv6, "fe80::1", _mac(1, me.mac)),
        _solicit(stage.own, "2001:db8:1:1::1"),
        _advert(me.ipv6, me.ipv6, _mac(2, me.mac)),
        _advert(stage.own, stage.own),
        f.icmpv6("::", ROUTERS, 133, bytes(4)),
        f.icmpv6(stage.own, ROUTERS, 133, bytes(4) + _mac(1, me.mac)),
        f.icmpv6(me.ipv6, "2001:db8:1:1::12", 128, bytes(4)),
        f.ipv6(stage.own, DHCP_SERVERS, f.UDP, _udp(stage.own, DHCP_SERVERS, 546, 547), 1),
    ]
    for truth in truths:
        stage.emit(truth)
        assert [it for it in stage.passed() if not it.startswith("victim")], truth.hex()


def test_false_source_address(stage: Stage) -> None:
    near = (stage.victim.ipv6, "2001:db8:1:1::", "fe80::1", "fe80::66", link_local(stage.victim.mac), "fd00:ec2::254")
    for false in (*near, "2001:db8:1:1::77", "2001:db8:ffff::1", "::1", "::", "ff02::1", "::ffff:10.0.1.11"):
        stage.emit_to_all(_datagram(false, stage.victim.ipv6), f.icmpv6(false, stage.victim.ipv6, 128, bytes(4)))
        assert stage.passed() == [], false


def test_false_neighbours(stage: Stage) -> None:
    me, victim = stage.attacker, stage.victim
    for claimed in (victim.ipv6, "fe80::1", link_local(victim.mac), "2001:db8:1:1::77", "fd00:ec2::254"):
        stage.emit_to_all(
            _advert(claimed, claimed, _mac(2, me.mac)),
            _advert(me.ipv6, claimed, _mac(2, me.mac)),
            _advert(stage.own, claimed),
            _advert("::", claimed, _mac(2, me.mac)),
            _solicit(claimed, me.ipv6, _mac(1, me.mac)),
        )
        assert stage.passed() == [], claimed


def test_false_macs_of_true_addresses(stage: Stage) -> None:
    me = stage.attacker
    for false in (stage.victim.mac, net.GATEWAY_MAC, f.BROADCAST):
        stage.emit_to_all(
            _advert(me.ipv6, me.ipv6, _mac(2, false)),
            _advert(me.ipv6, me.ipv6, _mac(2, me.mac), _mac(2, false)),
            _advert(me.ipv6, me.ipv6, b"\x0e\1" + bytes(6), _mac(2, false)),
            _solicit(me.ipv6, "fe80::1", _mac(1, false)),
            _solicit(me.ipv6, "fe80::1", _mac(1, me.mac), _mac(1, false)),
            _solicit("::", me.ipv6, _mac(1, false)),
            f.icmpv6(stage.own, ROUTERS, 133, bytes(4) + _mac(1, false)),
            f.icmpv6("::", ROUTERS, 133, bytes(4) + _mac(1, false)),
        )
        assert stage.passed() == [], false


@pytest.mark.parametrize("by_router", [False, True])
def test_plays_router(stage: Stage, *, by_router: bool) -> None:
    """Advertisements, redirects, renumbering, group queries and reports, from true addresses and false ones."""
    sender = stage.router if by_router else stage.attacker
    redirect = bytes(4) + _target("fe80::1") + _target("2001:db8:1:1::12")
    for source in (sender.ipv6, link_local(sender.mac), "fe80::1", "::"):
        stage.emit_to_all(
            *(f.icmpv6(source, NODES, kind, bytes(20)) for kind in (130, 131, 132, 134, 138, 143)),
            f.icmpv6(source, stage.victim.ipv6, 137, redirect),
            by=sender,
        )
        assert stage.passed() == [], source
    stage.emit_to_all(f.router_advertisement(sender.mac), by=sender)
    assert stage.passed() == []


def test_a_router_speaks_of_itself_only(stage: Stage) -> None:
    """It may forward what others say, and still not take their places."""
    router, victim = stage.router, stage.victim
    stage.emit(_datagram("2001:db8:ffff::1", victim.ipv6), by=router)
    assert len(stage.passed()) == 2
    stage.emit_to_all(
        _advert(victim.ipv6, victim.ipv6, _mac(2, router.mac)),
        _advert("fe80::1", "fe80::1", _mac(2, router.mac)),
        _solicit(victim.ipv6, router.ipv6, _mac(1, router.mac)),
        _datagram("fe80::1", victim.ipv6),
        _datagram(link_local(victim.mac), victim.ipv6),
        by=router,
    )
    assert stage.passed() == []


def test_false_dhcp_server(stage: Stage) -> None:
    for source in (stage.attacker.ipv6, stage.own, "fe80::1"):
        for destination in (link_local(stage.victim.mac), stage.victim.ipv6, DHCP_SERVERS, NODES):
            stage.emit_to_all(f.ipv6(source, destination, f.UDP, _udp(source, destination, 547, 546), 64))
        assert stage.passed() == [], source


def test_lies_behind_other_headers(stage: Stage) -> None:
    """One, several, and headers that do not end; RFC 6980, RFC 7112, CVE-2026-72348."""
    me = stage.attacker
    advert = f.router_advertisement(me.mac)[40:]
    neighbour = _advert(me.ipv6, me.ipv6, _mac(2, me.mac))[40:]
    pad = bytes([1, 4, 0, 0, 0, 0])
    for source in ("fe80::66", me.ipv6, stage.own):
        for message in (advert, neighbour):
            for first in (0, 43, 60):
                stage.emit_to_all(f.ipv6(source, NODES, first, bytes([58, 0]) + pad + message))
                double = bytes([60, 0]) + pad + bytes([58, 0]) + pad + message
                stage.emit_to_all(f.ipv6(source, NODES, first, double))
            stage.emit_to_all(f.ipv6(source, NODES, 44, struct.pack("!BBHI", 58, 0, 1, 9) + message[:24]))
            stage.emit_to_all(f.ipv6(source, NODES, 44, struct.pack("!BBHI", 58, 0, 0, 9) + message))
        assert stage.passed() == [], source


def test_headers_that_do_not_end(stage: Stage) -> None:
    victim = stage.victim.ipv6
    for kind in (0, 43, 60):
        for body in (b"", bytes([6, 200]) + bytes(6), bytes([6])):
            stage.emit_to_all(f.ipv6(stage.attacker.ipv6, victim, kind, body))
    whole = _datagram(stage.attacker.ipv6, victim)
    for length in (0, 8, 39):
        stage.emit_to_all(whole[:length])
    stage.emit_to_all(b"\x45" + whole[1:], whole[:4] + b"\xff\xff" + whole[6:])
    assert stage.passed() == []


def test_false_server_in_fragments_reaches_no_guest(stage: Stage) -> None:
    """Cut so that no fragment shows its ports: put together again at the gateway, it is dropped there."""
    me, victim = stage.attacker, stage.victim
    options = bytes([17, 0, 1, 4, 0, 0, 0, 0])
    rest = _udp(me.ipv6, victim.ipv6, 547, 546)
    stage.emit(
        f.ipv6(me.ipv6, victim.ipv6, 44, struct.pack("!BBHI", 60, 0, 1, 9) + options),
        f.ipv6(me.ipv6, victim.ipv6, 44, struct.pack("!BBHI", 60, 0, 8, 9) + rest),
    )
    assert [it for it in stage.passed() if it.startswith("victim")] == []


def test_tags_and_other_wrappings(stage: Stage) -> None:
    """VLAN 0 once to thrice, 802.1ad, LLC/SNAP of both kinds, VXLAN and 6in4 to the gateway: CVE-2021-27853 and its like."""
    me, victim = stage.attacker, stage.victim
    inner = [
        f.ethernet(to, me.mac, f.IPV6, packet)
        for to in (net.GATEWAY_MAC, victim.mac, NODES_MAC)
        for packet in (_datagram(me.ipv6, victim.ipv6), f.router_advertisement(me.mac))
    ]
    wire = stage.hosts.wires[me.id]
    for frame in inner:
        for tags in ([(f.VLAN, 0)], [(f.VLAN, 0)] * 2, [(f.VLAN, 0)] * 3, [(f.SERVICE_VLAN, 0)], [(f.VLAN, 7)]):
            wire.send(f.tagged(frame, *tags))
        for oui in (bytes(3), b"\0\0\xf8"):
            for kind in (b"", b"\x88\x70", b"\x88\xb7"):
                wire.send(f.snap(frame, oui, kind))
                wire.send(f.tagged(f.snap(frame, oui, kind), (f.VLAN, 0)))
        assert stage.passed() == []
        wrapped = f.ipv4(me.ipv4, "10.0.1.1", f.UDP, f.udp(4000, 4789, bytes([8, 0, 0, 0, 0, 0, 1, 0]) + frame))
        for outer in (wrapped, f.ipv4(me.ipv4, "10.0.1.1", 41, frame[14:])):
            wire.send(f.ethernet(net.GATEWAY_MAC, me.mac, f.IPV4, outer))
        assert [it for it in stage.passed() if it.startswith("victim")] == []


def test_the_gateway_remembers_the_truth(stage: Stage) -> None:
    """After all these lies."""

    def look() -> list[str]:
        path = stage.hosts.hosts["a"].namespaces.path(VPC)
        done = subprocess.run(
            ["nsenter", f"--net={path}", "ip", "-6", "neigh"], check=True, capture_output=True, text=True, timeout=20
        )
        return [line for line in done.stdout.splitlines() if "lladdr" in line]

    for eni in (stage.attacker, stage.victim, stage.router):
        for address in (eni.ipv6, link_local(eni.mac)):
            assert all(eni.mac in line for line in look() if line.startswith(f"{address} ")), look()
