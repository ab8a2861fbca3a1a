"""What hosts bring of VPC endpoints: whose word counts, and what becomes of the connection."""

import json
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stead_proto.certificates import Authority
from stead_proto.tls import CONTROLLER_NAME, Identity
from tests.support.endpoint_arrivals import Arrivals, answer_of, new_arrivals

HOST = "h-0123456789abcdef0"
ENDPOINT = "vpce-0123456789abcdef0"
VPC = "vpc-0123456789abcdef0"
GET = b"GET /%s HTTP/1.1\r\nHost: 198.51.100.1\r\nConnection: close\r\n\r\n"


@pytest.fixture
def arrivals(tmp_path: Path) -> Iterator[Arrivals]:
    made = new_arrivals(tmp_path / "arrivals")
    made.know(HOST, ENDPOINT, VPC)
    with made.running():
        yield made


def bring(arrivals: Arrivals, identity: Identity, folder: Path, said: Any) -> tuple[ssl.SSLSocket, bytes]:
    """Dial as a host, say a line, and give what comes back; raises OSError."""
    context = ssl.create_default_context(cadata=arrivals.authority.certificate_pem.decode())
    identity.save(folder)
    context.load_cert_chain(folder / "identity.pem")
    plain = socket.create_connection(("127.0.0.1", arrivals.port), timeout=60)
    dialled = context.wrap_socket(plain, server_hostname=CONTROLLER_NAME)
    line = said if isinstance(said, bytes) else json.dumps(said).encode() + b"\n"
    dialled.sendall(line)
    return dialled, dialled.recv(100)


def line(**changes: Any) -> dict[str, Any]:
    return {"endpoint": ENDPOINT, "source": "10.0.0.5", "port": 80} | changes


def read_all(sock: ssl.SSLSocket) -> bytes:
    received = b""
    while piece := sock.recv(1 << 16):
        received += piece
    return received


def test_a_guests_request(arrivals: Arrivals, tmp_path: Path) -> None:
    dialled, answer = bring(arrivals, arrivals.authority.issue_host(HOST), tmp_path, line())
    with dialled:
        assert answer == b"ok\n"
        dialled.sendall(GET % b"bucket/key")
        said = answer_of(read_all(dialled))
    assert said == {"via": [ENDPOINT, VPC], "source": "10.0.0.5", "secure": False, "path": "/bucket/key", "body": 0}


def test_a_guest_that_speaks_tls(arrivals: Arrivals, tmp_path: Path) -> None:
    """TLS in TLS: the inner one is the guest's own, with the certificate of the APIs."""
    dialled, answer = bring(arrivals, arrivals.authority.issue_host(HOST), tmp_path, line(port=443))
    assert answer == b"ok\n"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    inner = arrivals.trust.wrap_bio(incoming, outgoing, server_hostname="s3.us-east-1.amazonaws.com")
    with dialled:

        def step(work: Any) -> Any:
            while True:
                try:
                    result = work()
                    dialled.sendall(outgoing.read())
                    return result
                except ssl.SSLWantReadError:
                    dialled.sendall(outgoing.read())
                    incoming.write(dialled.recv(1 << 16))

        step(inner.do_handshake)
        step(lambda: inner.write(GET % b"bucket/key"))
        said = answer_of(step(lambda: inner.read(1 << 16)))
    assert (said["via"], said["secure"]) == ([ENDPOINT, VPC], True)


@pytest.mark.parametrize("path", [b"_stead/health", b"", b"anything"])
def test_nothing_but_the_service(arrivals: Arrivals, tmp_path: Path, path: bytes) -> None:
    """By an endpoint the service answers, whatever is asked; without one nobody is taken for a guest of an endpoint."""
    dialled, _ = bring(arrivals, arrivals.authority.issue_host(HOST), tmp_path, line())
    with dialled:
        dialled.sendall(GET % path)
        assert answer_of(read_all(dialled))["path"] == f"/{path.decode()}"
    with urllib.request.urlopen(f"http://127.0.0.1:{arrivals.open_port}/mine", timeout=60) as answer:
        assert json.load(answer)["via"] is None


@pytest.mark.parametrize(
    "said",
    [
        line(endpoint="vpce-0123456789abcdef1"),
        line(source="x"),
        line(source="::1"),
        line(port="x"),
        {"endpoint": ENDPOINT},
        b"GET / HTTP/1.1\r\n",
        b"[]\n",
    ],
)
def test_a_false_line(arrivals: Arrivals, tmp_path: Path, said: Any) -> None:
    dialled, answer = bring(arrivals, arrivals.authority.issue_host(HOST), tmp_path, said)
    with dialled:
        assert answer == b"no such endpoint of this host\n"
        assert dialled.recv(100) == b""


@pytest.mark.parametrize("said", [b"x" * 2000, json.dumps(line()).encode() + b"\nGET / HTTP/1.1\r\n\r\n"])
def test_who_says_too_much_is_cut_off(arrivals: Arrivals, tmp_path: Path, said: bytes) -> None:
    try:
        dialled, answer = bring(arrivals, arrivals.authority.issue_host(HOST), tmp_path, said)
        dialled.close()
    except OSError:
        answer = b""
    assert answer != b"ok\n"


def test_only_hosts_may_bring(arrivals: Arrivals, tmp_path: Path) -> None:
    """Another host, an operator, an attachment, and who has no certificate of ours."""
    authority = arrivals.authority
    for identity in (
        authority.issue_host("h-0123456789abcdef1"),
        authority.issue_operator(HOST),  # whatever an operator calls himself
        authority.issue_attachment("vol-1", 1, HOST),
    ):
        dialled, answer = bring(arrivals, identity, tmp_path, line())
        dialled.close()
        assert answer == b"no such endpoint of this host\n"
    assert cut_off(lambda: bring(arrivals, Authority.create("Other CA").issue_host(HOST), tmp_path, line())[1])
    trusting = ssl.create_default_context(cadata=authority.certificate_pem.decode())

    def without_certificate() -> bytes:
        with socket.create_connection(("127.0.0.1", arrivals.port), timeout=60) as sock:
            dialled = trusting.wrap_socket(sock, server_hostname=CONTROLLER_NAME)
            dialled.sendall(json.dumps(line()).encode() + b"\n")
            return dialled.recv(100)

    assert cut_off(without_certificate)


def cut_off(work: Callable[[], bytes]) -> bool:
    """Tell whether a connection ends without a word: with TLS 1.3 the server refuses after the handshake."""
    try:
        return work() == b""
    except OSError:
        return True
