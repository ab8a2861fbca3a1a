"""Announce to the uplink's neighbours that a public address is on this host now, so that they drop old entries."""

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from stead_agent.network.kernel_objects import is_ipv6

_ETHERTYPE_ARP: Final = 0x0806
_ETHERTYPE_IPV6: Final = 0x86DD
_ICMPV6: Final = 58
_ADVERTISEMENT: Final = 136
_OVERRIDE: Final = 0x2000_0000
_ALL_NODES: Final = IPv6Address("ff02::1")


def announce(link: str, address: str) -> None:
    """Send a gratuitous ARP request (RFC 5227) or an unsolicited neighbour advertisement (RFC 4861, section 7.2.6).

    The calling thread must be in the link's namespace.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as announcer:
        announcer.bind((link, 0))
        mac: bytes = announcer.getsockname()[4]
        frame = advertisement(mac, IPv6Address(address)) if is_ipv6(address) else request(mac, IPv4Address(address))
        try:
            announcer.send(frame)
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # no carrier: there is no neighbour to announce it to
                raise


def request(mac: bytes, address: IPv4Address) -> bytes:
    """Return an ARP request in which a host asks for its own address."""
    header = b"\xff" * 6 + mac + struct.pack("!HHHBBH", _ETHERTYPE_ARP, 1, 0x0800, 6, 4, 1)
    return header + mac + address.packed + bytes(6) + address.packed


def advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """Return an unsolicited neighbour advertisement, sent from the address itself to all nodes."""
    option = struct.pack("!BB", 2, 1) + mac
    message = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + option
    pseudo = address.packed + _ALL_NODES.packed + struct.pack("!II", len(message), _ICMPV6)
    checksum = _checksum(pseudo + message)
    message = message[:2] + checksum.to_bytes(2) + message[4:]
    header = struct.pack("!IHBB", 0x6000_0000, len(message), _ICMPV6, 255) + address.packed + _ALL_NODES.packed
    return b"\x33\x33\x00\x00\x00\x01" + mac + struct.pack("!H", _ETHERTYPE_IPV6) + header + message


def _checksum(content: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
