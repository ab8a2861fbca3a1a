"""Packets through a random cloud: where they arrive, and where EC2 would let them arrive."""

import random
import socket
import struct
from dataclasses import dataclass, field
from ipaddress import ip_address

from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.firewall.desired_states import desired_firewall, desired_network
from tests.host.firewall.ec2 import OUTSIDE, Arrival, Cloud, Eni, Packet
from tests.host.firewall.hosts import Hosts, Wire
from tests.host.firewall.random_cloud import OUTSIDERS, PUBLIC, random_cloud

MARK = b"stead-reach"
# Protocol, port or ICMP type, code.
KINDS = {
    4: [(17, 53, -1), (17, 60, -1), (6, 22, -1), (6, 80, -1), (1, 8, 0), (1, 13, 0), (50, -1, -1)],
    6: [(17, 53, -1), (17, 60, -1), (6, 22, -1), (6, 80, -1), (58, 128, 0), (58, 139, 0), (50, -1, -1)],
}
# How a packet is written: in one piece, in fragments, and for IPv6 behind another header.
SHAPES = {4: ("plain", "plain", "fragments"), 6: ("plain", "plain", "fragments", "options")}


@dataclass(frozen=True)
class Sent:
    """A packet on its way: who sends it, by which port of its own, and whether it answers another."""

    sender: str  # an interface's id or OUTSIDE
    packet: Packet
    own_port: int
    shape: str = "plain"
    is_answer: bool = False


