"""What somebody sees who watches a guest and the API all the time: how long neither answers."""

import contextlib
import http.client
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from stead_cli.settings import Settings
from tests.support.waiting import wait_for

_ECHO = 8  # RFC 792
_EVERY = 0.1


@dataclass
class Seen:
    """How many answers there were, and when the last one was; a gap is between two of them."""

    answers: int = 0
    asked: int = 0
    longest: float = 0.0
    last: float = field(default_factory=time.monotonic)

    def answered(self) -> None:
        """Count an answer that came now."""
        now = time.monotonic()
        self.answers, self.longest, self.last = self.answers + 1, max(self.longest, now - self.last), now


@contextlib.contextmanager
def pinged(address: str) -> Iterator[Seen]:
    """Send an echo request to an address each tenth of a second meanwhile; at the end wait for the last answer."""
    seen = Seen()
    ended = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinger:
        wait_for(lambda: _answers(pinger, address), f"{address} answers", 10)
        sender = threading.Thread(target=_send, args=(pinger, address, seen, ended))
        receiver = threading.Thread(target=_receive, args=(pinger, address, seen, ended))
        sender.start()
        receiver.start()
        try:
            yield seen
        finally:
            ended.set()
            sender.join()
            receiver.join()


def _answers(pinger: socket.socket, address: str) -> bool:
    """Tell whether an echo request is answered at once; the security group that lets it in may be new."""
    _request(pinger, address, 0)
    return bool(select.select([pinger], [], [], _EVERY)[0]) and _is_answer(pinger, address)


def _send(pinger: socket.socket, address: str, seen: Seen, ended: threading.Event) -> None:
    while not ended.wait(_EVERY):
        _request(pinger, address, seen.asked)
        seen.asked += 1


def _receive(pinger: socket.socket, address: str, seen: Seen, ended: threading.Event) -> None:
    """Count answers, until the last request, too, was answered or a second has passed."""
    until = None
    while until is None or (seen.answers < seen.asked and time.monotonic() < until):
        if ended.is_set() and until is None:
            until = time.monotonic() + 1.0
        if select.select([pinger], [], [], _EVERY)[0] and _is_answer(pinger, address):
            seen.answered()


def _request(pinger: socket.socket, address: str, number: int) -> None:
    body = struct.pack("!HH", os.getpid() & 0xFFFF, number & 0xFFFF)
    head = struct.pack("!BBH", _ECHO, 0, _checksum(struct.pack("!BBH", _ECHO, 0, 0) + body))
    pinger.sendto(head + body, (address, 0))


def _is_answer(pinger: socket.socket, address: str) -> bool:
    """Read a packet and tell whether it is an answer to one of ours."""
    packet, sender = pinger.recvfrom(2048)
    kind, _, _, whose = struct.unpack_from("!BBHH", packet, (packet[0] & 15) * 4)
    return bool(kind == 0 and whose == os.getpid() & 0xFFFF and sender[0] == address)


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return int(~(total + (total >> 16)) & 0xFFFF)


@contextlib.contextmanager
def api_asked(settings: Settings) -> Iterator[Seen]:
    """Ask the AWS API, without repeating what fails, some fifteen times a second meanwhile; any answer of HTTP counts."""
    seen = Seen()
    ended = threading.Event()
    trusted = ssl.create_default_context(cafile=settings.ca_file)
    thread = threading.Thread(target=_ask, args=(settings, trusted, seen, ended))
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _ask(settings: Settings, trusted: ssl.SSLContext, seen: Seen, ended: threading.Event) -> None:
    while not ended.wait(0.05):
        seen.asked += 1
        connection = http.client.HTTPSConnection(settings.listen, settings.https_port, timeout=5, context=trusted)
        # While nobody answers is what is looked for.
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/?Action=DescribeRegions&Version=2016-11-15")
            if connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR:
                seen.answered()
