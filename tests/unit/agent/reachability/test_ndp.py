"""Neighbour discovery as bytes."""

import struct

import pytest

from stead_agent.reachability import ndp

GUEST, GATEWAY = "06:00:00:00:00:2a", "02:53:54:45:41:44"
ADDRESS, ROUTER = "2001:db8::a1:b2c3", "fe80::1"

# An answer as Linux gives it to that question, its checksum as the kernel wrote it.
ANSWER = bytes.fromhex(
    "025354454144 06000000002a 86dd 60000000 0020 3aff 20010db8000000000000000000a1b2c3 fe800000000000000000000000000001"
    "88004ebc 60000000 20010db8000000000000000000a1b2c3 0201 06000000002a".replace(" ", "")
)


def test_a_question_goes_to_one_guest_alone() -> None:
    """To its MAC and the solicited-node multicast address of its address, from a neighbour: with a hop limit of 255."""
    frame = ndp.question(GUEST, ADDRESS, GATEWAY, ROUTER)
    assert frame[:54].hex(" ", 2) == (
        "0600 0000 002a 0253 5445 4144 86dd"
        " 6000 0000 0020 3aff fe80 0000 0000 0000 0000 0000 0000 0001"
        " ff02 0000 0000 0000 0000 0001 ffa1 b2c3"
    )
    assert frame[54:56].hex() == "8700"
    assert frame[58:].hex(" ", 2) == ("0000 0000 2001 0db8 0000 0000 0000 0000 00a1 b2c3 0101 0253 5445 4144")


@pytest.mark.parametrize("address", [ADDRESS, "2001:db8::ffff:ffff", "fd00:ec2::1"])
def test_its_checksum_is_right(address: str) -> None:
    """The sum of all words, pseudo-header included, is that of a right packet (RFC 4443, 2.3)."""
    frame = ndp.question(GUEST, address, GATEWAY, ROUTER)
    assert _sum(frame) == 0xFFFF
    assert _sum(ANSWER) == 0xFFFF


def _sum(frame: bytes) -> int:
    words = struct.unpack("!32H", frame[22:86])
    total = sum(words) + 32 + 58
    return total % 0xFFFF or 0xFFFF


def test_who_speaks() -> None:
    """An answer to a single address need not name the MAC again; what comes behind it is padding."""
    assert ndp.speaker(ANSWER) == ndp.speaker(ANSWER + bytes(18)) == ndp.speaker(ANSWER[:78]) == (GUEST, ADDRESS)


@pytest.mark.parametrize(
    ("place", "byte"),
    [(12, 0x08), (14, 0x40), (20, 17), (21, 254), (54, 135), (55, 1), (85, 0x2B)],
    ids=["no IPv6", "version 4", "no ICMPv6", "from behind a router", "a question", "a code", "another's MAC"],
)
def test_what_is_no_advertisement_of_its_sender_says_nothing(place: int, byte: int) -> None:
    frame = bytearray(ANSWER)
    frame[place] = byte
    assert ndp.speaker(bytes(frame)) is None


def test_a_cut_frame_says_nothing() -> None:
    assert ndp.speaker(ANSWER[:77]) is None


@pytest.mark.parametrize("nonsense", ["nowhere", "10.0.0.4", ""])
def test_what_is_no_address_cannot_be_asked(nonsense: str) -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        ndp.question(GUEST, nonsense, GATEWAY, ROUTER)
