"""A change is one message, and what the kernel says to it is the answer of that call."""

import errno
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from stead_agent.network.kernel_changes import RoutingSocket

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr


@pytest.fixture
def ends() -> Iterator[tuple[RoutingSocket, socket.socket]]:
    """A socket of ours whose kernel is the other end of a wire."""
    here, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with RoutingSocket() as opened, kernel:
        opened.socket.close()
        opened.socket = here
        yield opened, kernel


def _answer(error: int) -> bytes:
    return _HEADER.pack(36, 2, 0, 1, 0) + struct.pack("=i", -error) + bytes(16)


def test_a_route_is_said_as_it_is(ends: tuple[RoutingSocket, socket.socket]) -> None:
    opened, kernel = ends
    kernel.send(_answer(0))
    opened.route("replace", dst="10.1.0.0/16", proto=83, oif=7, gateway="192.0.2.1", metric=9, table=700)
    message = kernel.recv(4096)
    size, kind, flags, _, _ = _HEADER.unpack_from(message)
    assert (size, kind, flags) == (len(message), 24, 0x505)
    assert struct.unpack_from("=BBBBBBBBI", message, 16) == (socket.AF_INET, 16, 0, 0, 252, 83, 0, 1, 4)
    for kind, value in (
        (1, bytes((10, 1, 0, 0))),
        (4, struct.pack("=I", 7)),
        (5, bytes((192, 0, 2, 1))),
        (6, struct.pack("=I", 9)),
        (15, struct.pack("=I", 700)),
    ):
        assert struct.pack("=HH", 8, kind) + value in message


def test_attributes_end_at_words(ends: tuple[RoutingSocket, socket.socket]) -> None:
    opened, kernel = ends
    kernel.send(_answer(0))
    opened.link("set", index=3, ifalias="stead", mtu=1400)
    message = kernel.recv(4096)
    assert message[16:32] == struct.pack("=BxHiII", 0, 0, 3, 0, 0)
    assert message[32:] == struct.pack("=HH6s2xHHI", 10, 20, b"stead\0", 8, 4, 1400)


@pytest.mark.parametrize("error", [errno.EEXIST, errno.ENODEV])
def test_a_refusal_is_an_error_with_its_number(ends: tuple[RoutingSocket, socket.socket], error: int) -> None:
    opened, kernel = ends
    kernel.send(_answer(error))
    with pytest.raises(OSError, match=os.strerror(error)) as refused:
        opened.link("del", index=3)
    assert refused.value.errno == error


def test_a_link_is_asked_for_by_its_name(ends: tuple[RoutingSocket, socket.socket]) -> None:
    opened, kernel = ends
    name = struct.pack("=HH7sx", 11, 3, b"sv-one\0")
    body = struct.pack("=BxHiII", 0, 1, 7, 1, 0) + name
    kernel.send(_HEADER.pack(16 + len(body), 16, 0, 1, 0) + body)
    found = opened.named("sv-one")
    assert found is not None
    assert (found.fields[2], found.text(3)) == (7, "sv-one")
    message = kernel.recv(4096)
    assert _HEADER.unpack_from(message)[:3] == (len(message), 18, 1)
    assert message[16:] == struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HHI", 8, 29, 8) + name


def test_no_link_has_a_name_that_the_kernel_does_not_know(ends: tuple[RoutingSocket, socket.socket]) -> None:
    opened, kernel = ends
    kernel.send(_answer(errno.ENODEV))
    assert opened.named("sv-one") is None
    kernel.send(_answer(errno.EPERM))
    with pytest.raises(PermissionError):
        opened.named("sv-one")
