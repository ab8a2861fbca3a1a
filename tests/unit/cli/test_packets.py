"""Packets in plain words."""

import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_cli import packets

_ETHERNET = bytes.fromhex("020000000001020000000002")


def _ipv4(protocol: int, body: bytes, fragment: int = 0) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0)
    return _ETHERNET + b"\x08\x00" + header + socket.inet_aton("10.0.0.5") + socket.inet_aton("10.0.0.6") + body


def _ipv6(protocol: int, body: bytes) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
    return _ETHERNET + b"\x86\xdd" + header + ip_address("fd00::5").packed + ip_address("fd00::6").packed + body


def _udp(source: int, target: int, body: bytes = b"") -> bytes:
    return struct.pack("!HHHH", source, target, 8 + len(body), 0) + body


def _arp(operation: int) -> bytes:
    addresses = bytes(6) + socket.inet_aton("10.0.0.5") + bytes(6) + socket.inet_aton("10.0.0.6")
    return _ETHERNET + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + addresses


_TCP = struct.pack("!HHIIBBHHH", 40000, 22, 1, 0, 0x50, 0x12, 1000, 0, 0)
_DHCP = bytes(236) + b"\x63\x82\x53\x63" + b"\x35\x01\x03\xff"
_DNS = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + b"\x03www\x07example\x03com\x00\x00\x01\x00\x01"


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (_ipv4(6, _TCP), "10.0.0.5:40000 > 10.0.0.6:22 TCP SYN,ACK"),
        (_ipv4(17, _udp(9, 9)), "10.0.0.5:9 > 10.0.0.6:9 UDP"),
        (_ipv4(17, _udp(68, 67, _DHCP)), "10.0.0.5:68 > 10.0.0.6:67 DHCP request"),
        (_ipv4(17, _udp(5000, 53, _DNS)), "10.0.0.5:5000 > 10.0.0.6:53 DNS question www.example.com"),
        (_ipv4(1, b"\x08\0\0\0"), "10.0.0.5 > 10.0.0.6 ICMP echo request"),
        (_ipv4(1, b"\x03\x04\0\0"), "10.0.0.5 > 10.0.0.6 ICMP destination unreachable (fragmentation needed)"),
        (_ipv4(17, b"", fragment=185), "10.0.0.5 > 10.0.0.6 fragment at 1480"),
        (_ipv4(132, b""), "10.0.0.5 > 10.0.0.6 protocol 132"),
        (_ipv6(58, b"\x87\0\0\0"), "fd00::5 > fd00::6 ICMPv6 neighbour solicitation"),
        (_ipv6(0, b"\x06\0" + bytes(6) + _TCP), "[fd00::5]:40000 > [fd00::6]:22 TCP SYN,ACK"),
        (_arp(1), "ARP 10.0.0.5 asks who has 10.0.0.6"),
        (_arp(2), "ARP 10.0.0.5 is at 00:00:00:00:00:00"),
        (_ETHERNET + b"\x81\x00\x00\x07" + _arp(1)[12:], "VLAN 7: ARP 10.0.0.5 asks who has 10.0.0.6"),
        (_ETHERNET + b"\x88\xb7", "02:00:00:00:00:02 > 02:00:00:00:00:01 ethertype 0x88b7"),
        (_ipv4(6, b"\0\x16"), "cut short"),
    ],
)
def test_words(frame: bytes, words: str) -> None:
    assert packets.describe(frame) == words


@given(st.binary(max_size=120))
def test_whatever_comes_is_one_printable_line(frame: bytes) -> None:
    assert packets.describe(frame).isprintable()


@given(st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 999_999), st.binary(max_size=60))), st.integers(0, 40))
def test_a_file_is_read_as_far_as_it_is_whole(records: list[tuple[int, int, bytes]], cut: int) -> None:
    file = bytes(packets.FILE_HEADER)
    for seconds, micro, frame in records:
        file += struct.pack("=IIII", seconds, micro, len(frame), len(frame) + 1) + frame
    found = list(packets.read(file))
    assert [(int(each.time.timestamp()), each.time.microsecond, each.frame) for each in found] == records
    assert all(each.length == len(each.frame) + 1 for each in found)
    assert len(list(packets.read(file[: len(file) - cut]))) <= len(records)
