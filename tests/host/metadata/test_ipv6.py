"""Metadata by IPv6: for guests whose options say so, known by their IPv6 address, with the hop limit of their options."""

import socket
from dataclasses import replace

import pytest

from stead_agent.metadata.interface import IPV6_ADDRESS, Guest
from stead_agent.metadata.service import Metadata
from tests.host.metadata.conftest import GUEST_IPV6, Vm, Vpc, guest_of, with_ipv6
from tests.support.namespaces import inside

pytestmark = pytest.mark.root


@pytest.fixture
def vm(vpc: Vpc) -> Vm:
    """A guest with IPv6, in a VPC that has the metadata address of it."""
    return with_ipv6(vpc, IPV6_ADDRESS)


def _dual(vpc: Vpc, **options: object) -> Guest:
    guest = guest_of(vpc, **options)
    (interface,) = guest.interfaces
    interface = replace(
        interface,
        ipv6_addresses=(GUEST_IPV6,),
        subnet_ipv6_cidr_block="fd00:5:0:1::/64",
        vpc_ipv6_cidr_blocks=("fd00:5::/56",),
    )
    return replace(guest, interfaces=(interface,))


def _ask(vm: Vm, request: str) -> bytes:
    """Send a request by IPv6; give the answer."""

    def talk() -> bytes:
        with socket.create_connection((IPV6_ADDRESS, 80), timeout=60, source_address=(GUEST_IPV6, 0)) as sock:
            sock.sendall(f"{request}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: sock.recv(65536), b""))

    return inside(vm.namespace, talk)


def _path(path: str, header: str = "") -> str:
    return f"GET /latest/meta-data/{path} HTTP/1.1{header}"


def test_only_when_the_guest_has_it_switched_on(service: Metadata, vpc: Vpc, vm: Vm) -> None:
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, _dual(vpc))
    assert b" 403 " in _ask(vm, _path("instance-id")).splitlines()[0]
    service.put(vpc.vpc_id, _dual(vpc, http_protocol_ipv6=True))
    answer = _ask(vm, _path("instance-id"))
    assert answer.endswith(b"i-0123456789abcde00")
    assert vm.curl("/latest/meta-data/instance-id")[0] == 200


def test_tokens_and_addresses(service: Metadata, vpc: Vpc, vm: Vm) -> None:
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, _dual(vpc, http_protocol_ipv6=True, http_tokens_required=True))
    assert b" 401 " in _ask(vm, _path("ipv6")).splitlines()[0]
    lifetime = "\r\nX-aws-ec2-metadata-token-ttl-seconds: 60"
    token = _ask(vm, f"PUT /latest/api/token HTTP/1.1{lifetime}").rpartition(b"\r\n\r\n")[2].decode()
    header = f"\r\nX-aws-ec2-metadata-token: {token}"
    assert _ask(vm, _path("ipv6", header)).endswith(b"\r\n" + GUEST_IPV6.encode())
    mac = _ask(vm, _path("mac", header)).rpartition(b"\r\n\r\n")[2].decode()
    below = f"network/interfaces/macs/{mac}"
    assert _ask(vm, _path(f"{below}/ipv6s", header)).endswith(GUEST_IPV6.encode())
    assert _ask(vm, _path(f"{below}/subnet-ipv6-cidr-blocks", header)).endswith(b"fd00:5:0:1::/64")
    assert _ask(vm, _path(f"{below}/vpc-ipv6-cidr-blocks", header)).endswith(b"fd00:5::/56")
    status, _ = vm.curl("/latest/meta-data/ipv6", "-H", f"X-aws-ec2-metadata-token: {token}")
    assert status == 200  # one token, whichever way it came


def test_a_neighbours_token_and_address_are_no_way_to_its_metadata(service: Metadata, vpc: Vpc, vm: Vm) -> None:
    """The neighbour has IPv4 alone; its token is good for nobody else, whichever way it is shown."""
    neighbour = vpc.vm("172.31.0.6")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, _dual(vpc, http_protocol_ipv6=True, http_tokens_required=True))
    service.put(vpc.vpc_id, guest_of(vpc, 1, "172.31.0.6", http_tokens_required=True))
    token = f"\r\nX-aws-ec2-metadata-token: {neighbour.token()}"
    for header in (token, f"{token}\r\nX-Forwarded-For: 172.31.0.6", "\r\nX-Forwarded-For: 172.31.0.6"):
        assert b" 401 " in _ask(vm, _path("instance-id", header)).splitlines()[0]
    ask = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nX-Forwarded-For: ::1"
    assert b" 403 " in _ask(vm, ask).splitlines()[0]


def test_the_answer_with_a_token_goes_as_far_as_the_hop_limit(service: Metadata, vpc: Vpc, vm: Vm) -> None:
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, _dual(vpc, http_protocol_ipv6=True, http_put_response_hop_limit=3))
    limits = inside(vm.namespace, _token_hop_limits)
    assert 3 in limits


def _token_hop_limits() -> set[int]:
    """Ask for a token and give the hop limits of the packets with content that came."""
    seen: set[int] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD)) as wire:
        wire.bind(("eth0", 0x86DD))
        wire.settimeout(0.2)
        with socket.create_connection((IPV6_ADDRESS, 80), timeout=60, source_address=(GUEST_IPV6, 0)) as sock:
            sock.sendall(
                b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n"
                b"Connection: close\r\n\r\n"
            )
            while sock.recv(65536):
                pass
        try:
            while True:
                frame, (_, _, kind, *_) = wire.recvfrom(4096)
                if kind != socket.PACKET_OUTGOING and b"HTTP/1.1 200" in frame:
                    seen.add(frame[14 + 7])
        except TimeoutError:
            return seen
