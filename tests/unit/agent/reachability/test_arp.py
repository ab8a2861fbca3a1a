"""ARP as bytes."""

import pytest

from stead_agent.reachability import arp

GUEST, GATEWAY = "06:00:00:00:00:2a", "02:53:54:45:41:44"


def test_a_question_goes_to_one_guest_alone() -> None:
    frame = arp.question(GUEST, "10.0.1.4", GATEWAY, "10.0.1.1")
    assert frame.hex(" ", 2) == (
        "0600 0000 002a 0253 5445 4144 0806 0001 0800 0604 0001 0253 5445 4144 0a00 0101 0000 0000 0000 0a00 0104"
    )


def test_who_speaks() -> None:
    """A question says as much of its sender as an answer does; what comes behind it is padding."""
    frame = arp.question(GATEWAY, "10.0.1.1", GUEST, "10.0.1.4")
    assert arp.speaker(frame) == arp.speaker(frame + bytes(18)) == (GUEST, "10.0.1.4")


@pytest.mark.parametrize(
    ("place", "byte"),
    [(13, 0x00), (15, 6), (16, 0x86), (18, 8), (19, 16), (11, 0x2B)],
    ids=["no ARP", "no Ethernet", "no IPv4", "long MACs", "long addresses", "another's frame"],
)
def test_what_is_no_arp_of_its_sender_says_nothing(place: int, byte: int) -> None:
    frame = bytearray(arp.question(GATEWAY, "10.0.1.1", GUEST, "10.0.1.4"))
    frame[place] = byte
    assert arp.speaker(bytes(frame)) is None


def test_a_cut_frame_says_nothing() -> None:
    frame = arp.question(GATEWAY, "10.0.1.1", GUEST, "10.0.1.4")
    assert arp.speaker(frame[:-1]) is None
