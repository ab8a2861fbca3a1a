"""A list is read as the kernel tells it, again when it has changed meanwhile, and a refusal is an error."""

import socket
import struct
from collections.abc import Iterator

import pytest

from stead_agent.network import kernel_lists
from stead_agent.network.kernel_lists import ADDRESSES, LINKS, Element
from stead_agent.network.route_messages import open_socket

_INTERRUPTED = 0x10
_DONE = struct.pack("=IHHIIi", 20, 3, 0, 1, 0, 0)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a wire: whoever reads, and the kernel."""
    here, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, kernel:
        yield here, kernel


def _address(index: int, flags: int = 0) -> bytes:
    body = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, index) + struct.pack("=HH4s", 8, 2, bytes((10, 0, 0, index)))
    return struct.pack("=IHHII", 16 + len(body), 20, flags, 1, 0) + body


def _addresses(opened: socket.socket) -> list[str]:
    found = kernel_lists.read(opened, ADDRESSES, socket.AF_INET, 0, 0, 0, 0)
    return [f"{each.address(9, 2)}/{each.fields[1]} {each.fields[4]}" for each in found]


def test_a_list_of_several_messages(ends: tuple[socket.socket, socket.socket]) -> None:
    here, kernel = ends
    for sent in (_address(1) + _address(2), _address(3), _DONE):
        kernel.send(sent)
    assert _addresses(here) == ["10.0.0.1/24 1", "10.0.0.2/24 2", "10.0.0.3/24 3"]


def test_a_list_that_changes_meanwhile_is_read_again(ends: tuple[socket.socket, socket.socket]) -> None:
    here, kernel = ends
    for sent in (_address(1, _INTERRUPTED), _DONE, _address(2) + _DONE):
        kernel.send(sent)
    assert _addresses(here) == ["10.0.0.2/24 2"]


def test_one_that_never_rests_is_taken_as_it_was_at_last(ends: tuple[socket.socket, socket.socket]) -> None:
    here, kernel = ends
    for number in range(1, 6):
        kernel.send(_address(number, _INTERRUPTED) + _DONE)
    assert _addresses(here) == ["10.0.0.5/24 5"]


def test_a_refusal_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    here, kernel = ends
    kernel.send(struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -1) + bytes(16))
    with pytest.raises(PermissionError):
        _addresses(here)


def test_messages_of_another_kind_are_none_of_the_list(ends: tuple[socket.socket, socket.socket]) -> None:
    here, kernel = ends
    other = bytearray(_address(2))
    struct.pack_into("=H", other, 4, 16)
    kernel.send(_address(1) + bytes(other) + _DONE)
    assert _addresses(here) == ["10.0.0.1/24 1"]


def test_attributes_that_are_empty_and_addresses_of_ipv6() -> None:
    assert kernel_lists.attributes(struct.pack("=HH4sHH", 8, 3, b"a", 4, 7), 0, 12) == {3: b"a\0\0\0", 7: b""}
    assert Element((), {1: bytes(15) + b"\1"}).address(2, 1) == "::1"


def test_links_of_this_kernel() -> None:
    """With what is inside of their attributes; nothing of what is not there."""
    with open_socket() as opened:
        links = {each.text(3): each for each in kernel_lists.read(opened, LINKS, 0, 0, 0, 0, 0)}
    loopback = links["lo"]
    assert loopback.fields[2] == socket.if_nametoindex("lo")
    assert (loopback.mac(1), loopback.number(4)) == ("00:00:00:00:00:00", 65536)
    nothing = loopback.inside(18)
    assert (nothing.text(1), nothing.number(1), nothing.mac(1), nothing.address(1)) == ("", 0, "", "")
