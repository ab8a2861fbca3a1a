"""The filter's program, read back by a small interpreter of the four instructions it is made of."""

import socket
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.metadata.connection_filter import MAX_ADDRESSES, ipv6_program, program

_addresses = st.ip_addresses(v=4).map(str)


def passes(code: bytes, source: str, flags: int) -> bool:
    """Run a program on a packet."""
    steps = [struct.unpack("@HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
    at, register = 0, 0
    while True:
        instruction, if_true, if_false, operand = steps[at]
        at += 1
        if instruction == 0x06:
            return operand > 0
        if instruction == 0x30:
            assert operand == 13
            register = flags
        elif instruction == 0x20:
            if ":" in source:
                at_word = (operand - 0xFFF00008) // 4
                register = struct.unpack("!4I", socket.inet_pton(socket.AF_INET6, source))[at_word]
            else:
                assert operand == 0xFFF0000C
                register = int.from_bytes(socket.inet_aton(source))
        elif instruction == 0x45:
            at += if_true if register & operand else if_false
        else:
            assert instruction == 0x15
            at += if_true if register == operand else if_false


@settings(deadline=None)
@given(st.sets(_addresses, max_size=20), _addresses, st.integers(0, 255))
def test_only_openings_of_the_listed_are_dropped(shut: set[str], source: str, flags: int) -> None:
    code = program(shut)
    assert passes(code, source, flags) == (source not in shut or not flags & 2)
    for address in shut:
        assert not passes(code, address, 2)
        assert passes(code, address, 16)


def test_program_fits_the_kernels_limit() -> None:
    code = program([f"10.0.{number >> 8}.{number & 255}" for number in range(3 * MAX_ADDRESSES)])
    assert len(code) // 8 <= 4096


@settings(deadline=None)
@given(st.sets(st.ip_addresses(v=6).map(str), max_size=20), st.ip_addresses(v=6).map(str), st.integers(0, 255))
def test_ipv6_openings_of_the_listed_are_dropped(shut: set[str], source: str, flags: int) -> None:
    code = ipv6_program(shut)
    assert passes(code, source, flags) == (source not in shut or not flags & 2)
    for address in shut:
        assert not passes(code, address, 2)
        assert passes(code, address, 16)


def test_ipv6_program_fits_the_kernels_limit() -> None:
    assert len(ipv6_program([f"fd00::{number:x}" for number in range(3 * MAX_ADDRESSES)])) // 8 <= 4096
