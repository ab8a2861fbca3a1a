"""The hop limit: what carries a token travels no further than HttpPutResponseHopLimit says, by the packets' own TTL."""

import socket
import struct
import subprocess

import pytest

from stead_agent.metadata.interface import ADDRESS
from stead_agent.metadata.service import Metadata
from tests.host.metadata.conftest import Vm, Vpc, guest_of, ip
from tests.support.namespaces import inside

pytestmark = pytest.mark.root
PUT = b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n"
GET = b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n"
_ETH_P_IP = 0x0800


def _ttls_of_answers(vm: Vm, requests: list[bytes]) -> list[int]:
    """Send requests on one connection and return the IP TTL of the packet that carried each answer."""
    packets = inside(vm.namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)))
    ttls = []
    with packets, vm.connect() as sock:
        packets.settimeout(60)
        for request in requests:
            sock.sendall(request)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK")
            while True:
                packet = packets.recv(65536)
                header = (packet[0] & 15) * 4
                data = header + (packet[header + 12] >> 4) * 4
                if packet[12:16] == socket.inet_aton(ADDRESS) and struct.unpack("!H", packet[2:4])[0] > data:
                    ttls.append(packet[8])
                    break
    return ttls


@pytest.mark.parametrize("limit", [1, 2, 64])
def test_answer_with_a_token_has_the_hop_limit_as_ttl(service: Metadata, vpc: Vpc, limit: int) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc, http_put_response_hop_limit=limit))
    # After the token the limit stays for the connection, or a retransmission would carry the token further.
    assert _ttls_of_answers(vm, [GET, PUT, GET]) == [64, limit, limit]
    assert _ttls_of_answers(vm, [GET]) == [64]


def _container_behind(vpc: Vpc, vm: Vm) -> Vm:
    """Make a namespace behind a guest's NAT, as a container on a bridge network has."""
    name = f"{vm.namespace}-c"
    vpc.namespaces.append(name)
    ip(
        f"netns add {name}",
        f"link add docker0 netns {vm.namespace} type veth peer name eth0 netns {name}",
        f"-n {vm.namespace} addr add 10.88.0.1/24 dev docker0",
        f"-n {vm.namespace} link set docker0 up",
        f"-n {name} addr add 10.88.0.2/24 dev eth0",
        f"-n {name} link set eth0 up",
        f"-n {name} route add default via 10.88.0.1",
    )
    rules = "table ip n { chain c { type nat hook postrouting priority 100; oifname eth0 masquerade; }; }"
    enter = ["ip", "netns", "exec", vm.namespace]
    subprocess.run([*enter, "nft", "-f", "-"], input=rules, text=True, check=True, timeout=60)
    subprocess.run([*enter, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True, timeout=60)
    return Vm(name)


def test_container_behind_the_guest_gets_a_token_only_with_a_second_hop(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    container = _container_behind(vpc, vm)
    service.serve(vpc.vpc_id, vpc.path)
    put = ("-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60")
    service.put(vpc.vpc_id, guest_of(vpc, http_put_response_hop_limit=1, http_tokens_required=True))
    assert container.curl("/latest/meta-data/")[0] == 401  # it does get there
    assert container.curl("/latest/api/token", *put, "-m", "0.7")[0] == 0  # longer than the first retransmissions
    assert vm.curl("/latest/api/token", *put)[0] == 200
    service.put(vpc.vpc_id, guest_of(vpc, http_put_response_hop_limit=2, http_tokens_required=True))
    assert container.curl("/latest/api/token", *put)[0] == 200
