"""The metadata service as a guest sees it: real namespaces, real clients."""

import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.metadata import connection, server
from stead_agent.metadata.interface import ADDRESS, MetadataError
from stead_agent.metadata.service import Metadata
from tests.host.metadata.conftest import Vpc, guest_of, ip
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root
ID = "/latest/meta-data/instance-id"
TOKEN = "X-aws-ec2-metadata-token"


def test_guest_reads_its_metadata(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service.put(vpc.vpc_id, replace(guest_of(vpc), user_data=b"#!/bin/sh\n"))
    service.serve(vpc.vpc_id, vpc.path)
    assert vm.curl(ID) == (200, "i-0123456789abcde00")
    assert vm.curl("/latest/user-data") == (200, "#!/bin/sh\n")
    assert vm.curl(ID, "-H", f"{TOKEN}: {vm.token()}") == (200, "i-0123456789abcde00")
    assert vm.curl("/latest/nothing")[0] == 404
    assert vm.curl(ID, "-X", "POST")[0] == 405
    assert vm.curl("/latest/api/token", "-X", "PUT")[0] == 400
    headers = ("-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", "-H", "X-Forwarded-For: 1.2.3.4")
    assert vm.curl("/latest/api/token", "-X", "PUT", *headers)[0] == 403


def test_changes_are_seen_at_once(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    assert vm.curl(ID)[0] == 404
    for options, status in (({}, 200), ({"http_tokens_required": True}, 401), ({"http_endpoint": False}, 403)):
        service.put(vpc.vpc_id, guest_of(vpc, **options))
        assert vm.curl(ID)[0] == status
    service.remove(vpc.vpc_id, "i-0123456789abcde00")
    assert vm.curl(ID)[0] == 404


def test_a_spot_instance_reads_of_its_end_once_it_has_notice(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    spot = replace(guest_of(vpc), spot=True)
    service.put(vpc.vpc_id, spot)
    assert vm.curl("/latest/meta-data/instance-life-cycle") == (200, "spot")
    assert vm.curl("/latest/meta-data/spot/instance-action")[0] == 404
    service.put(vpc.vpc_id, replace(spot, interruption_time=1_795_861_320))
    action = '{"action": "terminate", "time": "2026-11-28T10:22:00Z"}'
    assert vm.curl("/latest/meta-data/spot/instance-action") == (200, action)
    assert vm.curl("/latest/meta-data/spot/termination-time") == (200, "2026-11-28T10:22:00Z")
    assert vm.curl("/latest/meta-data/events/recommendations/rebalance")[0] == 200


def test_guests_with_the_same_address_in_two_vpcs(service: Metadata, new_vpc: Callable[[], Vpc]) -> None:
    vpcs = [new_vpc(), new_vpc()]
    vms = [vpc.vm("172.31.0.5") for vpc in vpcs]
    for number, vpc in enumerate(vpcs):
        service.serve(vpc.vpc_id, vpc.path)
        service.put(vpc.vpc_id, guest_of(vpc, number, http_tokens_required=True))
    tokens = [vm.token() for vm in vms]
    for number, vm in enumerate(vms):
        assert vm.curl(ID, "-H", f"{TOKEN}: {tokens[number]}") == (200, f"i-0123456789abcde0{number}")
        assert vm.curl(ID, "-H", f"{TOKEN}: {tokens[1 - number]}")[0] == 401


def test_neighbours_in_one_vpc(service: Metadata, vpc: Vpc) -> None:
    vms = [vpc.vm(f"172.31.0.{5 + number}") for number in range(2)]
    service.serve(vpc.vpc_id, vpc.path)
    for number in range(2):
        service.put(vpc.vpc_id, guest_of(vpc, number, f"172.31.0.{5 + number}", http_tokens_required=True))
    token = vms[0].token()
    assert vms[0].curl(ID, "-H", f"{TOKEN}: {token}") == (200, "i-0123456789abcde00")
    assert vms[1].curl(ID, "-H", f"{TOKEN}: {token}", "-H", "X-Forwarded-For: 172.31.0.5")[0] == 401
    assert vms[1].curl(ID, "-H", f"{TOKEN}: {vms[1].token()}") == (200, "i-0123456789abcde01")


def test_tokens_and_service_survive_a_restart_of_the_agent(tmp_path: Path, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    first = Metadata(tmp_path)
    first.serve(vpc.vpc_id, vpc.path)
    first.put(vpc.vpc_id, guest_of(vpc, http_tokens_required=True))
    token = vm.token()
    with vm.connect():  # a connection that the end of the first leaves in TIME_WAIT
        first.close()
    second = Metadata(tmp_path)
    try:
        second.serve(vpc.vpc_id, vpc.path)
        second.put(vpc.vpc_id, guest_of(vpc, http_tokens_required=True))
        assert vm.curl(ID, "-H", f"{TOKEN}: {token}") == (200, "i-0123456789abcde00")
    finally:
        second.close()


def test_busybox_netcat_is_a_client(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc, http_tokens_required=True))

    def netcat(text: str) -> str:
        command = ["ip", "netns", "exec", vm.namespace, "busybox", "nc", ADDRESS, "80"]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=True).stdout

    answer = netcat("PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK\n")  # text mode
    token = answer.split("\n\n", 1)[1]
    answer = netcat(f"GET {ID} HTTP/1.0\nX-aws-ec2-metadata-token: {token}\n\n")
    assert answer.endswith("\n\ni-0123456789abcde00")


def test_serving_follows_the_namespace(service: Metadata, new_vpc: Callable[[], Vpc]) -> None:
    old, new = new_vpc(), new_vpc()
    vm = new.vm("172.31.0.5")
    service.serve(old.vpc_id, old.path)
    service.serve(old.vpc_id, old.path)
    service.serve(old.vpc_id, new.path)
    service.put(old.vpc_id, guest_of(old))
    assert vm.curl(ID)[0] == 200
    assert service.present() == {old.vpc_id: {"i-0123456789abcde00"}}


def test_withdrawal_leaves_nothing(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc))
    with vm.connect() as connection:
        connection.sendall(f"GET {ID} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200 OK" in connection.recv(4096)
        service.withdraw(vpc.vpc_id)
        assert connection.recv(4096) == b""
    assert service.present() == {}
    assert vm.curl(ID)[0] == 0
    listing = subprocess.run(["ss", "-N", vpc.namespace, "-Htln"], capture_output=True, text=True, check=True).stdout
    assert listing == ""
    service.withdraw(vpc.vpc_id)


def test_missing_namespace_is_an_error(service: Metadata, vpc: Vpc) -> None:
    with pytest.raises(MetadataError):
        service.serve("vpc-1", Path("/run/netns/none-of-this-name"))
    with pytest.raises(MetadataError):
        service.serve("vpc-1", Path("/dev/null"))
    assert service.present() == {}


def test_address_may_come_after_the_listener(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    ip(f"-n {vpc.namespace} addr del {ADDRESS}/32 dev lo")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc))
    ip(f"-n {vpc.namespace} addr add {ADDRESS}/32 dev lo")
    assert vm.curl(ID)[0] == 200


def test_requests_on_one_connection(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, replace(guest_of(vpc), user_data=b"u" * 3_000_000))
    one = f"GET {ID} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answers = vm.talk(one * 50 + one.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    assert answers.count(b"i-0123456789abcde00") == 51
    # More than a socket takes at once.
    answer = vm.talk(b"GET /latest/user-data HTTP/1.0\r\n\r\n")
    assert answer.split(b"\r\n\r\n", 1)[1] == b"u" * 3_000_000
    head = vm.talk(b"HEAD /latest/user-data HTTP/1.0\r\n\r\n")
    assert b"Content-Length: 3000000\r\n" in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + b"x" * 30000, 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET /" + b"a" * 60000, 431),
    ],
)
def test_refusal_reaches_the_client(service: Metadata, vpc: Vpc, raw: bytes, status: int) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc))
    with vm.connect() as sock:
        sock.sendall(raw)
        assert sock.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())


