"""ARP as bytes: a gateway's request, and a guest's own messages (RFC 826): pure."""

import socket
import struct
from typing import Final

ETHERTYPE: Final = 0x0806
_HEAD: Final = struct.pack("!HHBB", 1, 0x0800, 6, 4)  # IPv4 over Ethernet
_REQUEST: Final = struct.pack("!H", 1)
_LENGTH: Final = 42  # Ethernet's header and an ARP packet


def question(to_mac: str, to_address: str, from_mac: str, from_address: str) -> bytes:
    """Return the frame that asks one guest for its MAC: it is sent to that MAC only, so that no other guest gets it."""
    target, sender = _mac(to_mac), _mac(from_mac)
    ethernet = target + sender + struct.pack("!H", ETHERTYPE)
    asks = sender + socket.inet_aton(from_address)
    return ethernet + _HEAD + _REQUEST + asks + bytes(6) + socket.inet_aton(to_address)


def speaker(frame: bytes) -> tuple[str, str] | None:
    """Return the sender's MAC and address in an ARP frame; None when it is not such a frame."""
    if len(frame) < _LENGTH or frame[12:20] != struct.pack("!H", ETHERTYPE) + _HEAD or frame[6:12] != frame[22:28]:
        return None
    return frame[22:28].hex(":"), socket.inet_ntoa(frame[28:32])


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
