"""What strangers send fills no log: a line for each kind of it in a second, without tracebacks."""

import socket
import ssl
import time
from collections.abc import Callable

import pytest

from tests.support.cloud import Cloud

_TIMES = 60
_HTTP = (
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x00\xa5garbage\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nBroken Header\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nAction=%ff%fe&Versi\x00",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: AWS4-HMAC-SHA256 Credential=\xff\r\nContent-Length: 0\r\n\r\n",
)


def _send(port: int, content: bytes, tls: ssl.SSLContext | None) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        try:
            with tls.wrap_socket(plain) if tls else plain as sock:
                sock.sendall(content)
                sock.settimeout(0.5)
                sock.recv(1 << 12)
        except OSError:
            pass  # it was cut off, which is as good as a refusal


@pytest.mark.story
def test_garbage_does_not_fill_the_log(own_cloud: Callable[..., Cloud]) -> None:
    cloud = own_cloud(hosts=0)
    settings = cloud.settings
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    ports = [
        settings.http_port,
        settings.https_port,
        settings.host_port,
        settings.enrolment_port,
        settings.endpoint_port,
    ]
    before, began = cloud.controller.log.stat().st_size, time.monotonic()
    for _ in range(_TIMES):
        for content in _HTTP:
            _send(settings.http_port, content, None)
    for content in _HTTP:
        for port in ports:
            for tls in (None, trusting):
                for _ in range(3):
                    _send(port, content, tls)
    assert cloud.answers()
    grown = cloud.controller.log.read_bytes()[before:].decode()
    lines, seconds = grown.splitlines(), time.monotonic() - began
    assert "Traceback" not in grown, grown[:4000]
    assert len(lines) <= 8 * (seconds + 1), f"{len(lines)} lines in {seconds:.0f} s:\n{grown[:4000]}"
    assert '"left_out": ' in grown, "it says how many were left out"
