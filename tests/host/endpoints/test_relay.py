"""The relay of endpoints with a controller behind it: what guests say arrives as theirs, and what happens when it ends."""

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from stead_agent.endpoints.interface import Endpoint, EndpointError
from stead_agent.endpoints.relay_process import RelayProcess
from stead_controller.desired.endpoint_names import endpoint_name, private_names, service_name
from tests.support.endpoint_arrivals import Arrivals, answer_of, new_arrivals
from tests.support.namespaces import inside
from tests.support.waiting import wait_for

HOST = "h-0123456789abcdef0"
ENDPOINT = "vpce-0123456789abcdef0"
OTHER_ENDPOINT = "vpce-0123456789abcdef1"
VPC = "vpc-0123456789abcdef0"
NAMESPACE = "vpce-relaytest"
GUEST = "vpc-relayguest"
SERVICE = "198.51.100.1"
GET = b"GET /bucket/key HTTP/1.1\r\nHost: 198.51.100.1\r\nConnection: close\r\n\r\n"


@dataclass
class Place:
    """A controller that runs, a host's state, an endpoint's namespace and a guest that is joined to it."""

    arrivals: Arrivals
    state: Path
    endpoint: Endpoint
    relay: RelayProcess

    def connect(self, port: int = 80) -> socket.socket:
        """Connect from the guest; raises OSError."""

        def dial() -> socket.socket:
            return socket.create_connection((SERVICE, port), timeout=60)

        return inside(GUEST, dial)

    def ask(self, port: int = 80) -> dict[str, object]:
        with self.connect(port) as sock:
            sock.sendall(GET)
            return answer_of(_all(sock))


def _all(sock: socket.socket) -> bytes:
    received = b""
    while piece := sock.recv(1 << 16):
        received += piece
    return received


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, timeout=60)


def _join() -> None:
    _ip(
        f"netns add {NAMESPACE}",
        f"-n {NAMESPACE} link add eth0 type veth peer name eth0 netns {GUEST}",
        f"-n {NAMESPACE} link set lo up",
        f"-n {NAMESPACE} addr add {SERVICE}/32 dev lo",
        f"-n {NAMESPACE} link set eth0 up",
        f"-n {NAMESPACE} route add 10.0.0.0/24 dev eth0",
        f"-n {GUEST} addr add 10.0.0.5/24 dev eth0",
        f"-n {GUEST} link set eth0 up",
        f"-n {GUEST} route add {SERVICE}/32 dev eth0",
    )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    arrivals = new_arrivals(tmp_path / "arrivals")
    arrivals.know(HOST, ENDPOINT, VPC)
    state = tmp_path / "state"
    arrivals.authority.issue_host(HOST).save(state)
    relay = RelayProcess(tmp_path / "relay", state, ("127.0.0.1:1",))
    _ip(f"netns add {GUEST}")
    try:
        _join()
        endpoint = Endpoint(ENDPOINT, Path("/run/netns") / NAMESPACE, (80, 443), arrivals.port)
        with arrivals.running(), closing(relay):
            yield Place(arrivals, state, endpoint, relay)
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)
        _ip(f"netns del {GUEST}")


def test_what_a_guest_says_arrives_as_its_own(place: Place) -> None:
    place.relay.apply(VPC, (place.endpoint,))
    expected = {"via": [ENDPOINT, VPC], "source": "10.0.0.5", "secure": False, "path": "/bucket/key", "body": 0}
    assert place.ask() == expected
    with place.connect(443) as plain:
        context = place.arrivals.trust
        with context.wrap_socket(plain, server_hostname="s3.us-east-1.amazonaws.com") as secured:
            secured.sendall(GET)
            assert answer_of(_all(secured)) == expected | {"secure": True}


def test_a_client_that_verifies_names(place: Place) -> None:
    """Each name that an interface endpoint has is certified, of buckets also below it; another endpoint's is not."""
    place.relay.apply(VPC, (place.endpoint,))
    zone = place.arrivals.zone
    for service, below in (("s3", ("bucket.", "my-bucket.bucket.", "control.")), ("ec2", ("",)), ("iam", ("",))):
        place.arrivals.know(HOST, ENDPOINT, VPC, service, is_interface=True)
        name = service_name(service, place.arrivals.region)
        own, zonal, other = (
            endpoint_name(each, name, where) for each, where in ((ENDPOINT, ""), (ENDPOINT, zone), (OTHER_ENDPOINT, ""))
        )
        private = private_names(service, place.arrivals.region)
        certified = [f"{prefix}{each}" for prefix in below for each in (own, zonal)] + [*private]
        if service == "s3":
            certified += [f"my-bucket.{each}" for each in private]
            assert not _is_certified(place, f"bucket.{other}")
        for each in certified:
            assert _is_certified(place, each), each
        assert not _is_certified(place, "example.com")


