"""Describe each packet of a pcap file in one line: pure functions. A malformed packet is shown as far as it parses."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

FILE_HEADER: Final = 24  # bytes (draft-ietf-opsawg-pcap, section 4)
_RECORD_HEADER: Final = 16
_TCP_FLAGS: Final = ((0x02, "SYN"), (0x10, "ACK"), (0x08, "PSH"), (0x01, "FIN"), (0x04, "RST"), (0x20, "URG"))
_ICMP: Final = {
    0: "echo reply", 3: "destination unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded",
}  # fmt: skip
_UNREACHABLE: Final = {0: "network", 1: "host", 3: "port", 4: "fragmentation needed", 13: "prohibited"}
_ICMPV6: Final = {
    1: "destination unreachable", 2: "packet too big", 3: "time exceeded", 128: "echo request", 129: "echo reply",
    133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation",
    136: "neighbour advertisement", 143: "multicast report",
}  # fmt: skip
_DHCP: Final = {1: "discover", 2: "offer", 3: "request", 4: "decline", 5: "ack", 6: "nak", 7: "release", 8: "inform"}
_EXTENSIONS: Final = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options (RFC 8200)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it was captured."""

    time: datetime
    length: int  # on the wire
    frame: bytes  # the captured bytes


def read(pcap: bytes) -> Iterator[Packet]:
    """Read the packets of a pcap file of this machine's byte order."""
    at = FILE_HEADER
    while at + _RECORD_HEADER <= len(pcap):
        seconds, micro, captured, length = struct.unpack_from("=IIII", pcap, at)
        at += _RECORD_HEADER
        stamp = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro % 1_000_000)
        yield Packet(stamp, length, pcap[at : at + captured])
        at += captured


def line(packet: Packet) -> str:
    """Describe a packet: time, source, destination, protocol, length."""
    return f"{packet.time:%H:%M:%S.%f} {describe(packet.frame)}, {packet.length} bytes"


def describe(frame: bytes) -> str:
    """Describe a frame."""
    try:
        return _ethernet(frame)
    except (struct.error, IndexError):
        return "cut short"


def _ethernet(frame: bytes) -> str:
    kind, at = struct.unpack_from("!H", frame, 12)[0], 14
    if kind == 0x8100:
        (tag, kind), at = struct.unpack_from("!HH", frame, 14), 18
        return f"VLAN {tag & 0xFFF}: {_payload(kind, frame, at)}"
    return _payload(kind, frame, at)


def _payload(kind: int, frame: bytes, at: int) -> str:
    match kind:
        case 0x0806:
            return _arp(frame[at:])
        case 0x0800:
            return _ipv4(frame[at:])
        case 0x86DD:
            return _ipv6(frame[at:])
    return f"{_mac(frame[6:12])} > {_mac(frame[:6])} ethertype 0x{kind:04x}"


def _mac(octets: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in octets)


def _arp(body: bytes) -> str:
    operation = struct.unpack_from("!H", body, 6)[0]
    sender, target = IPv4Address(body[14:18]), IPv4Address(body[24:28])
    if operation == 1:
        return f"ARP {sender} asks who has {target}"
    return f"ARP {sender} is at {_mac(body[8:14])}"


def _ipv4(body: bytes) -> str:
    header = (body[0] & 15) * 4
    source, target = IPv4Address(body[12:16]), IPv4Address(body[16:20])
    offset = struct.unpack_from("!H", body, 6)[0] & 0x1FFF
    if offset:
        return f"{source} > {target} fragment at {offset * 8}"
    return _transport(str(source), str(target), body[9], body[header:])


def _ipv6(body: bytes) -> str:
    protocol, at = body[6], 40
    source, target = IPv6Address(body[8:24]), IPv6Address(body[24:40])
    while protocol in _EXTENSIONS:
        protocol, at = body[at], at + 8 + body[at + 1] * 8
    return _transport(str(source), str(target), protocol, body[at:])


def _transport(source: str, target: str, protocol: int, body: bytes) -> str:
    is_ipv6 = ":" in source
    match protocol:
        case 6:
            return _tcp(source, target, body)
        case 17:
            return _udp(source, target, body)
        case 1 if not is_ipv6:
            return f"{source} > {target} ICMP {_icmp(body)}"
        case 58 if is_ipv6:
            return f"{source} > {target} ICMPv6 {_ICMPV6.get(body[0], f'type {body[0]}')}"
    return f"{source} > {target} protocol {protocol}"


def _icmp(body: bytes) -> str:
    word = _ICMP.get(body[0], f"type {body[0]}")
    return f"{word} ({_UNREACHABLE[body[1]]})" if body[0] == 3 and body[1] in _UNREACHABLE else word


def _ends(source: str, target: str, ports: tuple[int, int]) -> str:
    if ":" in source:
        return f"[{source}]:{ports[0]} > [{target}]:{ports[1]}"
    return f"{source}:{ports[0]} > {target}:{ports[1]}"


def _tcp(source: str, target: str, body: bytes) -> str:
    ports = struct.unpack_from("!HH", body)
    flags = ",".join(name for bit, name in _TCP_FLAGS if body[13] & bit)
    return f"{_ends(source, target, (ports[0], ports[1]))} TCP {flags}"


def _udp(source: str, target: str, body: bytes) -> str:
    ports = struct.unpack_from("!HH", body)
    ends = _ends(source, target, (ports[0], ports[1]))
    if {*ports} == {67, 68}:
        return f"{ends} DHCP {_dhcp(body[8:])}"
    if 53 in ports:
        return f"{ends} DNS {'answer' if ports[0] == 53 else 'question'} {_dns_name(body[8:])}"
    return f"{ends} UDP"


def _dhcp(message: bytes) -> str:
    at = 240  # the options, after the magic cookie (RFC 2131)
    while at + 2 < len(message) and message[at] != 255:
        if message[at] == 53:
            return _DHCP.get(message[at + 2], "?")
        at += 1 if message[at] == 0 else 2 + message[at + 1]
    return "?"


def _dns_name(message: bytes) -> str:
    labels, at = [], 12
    while at < len(message) and (length := message[at]) and length < 64:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    name = ".".join(labels)
    return "".join(letter if letter.isprintable() else "?" for letter in name)
