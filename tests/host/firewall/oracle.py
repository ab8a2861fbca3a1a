"""Random security groups, random changes, and after each change real packets: does the kernel do what the model says?"""

import random
import socket
import struct
from dataclasses import dataclass, field, replace

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.network.world import Frames, Guest, World
from tests.support.firewall_model import GROUPS, Packet, allowed, changed, random_firewall

ADDRESSES = ["10.0.1.10", "10.0.1.11", "10.0.2.10", "10.0.2.200"]
# Protocol, port or ICMP type, code: what the model's rules tell apart, and fragments, which a filter may lose.
KINDS = [(17, 53), (17, 60), (17, 70), (6, 22), (6, 80), (6, 30000), (1, 8), (1, 13), (47, -1), (50, -1)]
MARK = b"stead-oracle"


@dataclass
class Oracle:
    """Four guests in two subnets of a VPC, watched."""

    world: World
    chance: random.Random
    packets: int = 0
    _number: int = 0
    _guests: list[Guest] = field(default_factory=list)
    _watches: list[Frames] = field(default_factory=list)
    _wires: dict[str, tuple[Guest, socket.socket]] = field(default_factory=dict)

    def start(self) -> None:
        groups = tuple(fw.Group(group_id, ()) for group_id in GROUPS)
        vpc = self.world.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", groups=groups)
        for number, address in enumerate(ADDRESSES):
            self._guests.append(self.world.guest(vpc, address, GROUPS[number], subnet=number // 2))
        self._watches = [guest.frames() for guest in self._guests]
        for guest in self._guests:
            wire = guest.open(socket.AF_PACKET, socket.SOCK_RAW)
            wire.bind(("eth0", 0))
            self._wires[guest.address] = (guest, wire)
        self._network, firewall = self.world.vpcs[vpc]
        desired = random_firewall(self.chance, firewall.interfaces, vpc)
        self.desired = replace(desired, subnets=firewall.subnets, resolvers=firewall.resolvers)
        self.world.apply(self._network, self.desired)

    def change(self) -> None:
        """Apply one random change."""
        self._number += 1
        self.desired = changed(self.desired, self.chance, 1000 + self._number)
        assert self.world.firewall.apply(self.desired) == ()

    def disagreements(self) -> list[str]:
        """Send a packet of each kind from everyone to everyone; name those that the kernel judges differently."""
        sent: dict[int, Packet] = {}
        for source in self._guests:
            for destination in self._guests:
                if source is not destination:
                    for protocol, port in KINDS:
                        self.packets += 1
                        packet = Packet(source.address, destination.address, protocol, port, 0 if protocol == 1 else -1)
                        sent[self.packets] = packet
                        self._send(packet, self.packets)
        arrived = self._arrived()
        wrong = []
        for number, packet in sent.items():
            passed = arrived.pop(number, "") == packet.destination
            passes = allowed(self.desired, packet)
            if passes is not passed and not (passed and self._answers(packet)):
                wrong.append(f"{packet}: {'passed' if passed else 'dropped'}")
        return wrong + [f"nobody sent {number}, which arrived at {address}" for number, address in arrived.items()]

    def _answers(self, packet: Packet) -> bool:
        """Tell whether a packet without ports may be an answer: both directions of its protocol are one flow."""
        back = replace(packet, source=packet.destination, destination=packet.source)
        return packet.protocol in (47, 50) and allowed(self.desired, back)

    def flows_disagree(self) -> list[str]:
        """Go on with one UDP flow between each two guests: it goes on as long as one end might begin it anew."""
        wrong = []
        for turn in ("an answer first, all that a flow that was cut may try", "a question", "an answer"):
            sent: dict[int, tuple[Packet, bool | None]] = {}
            for a, one in enumerate(self._guests):
                for b, other in enumerate(self._guests):
                    if a != b:
                        there = Packet(one.address, other.address, 17, 53)
                        back = Packet(other.address, one.address, 17, 20000 + 10 * a + b)
                        forth, answers = allowed(self.desired, there), allowed(self.desired, back)
                        packet, ports = (there, (back.port, 53)) if turn == "a question" else (back, (53, back.port))
                        unknown = turn.startswith("an answer first") and forth and not answers
                        self.packets += 1
                        self._emit(packet, f.udp(*ports, self._mark(self.packets)))
                        sent[self.packets] = (packet, None if unknown else forth or answers)
            arrived = self._arrived()
            for number, (packet, passes) in sent.items():
                passed = arrived.get(number, "") == packet.destination
                if passes not in (None, passed):
                    wrong.append(f"{turn}, {packet}: {'passed' if passed else 'dropped'}")
        return wrong

    def _send(self, packet: Packet, number: int) -> None:
        """Send a packet that begins a flow of its own."""
        fresh = 30000 + number % 30000
        mark = self._mark(number)
        match packet.protocol:
            case 17:
                payload = f.udp(fresh, packet.port, mark)
            case 6:
                payload = struct.pack("!HHIIBBHHH", fresh, packet.port, number, 0, 0x50, 2, 1024, 0, 0) + mark
                payload = payload[:16] + struct.pack("!H", _tcp_sum(packet, payload)) + payload[18:]
            case 1:
                payload = struct.pack("!BBHHH", packet.port, packet.code, 0, fresh, 1) + mark
                payload = payload[:2] + struct.pack("!H", f.checksum(payload)) + payload[4:]
            case 47:
                payload = b"\0\0\x08\0" + mark
            case _:
                payload = struct.pack("!II", number, 1) + mark
        self._emit(packet, payload)

    def _emit(self, packet: Packet, payload: bytes) -> None:
        guest, wire = self._wires[packet.source]
        whole = f.ipv4(packet.source, packet.destination, packet.protocol, payload)
        wire.send(f.ethernet(net.GATEWAY_MAC, guest.mac, f.IPV4, whole))

    @staticmethod
    def _mark(number: int) -> bytes:
        return MARK + struct.pack("!I", number)

    def _arrived(self) -> dict[int, str]:
        """Read which marks arrived at whom, without the ICMP messages that quote or echo them."""
        found: dict[int, str] = {}
        for guest, watch in zip(self._guests, self._watches, strict=True):
            for frame in watch.read():
                position = frame.find(MARK)
                quotes = frame[23] == 1 and frame[34] not in (8, 13)
                if position > 0 and not quotes:
                    found[struct.unpack_from("!I", frame, position + len(MARK))[0]] = guest.address
        return found


def _tcp_sum(packet: Packet, segment: bytes) -> int:
    ends = f.ipv4(packet.source, packet.destination, 6, b"")[12:20]
    return f.checksum(ends + struct.pack("!HH", 6, len(segment)) + segment)