def _is_certified(place: Place, name: str) -> bool:
    """Tell whether a client that knows the cloud's authority accepts the certificate, and hears by TLS."""
    with place.connect(443) as plain:
        try:
            secured = place.arrivals.trust.wrap_socket(plain, server_hostname=name)
        except ssl.SSLCertVerificationError:
            return False
        with secured:
            secured.sendall(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert _all(secured).startswith(b"HTTP/1.1 ")
            return True


def test_much_and_both_ways(place: Place) -> None:
    """Ten megabytes arrive whole, also of a guest that ends its side before the answer."""
    place.relay.apply(VPC, (place.endpoint,))
    body = os.urandom(10 << 20)
    head = f"PUT /b/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with place.connect() as sock:
        sock.sendall(head.encode() + body)
        sock.shutdown(socket.SHUT_WR)
        assert answer_of(_all(sock))["body"] == len(body)


def test_who_is_not_known_to_the_controller(place: Place) -> None:
    place.arrivals.known.clear()
    place.relay.apply(VPC, (place.endpoint,))
    with place.connect() as sock:
        sock.sendall(GET)
        assert _ended(sock)
    place.arrivals.know(HOST, ENDPOINT, VPC)
    assert place.ask()["source"] == "10.0.0.5"


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


def test_what_is_gone_is_heard_no_more(place: Place) -> None:
    """Nobody listens for it, and what was under way ends."""
    place.relay.apply(VPC, (place.endpoint,))
    with place.connect() as open_one:
        open_one.sendall(b"GET /bucket/key HTTP/1.1\r\n")
        place.relay.apply(VPC, ())
        assert _ended(open_one)
    with pytest.raises(ConnectionRefusedError):
        place.connect()
    place.relay.apply(VPC, (place.endpoint,))
    assert place.ask()["source"] == "10.0.0.5"
    place.relay.remove(VPC)
    with pytest.raises(ConnectionRefusedError):
        place.connect()


def test_a_relay_that_ended_comes_back(place: Place) -> None:
    place.relay.apply(VPC, (place.endpoint,))
    assert place.relay.audit() == ()
    (pid,) = _relays(place)
    os.kill(pid, 9)
    wait_for(lambda: place.relay.audit() != (), "it is missed")
    assert place.relay.audit() == ()
    assert place.ask()["source"] == "10.0.0.5"
    place.relay.close()
    wait_for(lambda: not _relays(place), "it ends with the agent")


def _relays(place: Place) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has ended meanwhile
                continue
            if b"stead_agent.endpoints" in words and os.fsencode(place.state) in words:
                found.append(int(folder.name))
    return found


def test_a_namespace_that_was_made_anew(place: Place) -> None:
    place.relay.apply(VPC, (place.endpoint,))
    _ip(f"netns del {NAMESPACE}", f"-n {GUEST} link del eth0")
    with pytest.raises(EndpointError):
        place.relay.audit()
    _join()
    assert place.relay.audit()
    assert place.ask()["source"] == "10.0.0.5"


def test_a_renewed_certificate_is_shown(place: Place) -> None:
    place.relay.apply(VPC, (place.endpoint,))
    assert place.ask()
    place.arrivals.know("h-0123456789abcdef1", ENDPOINT, VPC)
    del place.arrivals.known[HOST, ENDPOINT]
    place.arrivals.authority.issue_host("h-0123456789abcdef1").save(place.state)
    assert place.ask()["source"] == "10.0.0.5"


def test_a_false_controller_gets_nothing(place: Place, tmp_path: Path) -> None:
    """Whoever listens where the controller should be, and is not it, hears no word of a guest."""
    other = new_arrivals(tmp_path / "other")
    other.know(HOST, ENDPOINT, VPC)
    with other.running():
        place.relay.apply(VPC, (Endpoint(ENDPOINT, place.endpoint.namespace, (80,), other.port),))
        with place.connect() as sock:
            sock.sendall(GET)
            assert _ended(sock)
