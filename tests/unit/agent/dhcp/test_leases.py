"""The lease file read, and the message that ends a lease."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.dhcp.leases import Binding, nameless, read_leases, release_message, stale, without

TEXT = (
    "1795544392 0e:00:00:00:00:05 172.31.0.5 ip-172-31-0-5 *\n"
    "1795544393 0e:00:00:00:00:06 172.31.0.6 * 01:0e:00:00:00:00:06\n"
    "1795544394 06-0e:00:00:00:00:06 172.31.0.7 * *\n"
    "duid 00:01:00:01:2c\n"
    "1795544395 16777343 fd00::5 * 00:01\n"
)
FIVE, SIX = Binding("0e:00:00:00:00:05", "172.31.0.5"), Binding("0e:00:00:00:00:06", "172.31.0.6")


def test_leases_are_read() -> None:
    assert read_leases(TEXT) == [FIVE, SIX]
    assert read_leases("") == []


def test_stale_is_what_binds_an_address_to_the_wrong_machine() -> None:
    assert stale([FIVE, SIX], [FIVE, SIX]) == []
    assert stale([FIVE, SIX], [FIVE, Binding(SIX.mac_address, "172.31.0.9")]) == [SIX]
    assert stale([FIVE, SIX], [Binding(SIX.mac_address, FIVE.address)]) == [FIVE, SIX]


def test_struck_leases_leave_the_others_as_they_were() -> None:
    assert without(TEXT, [FIVE]) == "".join(TEXT.splitlines(keepends=True)[1:])
    assert without(TEXT, []) == TEXT


def test_leases_without_names_are_otherwise_the_same() -> None:
    assert nameless(TEXT) == TEXT.replace("ip-172-31-0-5", "*")
    assert nameless("1795544395 16777343 fd00::5 ip-172-31-0-5 00:01\n") == "1795544395 16777343 fd00::5 * 00:01\n"


@settings(deadline=None)
@given(st.text() | st.text(alphabet="0123456789abcdef:. *\n"))
def test_any_file_is_read(text: str) -> None:
    for binding in read_leases(text):
        assert binding not in read_leases(without(text, [binding]))


def test_release_message() -> None:
    message = release_message(FIVE, "172.31.0.1")
    operation, kind, length, hops = struct.unpack_from("!BBBB", message)
    assert (operation, kind, length, hops) == (1, 1, 6, 0)
    assert message[12:16] == bytes([172, 31, 0, 5])
    assert message[28:34] == bytes([0x0E, 0, 0, 0, 0, 5])
    assert message[236:240] == bytes([99, 130, 83, 99])
    assert message[240:] == bytes([53, 1, 7, 54, 4, 172, 31, 0, 1, 255])
