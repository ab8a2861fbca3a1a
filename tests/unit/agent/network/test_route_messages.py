"""A route that is written as a message is read back from it."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.network.kernel_objects import Place, Route
from stead_agent.network.route_messages import decode, encode, is_plain, write

HEADER = 16  # struct nlmsghdr

FOURS = st.builds(
    lambda network, hop: Route(Place.VPC, str(network), gateway=str(hop)), st.ip_addresses(v=4).map(lambda it: f"{it}/32"),
    st.ip_addresses(v=4),
)  # fmt: skip
SIXES = st.builds(
    lambda network, hop: Route(Place.VPC, str(network), gateway=str(hop)), st.ip_addresses(v=6).map(lambda it: f"{it}/128"),
    st.ip_addresses(v=6),
)  # fmt: skip


@given(st.one_of(FOURS, SIXES), st.integers(1, 2**31 - 1))
def test_there_and_back(route: Route, index: int) -> None:
    message = encode(index, route, 1)
    assert int.from_bytes(message[:4], "little") == len(message)
    found = decode(message, HEADER, len(message), Place.VPC)
    assert found is not None
    assert found[0] == index
    assert found[1].destination.partition("/")[2] == route.destination.partition("/")[2]
    family = socket.AF_INET6 if ":" in route.destination else socket.AF_INET
    for one, other in (
        (found[1].destination.partition("/")[0], route.destination.partition("/")[0]),
        (found[1].gateway, route.gateway),
    ):
        assert socket.inet_pton(family, one) == socket.inet_pton(family, other)


def test_others_routes_are_not_ours() -> None:
    message = bytearray(encode(3, Route(Place.VPC, "10.0.0.1/32", gateway="192.0.2.1"), 1))
    message[HEADER + 5] = 2  # rtm_protocol: RTPROT_KERNEL
    assert decode(bytes(message), HEADER, len(message), Place.VPC) is None


def test_only_plain_ones_are_written_so() -> None:
    assert is_plain(Route(Place.VPC, "10.0.0.1/32", "vx", "192.0.2.1"))
    assert not is_plain(Route(Place.VPC, "10.0.0.1/32", "vx", "192.0.2.1", table=7))
    assert not is_plain(Route(Place.VPC, "10.0.0.0/8", metric=9))


def test_a_refusal_is_an_error() -> None:
    """The kernel's answer to any of many messages ends the work."""
    here, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, kernel:
        refusal = (36).to_bytes(4, "little") + (2).to_bytes(2, "little") + bytes(10)
        kernel.send(refusal + (-101).to_bytes(4, "little", signed=True) + bytes(16))
        with pytest.raises(OSError, match="unreachable"):
            write(here, [(1, Route(Place.VPC, "10.0.0.1/32", "vx", "192.0.2.1"))])