@dataclass
class ReachOracle:
    """A cloud on hosts, with a wire for each interface and one for each VPC's way out."""

    hosts: Hosts
    cloud: Cloud
    packets: int = 0
    arrivals: int = 0
    _outside: dict[tuple[str, str], tuple[Wire, bytes]] = field(default_factory=dict)

    def start(self, chance: random.Random) -> None:
        """Make the cloud on the hosts for the first time."""
        self.vary(chance)
        for eni in self.cloud.enis.values():
            self.hosts.plug(eni.host, eni.id, eni.subnet)
        for vpc in self.cloud.vpcs:
            for host in self.hosts.hosts:
                self._outside[host, vpc] = self.hosts.watch_outside(host, vpc)
        self.hosts.wait_for_carriers()

    def vary(self, chance: random.Random) -> None:
        """Make the cloud another one, live."""
        self.cloud = random_cloud(self.cloud, chance)
        for name, host in self.hosts.hosts.items():
            states = [
                (desired_network(self.cloud, vpc, name), desired_firewall(self.cloud, vpc, name))
                for vpc in self.cloud.vpcs.values()
            ]
            for network, _ in states:
                host.network.apply(network)
            for network, firewall in states:
                host.network.apply(network)  # a peer's namespace is there by now
                assert host.firewall.apply(firewall) == ()

    def disagreements(self, chance: random.Random, count: int) -> list[str]:
        """Send packets at random, then an answer to each that arrived; name those that the kernel judges otherwise."""
        first = [self._at_random(chance) for _ in range(count)]
        wrong, arrived = self._compare(first)
        answers = [answer for sent, place in arrived if (answer := self._answer(sent, place)) is not None]
        more, _ = self._compare(answers)
        return wrong + more

    # --- what is sent

    def _at_random(self, chance: random.Random) -> Sent:
        version = chance.choice([4, 6])
        kind = chance.choice(KINDS[version])
        enis = list(self.cloud.enis.values())
        receiver = chance.choice(enis)
        port, shape = chance.randint(20000, 60000), chance.choice(SHAPES[version])
        if chance.random() < 0.15:
            outsider = chance.choice(OUTSIDERS[version])
            target = (receiver.public or "198.51.100.99") if version == 4 else receiver.ipv6
            return Sent(OUTSIDE, Packet(outsider, target, *kind), port, shape)
        sender = chance.choice(enis)
        target = chance.choice(OUTSIDERS[version]) if chance.random() < 0.2 else receiver.address(version)
        if target == sender.address(version):
            target = OUTSIDERS[version][0]
        source = sender.address(version)
        if chance.random() < 0.05 or not sender.check:
            source = chance.choice([*OUTSIDERS[version], source, chance.choice(enis).address(version)])
        return Sent(sender.id, Packet(source, target, *kind), port, shape)

    def _answer(self, sent: Sent, arrival: Arrival) -> Sent | None:
        """Answer a packet that came to whom it was for; what a router or a liar has part in is not asked."""
        packet = sent.packet
        if packet.protocol not in (17, 6) and packet.port not in (8, 128):
            return None
        if arrival.place != OUTSIDE:
            receiver = self.cloud.enis[arrival.place]
            if arrival.destination not in (receiver.ipv4, receiver.ipv6):
                return None
            route = self.cloud.route(self.cloud.subnets[receiver.subnet], arrival.source)
            if isinstance(route, net.TableRoute) and route.to is net.RouteTo.INTERFACE:
                return None
            if isinstance(route, net.TableRoute) and sent.sender != OUTSIDE and receiver.public:
                return None  # by another way than the question's: the kernel does not begin to translate it
        if sent.sender != OUTSIDE and packet.source not in _addresses(self.cloud.enis[sent.sender]):
            return None
        port = {8: 0, 128: 129}.get(packet.port, sent.own_port) if packet.protocol in (1, 58) else sent.own_port
        answer = Packet(arrival.destination, arrival.source, packet.protocol, port, packet.code)
        own = packet.port if packet.protocol in (6, 17) else sent.own_port
        return Sent(arrival.place, answer, own, is_answer=True)

    # --- what becomes of it

    def _compare(self, given: list[Sent]) -> tuple[list[str], list[tuple[Sent, Arrival]]]:
        numbered = {}
        for sent in given:
            self.packets += 1
            numbered[self.packets] = sent
            self._send(sent, self.packets)
        arrived = self._arrived()
        wrong, there = [], []
        for number, sent in numbered.items():
            expected, seen = self._expected(sent), arrived.pop(number, [])
            seen = [arrival for arrival in seen if not self._is_back_inside(sent, expected, arrival)]
            if expected is not None and seen == [expected]:
                there.append((sent, expected))
                self.arrivals += 1
            elif seen != ([] if expected is None else [expected]) and not self._is_excused(sent, expected, seen):
                wrong.append(f"{sent}: expected {expected}, seen {seen}")
        wrong += [f"nobody sent {number}, which arrived: {places}" for number, places in arrived.items()]
        return wrong, there

    def _expected(self, sent: Sent) -> Arrival | None:
        if sent.sender == OUTSIDE:
            return self.cloud.from_outside(sent.packet, is_answer=sent.is_answer)
        return self.cloud.sent(self.cloud.enis[sent.sender], sent.packet, is_answer=sent.is_answer)

    def _is_back_inside(self, sent: Sent, expected: Arrival | None, arrival: Arrival) -> bool:
        """Tell whether what left for an interface's public IPv6 address has come in again: both are seen.

        An answer that takes this way, because its VPC has no route to the peer, belongs to a flow that was let in.
        """
        if expected is None or expected.place != OUTSIDE or ":" not in sent.packet.destination:
            return False
        if sent.is_answer:
            return arrival.place != OUTSIDE and self.cloud.enis[arrival.place].ipv6 == sent.packet.destination
        return arrival == self.cloud.from_outside(sent.packet)

    def _is_excused(self, sent: Sent, expected: Arrival | None, seen: list[Arrival]) -> bool:
        """Tell whether a packet without ports, or of a router, may be taken for part of another's flow.

        Without ports a flow is known by its addresses alone: one that was routed by an appliance, and one that comes in
        by the public address, would have the same, and the kernel tracks the first only.
        """
        if sent.packet.protocol == 50:
            ends = {sent.packet.source, sent.packet.destination}
            ends |= {expected.source, expected.destination} if expected else set()
            return bool(seen) or any(end in (*OUTSIDERS[4], *PUBLIC) for end in ends)
        return False

    def _send(self, sent: Sent, number: int) -> None:
        for payload in _written(sent, number):
            if sent.sender == OUTSIDE:
                wire, addresses = self._way_in(sent.packet.destination)
                kind = f.IPV4 if ip_address(sent.packet.source).version == 4 else f.IPV6
                wire.send(addresses + struct.pack("!H", kind) + payload)
            else:
                eni = self.cloud.enis[sent.sender]
                kind = f.IPV4 if ip_address(sent.packet.source).version == 4 else f.IPV6
                self.hosts.wires[eni.id].send(f.ethernet(net.GATEWAY_MAC, eni.mac, kind, payload))

    def _way_in(self, destination: str) -> tuple[Wire, bytes]:
        """Find the way by which the host of a public address lets its packets in."""
        for eni in self.cloud.enis.values():
            if destination in (eni.public, eni.ipv6):
                return self._outside[eni.host, self.cloud.subnets[eni.subnet].vpc]
        return next(iter(self._outside.values()))

    def _arrived(self) -> dict[int, list[Arrival]]:
        """Read which packets arrived where, without the ICMP messages that quote them."""
        self.hosts.settle()
        found: dict[int, list[Arrival]] = {}
        wires = [(OUTSIDE, wire) for wire, _ in self._outside.values()]
        for place, wire in (*self.hosts.wires.items(), *wires):
            for frame in wire.read():
                position = frame.find(MARK)
                if position > 0 and not _is_quote(frame):
                    (number,) = struct.unpack_from("!I", frame, position + len(MARK))
                    found.setdefault(number, []).append(Arrival(place, *_ends(frame)))
        return found


