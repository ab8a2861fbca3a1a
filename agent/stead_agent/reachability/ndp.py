"""Neighbour discovery as bytes: a router's solicitation, and a guest's answer (RFC 4861, RFC 4443): pure."""

import socket
import struct
from typing import Final

ETHERTYPE: Final = 0x86DD
_ICMPV6: Final = 58
_HOP_LIMIT: Final = 255  # proves that no router has forwarded it
_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_SOURCE_MAC, _TARGET_MAC = b"\x01\x01", b"\x02\x01"  # kinds of options, each of 8 bytes
_SOLICITED_NODE: Final = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13]
_LENGTH: Final = 78  # Ethernet's and IPv6's header and an advertisement without options

# A gateway sees all IPv6 of its subnet: the kernel delivers only what `speaker` may be able to read. Classic BPF, as
# (code, jump if true, jump if false, value): byte 20 is the next header, byte 54 the kind of ICMPv6.
_LOAD_BYTE, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x15, 0x06
_PROGRAM: Final = (
    (_LOAD_BYTE, 0, 0, 20),
    (_JUMP_IF_EQUAL, 0, 3, _ICMPV6),
    (_LOAD_BYTE, 0, 0, 54),
    (_JUMP_IF_EQUAL, 0, 1, _ADVERTISEMENT),
    (_RETURN, 0, 0, 0xFFFF),
    (_RETURN, 0, 0, 0),
)
FILTER: Final = tuple(struct.pack("@HBBI", *each) for each in _PROGRAM)
"""The instructions of a socket filter that lets neighbour advertisements pass and nothing else."""


def question(to_mac: str, to_address: str, from_mac: str, from_address: str) -> bytes:
    """Return the frame that solicits one guest at its address.

    Its IPv6 destination is the address's solicited-node multicast address; the frame goes to the guest's MAC only, so
    that no other guest gets it, which RFC 6085 allows.
    """
    target, sender = socket.inet_pton(socket.AF_INET6, to_address), _mac(from_mac)
    source, group = socket.inet_pton(socket.AF_INET6, from_address), _SOLICITED_NODE + target[13:]
    kind, rest = struct.pack("!BB", _SOLICITATION, 0), bytes(4) + target + _SOURCE_MAC + sender
    length = len(kind) + 2 + len(rest)
    pseudo_header = source + group + struct.pack("!II", length, _ICMPV6)
    checksum = struct.pack("!H", _checksum(pseudo_header + kind + bytes(2) + rest))
    ethernet = _mac(to_mac) + sender + struct.pack("!H", ETHERTYPE)
    header = struct.pack("!IHBB", 6 << 28, length, _ICMPV6, _HOP_LIMIT) + source + group
    return ethernet + header + kind + checksum + rest


def speaker(frame: bytes) -> tuple[str, str] | None:
    """Return the sender's MAC and address in a neighbour advertisement; None when the frame is not one.

    The checksum is not verified: a guest's driver may leave it to a device, and none is between guest and gateway.
    """
    if len(frame) < _LENGTH or frame[12:14] != struct.pack("!H", ETHERTYPE) or frame[14] >> 4 != 6:
        return None
    if frame[20:22] != bytes((_ICMPV6, _HOP_LIMIT)) or frame[54:56] != bytes((_ADVERTISEMENT, 0)):
        return None
    if frame[78:80] == _TARGET_MAC and frame[80:86] != frame[6:12]:
        return None
    return frame[6:12].hex(":"), socket.inet_ntop(socket.AF_INET6, frame[62:78])


def _checksum(content: bytes) -> int:
    """Return the Internet checksum (RFC 1071): the complement of the ones' complement sum of 16-bit words."""
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
