"""Which messages of the kernel are about what is ours."""

import socket
import struct
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.network.notices import EVERYTHING, HOST, HostNotices, Mark, messages

VPC = "vpc-1"
OURS = {
    7: ("sti000000000001", f"stead {VPC}"),
    8: ("stt000000000001", ""),
    9: ("eth0", ""),
    10: ("stead0", "stead host"),
    11: ("sto000000000001", f"stead {VPC} i-1"),
}
NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, NEW_ROUTE, DEL_ROUTE, NEW_NEIGHBOUR, DEL_NEIGHBOUR = (
    16,
    17,
    20,
    21,
    24,
    25,
    28,
    29,
)
NETCONF = 80
NEW_QDISC, DEL_QDISC, NEW_CLASS, DEL_CLASS, NEW_FILTER, DEL_FILTER = 36, 37, 40, 41, 44, 45


def message(kind: int, body: bytes, found: Mapping[int, bytes] | None = None) -> bytes:
    """Write a message as the kernel does (netlink(7))."""
    for number, value in (found or {}).items():
        body += struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def link(
    kind: int, index: int, name: str, *, up: bool = True, alias: str = "", master: int = 0, isolated: bool | None = None
) -> bytes:
    family = socket.AF_UNSPEC if isolated is None else socket.AF_BRIDGE
    found = {3: name.encode() + b"\0"}
    found |= {20: alias.encode() + b"\0"} if alias else {}
    found |= {10: struct.pack("=I", master)} if master else {}
    if isolated is not None:
        found[12 | 0x8000] = struct.pack("=HHBxxx", 5, 33, isolated)
    return message(kind, struct.pack("=BxHiII", family, 1, index, int(up), 0), found)


def route(kind: int, *, length: int, protocol: int, out: int = 0, table: int = 254) -> bytes:
    return message(
        kind,
        struct.pack("=BBBBBBBBI", socket.AF_INET, length, 0, 0, table, protocol, 0, 1, 0),
        {4: struct.pack("=I", out)} if out else {},
    )


def neighbour(kind: int, index: int, *, flags: int = 0, family: int = socket.AF_INET) -> bytes:
    return message(kind, struct.pack("=BxxxiHBB", family, index, 0x80, flags, 1))


def address(kind: int, index: int) -> bytes:
    return message(kind, struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, index))


def control(kind: int, index: int) -> bytes:
    return message(kind, struct.pack("=BxxxiIII", 0, index, 0x1_0000, 0xFFFF_FFFF, 0))


def marks(*buffers: bytes) -> list[Mark]:
    notices = HostNotices(dict(OURS))
    return [mark for buffer in buffers for mark in notices.read(buffer)]


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        (link(NEW_LINK, 7, "sti000000000001", alias=f"stead {VPC}"), [Mark(VPC)]),
        (link(DEL_LINK, 7, "sti000000000001", alias=f"stead {VPC}"), [Mark(VPC)]),
        (link(NEW_LINK, 7, "sti000000000001", isolated=False), [Mark(VPC)]),
        (link(NEW_LINK, 7, "renamed0", alias=f"stead {VPC}"), [Mark(VPC)]),
        (link(NEW_LINK, 10, "stead0", up=False, alias="stead host"), [Mark(HOST)]),
        (link(NEW_LINK, 9, "eth0"), []),
        (link(NEW_LINK, 30, "docker0"), []),
        (link(NEW_LINK, 31, "sti000000000009"), []),
        (link(NEW_LINK, 8, "stt000000000001", master=7), [Mark(tap="stt000000000001", is_over=True)]),
        (link(NEW_LINK, 8, "stt000000000001", master=7, up=False), [Mark(tap="stt000000000001")]),
        (link(NEW_LINK, 8, "stt000000000001"), [Mark(tap="stt000000000001")]),
        (link(DEL_LINK, 8, "stt000000000001", master=7), [Mark(tap="stt000000000001")]),
        (link(NEW_LINK, 8, "stt000000000001", master=7, isolated=True), [Mark(tap="stt000000000001", is_over=True)]),
        (link(NEW_LINK, 8, "stt000000000001", master=7, isolated=False), [Mark(tap="stt000000000001")]),
        (link(NEW_LINK, 12, "stt000000000002", alias=f"stead {VPC} nat-1"), [Mark(VPC)]),
        (address(DEL_ADDRESS, 10), [Mark(HOST)]),
        (address(NEW_ADDRESS, 9), [Mark(HOST)]),
        (address(NEW_ADDRESS, 7), [Mark(VPC)]),
        (address(NEW_ADDRESS, 8), []),
        (route(DEL_ROUTE, length=32, protocol=83, out=7), [Mark(VPC)]),
        (route(NEW_ROUTE, length=16, protocol=83), [Mark(HOST)]),
        (route(NEW_ROUTE, length=24, protocol=2, out=9), []),
        (route(NEW_ROUTE, length=0, protocol=3, out=9), [Mark(HOST)]),
        (route(NEW_ROUTE, length=0, protocol=3, out=9, table=100), []),
        (neighbour(DEL_NEIGHBOUR, 7), [Mark(VPC)]),
        (neighbour(NEW_NEIGHBOUR, 9), []),
        (neighbour(DEL_NEIGHBOUR, 9, flags=8), [Mark(EVERYTHING)]),
        (neighbour(NEW_NEIGHBOUR, 7, family=socket.AF_BRIDGE), []),
        (message(NETCONF, bytes(4), {1: struct.pack("=i", 7)}), [Mark(VPC)]),
        (link(NEW_LINK, 12, "stn000000000001"), [Mark(tap="stn000000000001", is_over=True)]),
        (link(NEW_LINK, 11, "sto000000000001", up=False), [Mark(tap="sto000000000001")]),
        (link(DEL_LINK, 11, "sto000000000001", alias=f"stead {VPC} i-1"), [Mark(tap="sto000000000001")]),
        (control(DEL_QDISC, 11), [Mark(tap="sto000000000001")]),
        (control(NEW_CLASS, 11), [Mark(tap="sto000000000001")]),
        (control(DEL_CLASS, 11), [Mark(tap="sto000000000001")]),
        (control(DEL_QDISC, 8), [Mark(tap="stt000000000001")]),
        (control(DEL_FILTER, 8), [Mark(tap="stt000000000001")]),
        (control(NEW_QDISC, 8), []),
        (control(NEW_FILTER, 8), []),
        (control(DEL_QDISC, 9), []),
        (message(NETCONF, bytes(4), {1: struct.pack("=i", -2)}), [Mark(HOST)]),
    ],
)
def test_only_what_is_ours_counts(buffer: bytes, expected: list[Mark]) -> None:
    assert marks(buffer) == expected


def test_a_link_is_known_by_its_index_until_it_goes() -> None:
    made = link(NEW_LINK, 40, "sti000000000040", alias="stead vpc-2")
    gone = link(DEL_LINK, 40, "sti000000000040", alias="stead vpc-2")
    assert marks(made + route(DEL_ROUTE, length=32, protocol=83, out=40)) == [Mark("vpc-2")] * 2
    assert marks(made + gone + neighbour(NEW_NEIGHBOUR, 40)) == [Mark("vpc-2")] * 2


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_to_its_end(buffer: bytes) -> None:
    list(messages(buffer))
