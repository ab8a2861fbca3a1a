"""Read the server's lease file, find leases with the wrong MAC address, and write the message that releases one.

dnsmasq assigns a configured address to no client while it is leased to another MAC address, up to an hour after that
guest is gone: the next guest with the address would get none. It has no command to drop a lease, but like any DHCP
server it accepts a client's release of its own lease (RFC 2131 section 4.4.6), and it accepts that from the loopback
link too, as from dhcp_release(1).
"""

import re
import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

# expiry, MAC address, address, name, client id (lease_update_file in dnsmasq's lease.c).
_LINE: Final = re.compile(r"\d+ (?P<mac>(?:[0-9a-f]{2}:){5}[0-9a-f]{2}) (?P<address>\d+(?:\.\d+){3}) \S+ \S+")
_NAMED: Final = re.compile(r"^(\d+ \S+ \S+) \S+ ", re.MULTILINE)  # also of DHCPv6
_COOKIE: Final = bytes([99, 130, 83, 99])  # RFC 2131 section 3
_MESSAGE_TYPE, _RELEASE = 53, 7  # RFC 2132 section 9.6
_SERVER_ID: Final = 54
_END: Final = 255


class Binding(NamedTuple):
    """A lease's address and MAC address."""

    mac_address: str
    address: str


def read_leases(text: str) -> list[Binding]:
    """List the leases in the file."""
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return [Binding(line["mac"], line["address"]) for line in found if line]


def stale(leased: Iterable[Binding], wanted: Iterable[Binding]) -> list[Binding]:
    """List the leases that are not desired."""
    right = frozenset(wanted)
    return [binding for binding in leased if binding not in right]


def without(text: str, bindings: Iterable[Binding]) -> str:
    """Remove leases from the text of the server's file."""
    struck = frozenset(bindings)
    remaining = []
    for line in text.splitlines(keepends=True):
        found = _LINE.fullmatch(line.rstrip("\n"))
        if not found or Binding(found["mac"], found["address"]) not in struck:
            remaining.append(line)
    return "".join(remaining)


def nameless(text: str) -> str:
    """Remove the names from the text of the server's file: it would resolve them regardless of its configuration."""
    return _NAMED.sub(r"\1 * ", text)


def release_message(binding: Binding, server: str) -> bytes:
    """Return the DHCPRELEASE message of a client (RFC 2131 section 2 and table 5)."""
    hardware = bytes.fromhex(binding.mac_address.replace(":", ""))
    # Operation 1, Ethernet, address length 6, no hops; id, seconds, flags; client, your, next and relay address.
    fixed = struct.pack("!BBBBIHH", 1, 1, 6, 0, int.from_bytes(hardware[2:]), 0, 0)
    fixed += socket.inet_aton(binding.address) + bytes(12)
    fixed += hardware.ljust(16, b"\0") + bytes(64 + 128)
    options = bytes([_MESSAGE_TYPE, 1, _RELEASE, _SERVER_ID, 4]) + socket.inet_aton(server) + bytes([_END])
    return fixed + _COOKIE + options