def _addresses(eni: Eni) -> tuple[str, str]:
    return (eni.ipv4, eni.ipv6)


def _ends(frame: bytes) -> tuple[str, str]:
    if frame[12:14] == b"\x08\0":
        return socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
    return socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])


def _is_quote(frame: bytes) -> bool:
    if frame[12:14] == b"\x08\0":
        return frame[23] == 1 and frame[34] in (3, 4, 5, 11, 12)
    return frame[20] == 58 and frame[54] < 128


def _written(sent: Sent, number: int) -> list[bytes]:
    """Write a packet as the bytes of one or more IP packets; the mark is in the first."""
    packet = sent.packet
    version = ip_address(packet.source).version
    upper = _upper(sent, MARK + struct.pack("!I", number) + bytes(24 if sent.shape == "fragments" else 0))
    if version == 4:
        if sent.shape != "fragments":
            return [f.ipv4(packet.source, packet.destination, packet.protocol, upper, identity=number & 0xFFFF)]
        cut = 40
        return [
            f.ipv4(
                packet.source,
                packet.destination,
                packet.protocol,
                part,
                offset=offset,
                more=more,
                identity=number & 0xFFFF,
            )
            for part, offset, more in ((upper[:cut], 0, True), (upper[cut:], cut, False))
        ]
    if sent.shape == "options":
        options = bytes([packet.protocol, 0, 1, 4, 0, 0, 0, 0])
        return [f.ipv6(packet.source, packet.destination, 60, options + upper, 64)]
    if sent.shape == "fragments":
        cut = 40
        return [
            f.ipv6(
                packet.source,
                packet.destination,
                44,
                struct.pack("!BBHI", packet.protocol, 0, offset | more, number) + part,
                64,
            )
            for part, offset, more in ((upper[:cut], 0, 1), (upper[cut:], cut, 0))
        ]
    return [f.ipv6(packet.source, packet.destination, packet.protocol, upper, 64)]


def _upper(sent: Sent, mark: bytes) -> bytes:
    """Write what IP carries, with a right checksum."""
    packet = sent.packet
    match packet.protocol:
        case 17:
            whole = f.udp(sent.own_port, packet.port, mark)
            return _summed(packet, whole, 6)
        case 6:
            flags, ack = (0x12, 101) if sent.is_answer else (2, 0)
            whole = struct.pack("!HHIIBBHHH", sent.own_port, packet.port, 100, ack, 0x50, flags, 1024, 0, 0) + mark
            return _summed(packet, whole, 16)
        case 1 | 58:
            whole = struct.pack("!BBHHH", packet.port, packet.code, 0, sent.own_port, 1) + mark
            return _summed(packet, whole, 2)
        case _:
            return struct.pack("!II", sent.own_port, 1) + mark


def _summed(packet: Packet, whole: bytes, place: int) -> bytes:
    family = socket.AF_INET if ip_address(packet.source).version == 4 else socket.AF_INET6
    ends = socket.inet_pton(family, packet.source) + socket.inet_pton(family, packet.destination)
    if packet.protocol == 1:
        ends = b""
    else:
        ends += struct.pack("!II", len(whole), packet.protocol)
    total = f.checksum(ends + whole) or 0xFFFF
    return whole[:place] + struct.pack("!H", total) + whole[place + 2 :]