def test_slow_clients_are_closed(service: Metadata, vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.1)
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc))
    with vm.connect() as half, vm.connect() as idle:
        half.sendall(b"GET / HT")
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert half.recv(4096) == b""
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert idle.recv(4096) == b""


def test_guest_holds_a_bounded_number_of_connections(service: Metadata, vpc: Vpc) -> None:
    vms = [vpc.vm(f"172.31.0.{5 + number}") for number in range(2)]
    service.serve(vpc.vpc_id, vpc.path)
    for number in range(2):
        service.put(vpc.vpc_id, guest_of(vpc, number, f"172.31.0.{5 + number}"))
    held = [vms[0].connect() for _ in range(server.MAX_CONNECTIONS + 20)]
    try:
        for sock in held:
            sock.sendall(b"GET / HT")
        assert vms[1].curl(ID) == (200, "i-0123456789abcde01")
        wait_for(lambda: len(service._server._open) == server.MAX_CONNECTIONS, "what is too many is closed")
    finally:
        for sock in held:
            sock.close()


def test_full_service_takes_from_who_has_most(service: Metadata, vpc: Vpc) -> None:
    vms = [vpc.vm(f"172.31.0.{5 + number}") for number in range(2)]
    service.serve(vpc.vpc_id, vpc.path)
    for number in range(2):
        service.put(vpc.vpc_id, guest_of(vpc, number, f"172.31.0.{5 + number}"))
    service._server._max_open = 8
    held = [vms[0].connect() for _ in range(8)]
    try:
        for sock in held:
            sock.sendall(b"GET / HT")
        wait_for(lambda: len(service._server._open) == 8, "the service is full")
        assert vms[1].curl(ID) == (200, "i-0123456789abcde01")
        assert held[0].recv(1) == b"", "the oldest of eight"
    finally:
        for sock in held:
            sock.close()


