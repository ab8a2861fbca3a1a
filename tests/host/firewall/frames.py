"""Ethernet frames byte by byte, right and wrong ones."""

import socket
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP, IPV4, IPV6, VLAN, SERVICE_VLAN = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8
UDP = 17


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(destination: str, source: str, kind: int, payload: bytes) -> bytes:
    """A frame, padded as hardware would."""
    return mac(destination) + mac(source) + struct.pack("!H", kind) + payload.ljust(46, b"\0")


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """The frame with tags (ethertype, VLAN) put in after its addresses."""
    return frame[:12] + b"".join(struct.pack("!HH", kind, vlan) for kind, vlan in tags) + frame[12:]


def snap(frame: bytes, oui: bytes = bytes(3), kind: bytes = b"") -> bytes:
    """The frame as IEEE 802.3 with LLC and SNAP; `kind` stands where others have the length."""
    body = b"\xaa\xaa\x03" + oui + frame[12:]
    return frame[:12] + (kind or struct.pack("!H", len(body))) + body


def arp(operation: int, sender_mac: str, sender: str, target_mac: str, target: str) -> bytes:
    return (
        struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
        + mac(sender_mac)
        + socket.inet_aton(sender)
        + mac(target_mac)
        + socket.inet_aton(target)
    )


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    offset: int = 0,
    more: bool = False,
    identity: int = 77,
) -> bytes:
    """An IPv4 packet, or the fragment of one that begins at `offset`."""
    fragment = (0x2000 if more else 0) | offset // 8
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identity, fragment, 64, protocol, 0)
    header += socket.inet_aton(source) + socket.inet_aton(destination)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def udp(source: int, destination: int, payload: bytes = b"probe") -> bytes:
    """A UDP datagram without checksum, which IPv4 allows."""
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def dhcp(operation: int, address: str, client_mac: str, kind: int) -> bytes:
    """A BOOTP message: operation 1 asks, 2 answers; kind 1 discover, 2 offer, 5 acknowledgement."""
    return (
        struct.pack("!BBBBIHH", operation, 1, 6, 0, 0x1234, 0, 0x8000)
        + bytes(4)
        + socket.inet_aton(address)
        + bytes(8)
        + mac(client_mac).ljust(16, b"\0")
        + bytes(192)
        + b"\x63\x82\x53\x63"
        + bytes([53, 1, kind, 255])
    )


def ipv6(source: str, destination: str, following: int, payload: bytes, hops: int = 255) -> bytes:
    return (
        struct.pack("!IHBB", 6 << 28, len(payload), following, hops)
        + socket.inet_pton(socket.AF_INET6, source)
        + socket.inet_pton(socket.AF_INET6, destination)
        + payload
    )


def icmpv6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    """An ICMPv6 packet with a right checksum."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    message = struct.pack("!BBH", kind, 0, 0) + body
    total = checksum(ends + struct.pack("!II", len(message), 58) + message)
    return ipv6(source, destination, 58, message[:2] + struct.pack("!H", total) + message[4:])


def router_advertisement(source_mac: str) -> bytes:
    """Says: I am the router, and this prefix is yours (RFC 4861)."""
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0) + socket.inet_pton(
        socket.AF_INET6, "2001:db8:66::"
    )
    body = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + bytes([1, 1]) + mac(source_mac) + prefix
    return icmpv6("fe80::66", "ff02::1", 134, body)
