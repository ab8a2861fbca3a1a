"""Guests ask for the time by IPv4 and IPv6, each VPC at the same addresses, and no longer once it is withdrawn."""

import socket
import struct
import time
from collections.abc import Callable

import pytest

from stead_agent.metadata.interface import TIME_ADDRESS, TIME_IPV6_ADDRESS
from stead_agent.metadata.service import Metadata
from stead_agent.metadata.time_answers import read_clock
from tests.host.metadata.conftest import GUEST_IPV6, Vm, Vpc, with_ipv6
from tests.support.namespaces import inside

pytestmark = pytest.mark.root
_QUESTION = bytes((0b00_100_011, *[0] * 39)) + b"unlikely"


@pytest.fixture
def vm(vpc: Vpc) -> Vm:
    """A guest with both kinds of addresses."""
    return with_ipv6(vpc, TIME_IPV6_ADDRESS)


def _ask(vm: Vm, address: str, *questions: bytes) -> bytes:
    """Send questions and return the first answer."""

    def talk() -> bytes:
        family, own = (socket.AF_INET6, GUEST_IPV6) if ":" in address else (socket.AF_INET, "")
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            sock.bind((own, 0))
            sock.connect((address, 123))
            for question in questions:
                sock.send(question)
            return sock.recv(100)

    return inside(vm.namespace, talk)


@pytest.mark.parametrize("address", [TIME_ADDRESS, TIME_IPV6_ADDRESS])
def test_a_guest_is_told_the_hosts_time(service: Metadata, vpc: Vpc, vm: Vm, address: str) -> None:
    service.serve(vpc.vpc_id, vpc.path)
    before = time.time()
    answer = _ask(vm, address, b"no question", bytes(48), _QUESTION)
    after = time.time()
    fields = struct.unpack("!BBbbII4s8s8sIIII", answer)
    assert fields[0] & 0b00_111_111 == 0b00_100_100
    clock = read_clock()
    assert (fields[0] >> 6, fields[1]) == ((clock.leap, 5) if clock.synchronised else (3, 0))
    assert fields[8] == b"unlikely"
    received, sent = (seconds - 2_208_988_800 + part / 2**32 for seconds, part in (fields[9:11], fields[11:13]))
    assert before - 0.001 < received <= sent < after + 0.001


def test_a_question_came_when_the_kernel_got_it(service: Metadata, vpc: Vpc, vm: Vm) -> None:
    """However long the server's thread is kept from it."""
    service.serve(vpc.vpc_id, vpc.path)

    def talk() -> tuple[float, bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            with service._time._using:
                sock.sendto(_QUESTION, (TIME_ADDRESS, 123))
                arrived = time.time()
            return arrived, sock.recv(100)

    arrived, answer = inside(vm.namespace, talk)
    received, sent = (
        seconds - 2_208_988_800 + part / 2**32 for seconds, part in struct.iter_unpack("!II", answer[32:])
    )
    assert received <= arrived <= sent


def test_each_vpc_is_told_until_it_is_withdrawn(
    service: Metadata, vpc: Vpc, vm: Vm, new_vpc: Callable[[], Vpc]
) -> None:
    other = new_vpc()
    same = other.vm("172.31.0.5")
    for each in (vpc, other):
        service.serve(each.vpc_id, each.path)
    for _ in range(20):  # more than are answered at a turn, by whoever asks
        assert _ask(vm, TIME_ADDRESS, *[_QUESTION] * 5)[24:32] == b"unlikely"
    service.withdraw(vpc.vpc_id)
    with pytest.raises(ConnectionRefusedError):
        _ask(vm, TIME_ADDRESS, _QUESTION)
    assert _ask(same, TIME_ADDRESS, _QUESTION)[24:32] == b"unlikely"