def test_guest_with_too_many_connections_is_shut_out_for_a_moment(service: Metadata, vpc: Vpc) -> None:
    vms = [vpc.vm(f"172.31.0.{5 + number}") for number in range(2)]
    service.serve(vpc.vpc_id, vpc.path)
    for number in range(2):
        service.put(vpc.vpc_id, guest_of(vpc, number, f"172.31.0.{5 + number}"))
    held = [vms[0].connect() for _ in range(server.MAX_CONNECTIONS + 1)]
    try:
        for sock in held:
            sock.sendall(b"GET / HT")
        listener = next(each for each in service._server._listeners.values() if each.sock.family == socket.AF_INET)
        wait_for(lambda: "172.31.0.5" in listener.shut_out, "the guest is shut out", poll=0.01)
        assert vms[0].curl(ID, "-m", "0.1")[0] == 0
        assert vms[1].curl(ID)[0] == 200
        held[0].sendall(b"TP/1.0\r\n\r\n")
        assert held[0].recv(4096).startswith(b"HTTP/1.1 200 OK"), "what is open goes on"
        wait_for(lambda: not listener.shut_out, "the guest is let in again")
        assert vms[0].curl(ID)[0] == 200
    finally:
        for sock in held:
            sock.close()


def test_idle_connections_make_room_for_new_ones(service: Metadata, vpc: Vpc) -> None:
    vm = vpc.vm("172.31.0.5")
    service.serve(vpc.vpc_id, vpc.path)
    service.put(vpc.vpc_id, guest_of(vpc))
    held = []
    try:
        for _ in range(server.MAX_CONNECTIONS + 5):
            held.append(vm.connect())
            held[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held[-1].recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert held[0].recv(1) == b""
    finally:
        for sock in held:
            sock.close()
