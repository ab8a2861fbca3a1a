"""A packet: the fields that rules and routes test, and that gateways change."""

import ipaddress
from dataclasses import dataclass, replace
from typing import Final

type Range = tuple[int, int]

TCP: Final = "6"
UDP: Final = "17"
ICMP: Final = "1"
ICMPV6: Final = "58"
NUMBERS: Final = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMPV6}
ALL_PORTS: Final[Range] = (0, 65535)
EPHEMERAL: Final[Range] = (32768, 60999)
"""The default source ports of Linux guests (net.ipv4.ip_local_port_range)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet's source and destination; `ports` are the destination ports that are still possible.

    For ICMP, `icmp` is its type and code, and `ports` mean nothing.
    """

    protocol: str
    source: str
    destination: str
    ports: tuple[Range, ...] = (ALL_PORTS,)
    source_ports: tuple[Range, ...] = (EPHEMERAL,)
    icmp: Range | None = None

    @property
    def ipv6(self) -> bool:
        """Whether it is of IPv6."""
        return ":" in self.destination

    def reply(self) -> "Packet":
        """The answer to this packet."""
        icmp = self.icmp
        if icmp is not None:
            icmp = (0, 0) if self.protocol == ICMP else (129, 0)
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            ports=self.source_ports,
            source_ports=self.ports,
            icmp=icmp,
        )

    def __str__(self) -> str:
        """Say it in plain words."""
        name = {TCP: "TCP", UDP: "UDP", ICMP: "ICMP", ICMPV6: "ICMPv6"}.get(self.protocol, f"protocol {self.protocol}")
        if self.icmp is not None:
            return f"{name} type {self.icmp[0]} from {self.source} to {self.destination}"
        return f"{name} from {self.source} to {self.destination} port {ports_text(self.ports)}"


def ports_text(ports: tuple[Range, ...]) -> str:
    """Ranges of ports in plain words."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ports)


def contains(block: str, address: str) -> bool:
    """Whether a block has an address; blocks of the other IP version have none."""
    network = ipaddress.ip_network(block)
    parsed = ipaddress.ip_address(address)
    return network.version == parsed.version and parsed in network


def any_contains(blocks: tuple[str, ...], address: str) -> bool:
    """Whether one of several blocks has an address."""
    return any(contains(block, address) for block in blocks)


def overlap(ports: tuple[Range, ...], wanted: Range) -> tuple[Range, ...]:
    """Return the parts of some ranges that lie in another one."""
    found = ((max(first, wanted[0]), min(last, wanted[1])) for first, last in ports)
    return tuple((first, last) for first, last in found if first <= last)


def without(ports: tuple[Range, ...], taken: tuple[Range, ...]) -> tuple[Range, ...]:
    """Return the parts of some ranges that are not in other ones."""
    left = list(ports)
    for low, high in taken:
        parts = []
        for first, last in left:
            parts += [(first, min(last, low - 1)), (max(first, high + 1), last)]
        left = [(first, last) for first, last in parts if first <= last]
    return tuple(left)
