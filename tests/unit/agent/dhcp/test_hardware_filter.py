"""The filter's program, read by a small interpreter of the instructions it is made of."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.dhcp.hardware_filter import PROGRAM

_LINK_HEADER = 0x100000000 - 0x200000
_mac = st.binary(min_size=6, max_size=6)


def passes(sender: bytes, datagram: bytes) -> bool:
    """Run the program on a UDP datagram that came from a hardware address."""
    frame = b"\xff" * 6 + sender + b"\x08\x00"
    at, register, stored = 0, 0, 0
    while True:
        code, if_true, if_false, operand = PROGRAM[at]
        at += 1
        if code in {0x20, 0x28}:
            size = 4 if code == 0x20 else 2
            source, offset = (frame, operand - _LINK_HEADER) if operand >= _LINK_HEADER else (datagram, operand)
            if offset + size > len(source):
                return False
            register = int.from_bytes(source[offset : offset + size])
        elif code == 0x07:
            stored = register
        elif code == 0x87:
            register = stored
        elif code in {0x1D, 0x15}:
            at += if_true if register == (stored if code == 0x1D else operand) else if_false
        else:
            assert code == 0x06
            return operand > 0


def about(client: bytes) -> bytes:
    """A datagram with a DHCP message about a client's hardware address."""
    return bytes(8 + 28) + client + bytes(10 + 64 + 128)


@settings(deadline=None)
@given(_mac, _mac, st.integers(0, 5))
def test_only_messages_about_the_sender_pass(sender: bytes, other: bytes, place: int) -> None:
    assert passes(sender, about(sender))
    changed = bytearray(sender)
    changed[place] ^= 1
    assert passes(sender, about(bytes(changed))) == (sender == bytes(6))
    assert passes(sender, about(other)) == (sender in {other, bytes(6)})


def test_short_messages_are_dropped() -> None:
    assert not passes(b"\x0e" * 6, about(b"\x0e" * 6)[:41])


def test_no_guest_is_the_loopback_link() -> None:
    assert passes(bytes(6), about(b"\x0e\0\0\0\0\x05"))
    assert not passes(bytes(5) + b"\1", about(b"\x0e\0\0\0\0\x05"))
