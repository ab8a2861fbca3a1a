"""Passwords of Windows guests, found in what they wrote."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.machines import password

DATA = b64encode(bytes(range(256)))
WRAPPED = b"\r\n".join(DATA[at : at + 76] for at in range(0, len(DATA), 76))
CONSOLES = {
    "one line": b"<Username>Administrator</Username>\r\n<Password>" + DATA + b"</Password>\r\n",
    "lines": b"boot\r\n<Password>\r\n" + WRAPPED + b"\r\n</Password>\r\nWindows is Ready to use\r\n",
    "with times": b"2026/11/25 03:00:00Z: <Password>\r\n2026/11/25 03:00:01Z: " + DATA + b"\r\n</Password>",
    "the latest": b"<Password>b2xk</Password> <Password>" + DATA + b"</Password>",
    "not the broken one": b"<Password>" + DATA + b"</Password><Password>b2x!</Password>",
    "after one that was cut off": b"<Password>b2xk <Password>" + DATA + b"</Password>",
}


@pytest.mark.parametrize("console", CONSOLES.values(), ids=CONSOLES.keys())
def test_password_is_found(console: bytes) -> None:
    assert password.find(console) == DATA


@pytest.mark.parametrize(
    "console",
    [
        b"",
        b"login:",
        b"<Password></Password>",
        b"<Password> \r\n </Password>",
        b"<Password>" + DATA,
        b"<Password>" + b"A" * 4096 + b"</Password>",
        b"<Password>gr\xc3\xbc\xc3\x9fe</Password>",
    ],
)
def test_there_is_none(console: bytes) -> None:
    assert password.find(console) == b""


@given(st.lists(st.sampled_from([b"<Password>", b"</Password>", b"QUJD", b"\r\n", b"="])).map(b"".join) | st.binary())
def test_whatever_is_written_gives_base64_or_nothing(console: bytes) -> None:
    assert b64encode(password.b64decode(password.find(console))) == password.find(console)


def test_a_guest_that_writes_beginnings_costs_little() -> None:
    assert password.find(b"<Password>" * 400_000) == b""
