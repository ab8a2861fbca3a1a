"""A kernel's table of tracked flows as its netlink messages show it (net/netfilter/nf_conntrack_netlink.c)."""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from stead_agent.nfnetlink import Span, attribute, attributes

GET, DELETE, STATS = (1 << 8) | 1, (1 << 8) | 2, (1 << 8) | 5
_SOURCES = {socket.AF_INET: 1, socket.AF_INET6: 3}
_ICMP_ATTRIBUTES = {socket.AF_INET: (4, 5, 6), socket.AF_INET6: (7, 8, 9)}
_BY_SOURCE = struct.pack("=I", 1)


@dataclass(frozen=True, slots=True)
class Tracked:
    """A flow: its first packet, and what is different in its answers because of NAT. `icmp` is id, type, code."""

    number: int
    source: str
    destination: str
    port: int = 80
    client_port: int = 40_000
    protocol: int = socket.IPPROTO_TCP
    answers_from: str = ""
    answers_to: str = ""
    icmp: tuple[int, int, int] | None = None
    zone: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.source else socket.AF_INET

    def original(self) -> bytes:
        return self._tuple(self.source, self.destination, self.client_port, self.port)

    def reply(self) -> bytes:
        answers_from, answers_to = self.answers_from or self.destination, self.answers_to or self.source
        return self._tuple(answers_from, answers_to, self.port, self.client_port)

    def _tuple(self, source: str, destination: str, from_port: int, to_port: int) -> bytes:
        first = _SOURCES[self.family]
        ends = (socket.inet_pton(self.family, each) for each in (source, destination))
        addresses = b"".join(attribute(kind, each) for kind, each in enumerate(ends, first))
        if self.icmp is None:
            numbers = attribute(2, from_port.to_bytes(2)) + attribute(3, to_port.to_bytes(2))
        else:
            sizes = zip(_ICMP_ATTRIBUTES[self.family], self.icmp, (2, 1, 1), strict=True)
            numbers = b"".join(attribute(kind, each.to_bytes(size)) for kind, each, size in sizes)
        protocol = attribute(1, bytes([self.protocol])) + numbers
        return attribute(1, addresses, nested=True) + attribute(2, protocol, nested=True)

    def message(self) -> tuple[bytes, Span]:
        """All that a dump has of it, behind its family."""
        body = attribute(1, self.original(), nested=True) + attribute(2, self.reply(), nested=True)
        body += attribute(12, self.number.to_bytes(4))
        if self.zone:
            body += attribute(18, self.zone.to_bytes(2))
        return bytes([self.family, 0, 0, 0]) + body, (4, 4 + len(body))


@dataclass
class Tracking:
    """The table, read and changed by messages; what was asked of it is noted."""

    flows: list[Tracked]
    count: int | None = None  # as the statistics say, if that is not as many as there are
    dumps: list[tuple[int, bool]] = field(default_factory=list)  # families, and whether the kernel had to search
    refusal: int = 0
    renumbered: bool = False  # all flows end, and begin anew, when they have been read

    def get(self, kind: int) -> tuple[bytes, Span]:
        assert kind == STATS
        count = len(self.flows) if self.count is None else self.count
        answer = attribute(2, (7).to_bytes(4)) + attribute(1, count.to_bytes(4))
        return answer, (0, len(answer))

    def dump(self, kind: int, family: int, body: bytes = b"") -> list[tuple[bytes, Span]]:
        assert kind == GET
        self.dumps.append((family, bool(body)))
        found = [flow.message() for flow in (self._searched(family, body) if body else self.flows)]
        if self.renumbered:
            self.flows = [replace(flow, number=flow.number + 1000) for flow in self.flows]
        return found

    def _searched(self, family: int, body: bytes) -> Iterator[Tracked]:
        """Find flows by the source of one of their tuples, as a filter of CTA_FILTER_F_CTA_IP_SRC does."""
        parts = attributes(body, (0, len(body)))
        ((which, wanted),) = [(kind, _source(body[slice(*parts[kind])], family)) for kind in (1, 2) if kind in parts]
        flags = attributes(body, parts[25])
        assert {kind: body[slice(*span)] for kind, span in flags.items()} == {which: _BY_SOURCE}
        for flow in self.flows:
            if flow.family == family and _source(flow.original() if which == 1 else flow.reply(), family) == wanted:
                yield flow

    def do(self, kind: int, family: int, body: bytes) -> None:
        assert kind == DELETE
        if self.refusal:
            raise OSError(self.refusal, "no")
        values = {kind: body[slice(*span)] for kind, span in attributes(body, (0, len(body))).items()}
        number, zone = int.from_bytes(values[12]), int.from_bytes(values.get(18, b""))
        named = [
            flow
            for flow in self.flows
            if (flow.family, flow.original(), flow.number, flow.zone) == (family, values[1], number, zone)
        ]
        if not named:
            raise OSError(errno.ENOENT, "no such flow")
        self.flows = [flow for flow in self.flows if flow not in named]


def _source(parts: bytes, family: int) -> bytes:
    ip = attributes(parts, attributes(parts, (0, len(parts)))[1])
    return parts[slice(*ip[_SOURCES[socket.AddressFamily(family)]])]
