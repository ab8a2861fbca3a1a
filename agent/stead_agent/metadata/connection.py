"""One guest's connection: requests are answered one at a time, with bounded memory and time.

The server calls `opened` once, then `readable`, `writable` and `delay_ended`; each returns what the connection waits
for next. Nothing here blocks. A turn is a token of the guest's rate limit.
"""

import socket
from collections.abc import Callable
from enum import Enum
from typing import Final

from stead_agent.metadata.answers import error
from stead_agent.metadata.http import BadRequestError, Request, RequestReader, Response, render
from stead_agent.metadata.request_pacing import RequestPacing

HEAD_SECONDS: Final = 5.0  # from the first byte of a request to its last
IDLE_SECONDS: Final = 15.0  # between requests
WRITE_SECONDS: Final = 10.0  # for the client to receive an answer
LINGER_SECONDS: Final = 2.0  # for a client to close after a refusal
LINGER_BYTES: Final = 65536  # and no more than this
_READ_BYTES: Final = 8192


class Waits(Enum):
    """The event that a connection waits for."""

    BYTES = "bytes"  # more from the client
    ROOM = "room"  # socket buffer space for more of the answer
    DELAY = "delay"  # the guest's rate limit, or other guests' connections: call `delay_ended` after `delay` seconds
    CLOSED = "closed"  # remove it


class Connection:
    """The state of one accepted socket, which it owns."""

    __slots__ = (
        "_answer", "_close_after", "_linger", "_out", "_pacing", "_paid", "_pending", "_reader", "_sock",
        "deadline", "delay",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, pacing: RequestPacing, answer: Callable[[Request], Response]) -> None:
        self._sock = sock
        self._pacing = pacing
        self._answer = answer
        self._reader = RequestReader()
        self._paid = False  # a turn was taken for the next request
        self._pending: Request | Response | None = None
        self._out = b""
        self._close_after = False
        self._linger = 0  # bytes that may still be received and discarded
        self.delay = 0.0
        self.deadline = 0.0  # monotonic seconds; past it, close

    @property
    def idle(self) -> bool:
        """Tell whether closing now loses nothing: no request has begun, no answer is being sent."""
        return not (self._paid or self._reader.started or self._pending or self._out)

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def opened(self, now: float) -> float:
        """Begin: a new connection takes a turn of its guest before it is read, so that opening many is limited too.

        Returns the seconds until `delay_ended` may be called.
        """
        self._take_token(now)
        return self.delay

    def readable(self, now: float) -> Waits:
        """Read once and continue."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return Waits.BYTES
        except OSError:
            return Waits.CLOSED  # reset by the client, which needs no answer
        if not data:
            return Waits.CLOSED
        if self._close_after:
            self._linger -= len(data)
            return Waits.BYTES if self._linger > 0 else Waits.CLOSED
        if self.idle:
            self.deadline = now + HEAD_SECONDS
        self._reader.feed(data)
        return self._next(now)

    def writable(self, now: float) -> Waits:
        """Write the rest of the answer and continue."""
        return self._write(now)

    def delay_ended(self, now: float) -> Waits:
        """Continue after the wait for a turn."""
        if self._pending:
            return self._reply(self._pending, now)
        self.deadline = now + HEAD_SECONDS
        return self._next(now) if self._reader.started else self.readable(now)

    def _take_token(self, now: float) -> Waits | None:
        """Take the guest's next turn, and return TURN when the connection must wait for it."""
        self._paid = True
        self.delay = self._pacing.wait(now)
        self.deadline = now + self.delay + HEAD_SECONDS
        return Waits.DELAY if self.delay else None

    def _next(self, now: float) -> Waits:
        """Take the next request out of the buffer and answer it when its turn has come."""
        try:
            self._pending = self._reader.next()
        except BadRequestError as refusal:
            self._pending = error(refusal.status)
        if self._pending is None:
            return Waits.BYTES
        wait = None if self._paid else self._take_token(now)
        return wait or self._reply(self._pending, now)

    def _reply(self, pending: Request | Response, now: float) -> Waits:
        """Answer a request, or refuse an invalid one.

        After that, if there is or may be unread data, read on until the client has closed: closing with unread bytes
        would send a reset, which could arrive before the answer.
        """
        self._pending = None
        self._paid = False
        if isinstance(pending, Response):
            self._close_after = True
            self._linger = LINGER_BYTES
            self._out = render(pending, keep_alive=False)
        else:
            response = self._answer(pending)
            if response.hop_limit:
                # For the rest of the connection: a retransmitted token must not get further than the first one.
                if self._sock.family == socket.AF_INET6:
                    self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, response.hop_limit)
                else:
                    self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, response.hop_limit)
            self._close_after = not pending.keep_alive
            self._linger = LINGER_BYTES if self._close_after and self._reader.started else 0
            self._out = render(response, pending.keep_alive, with_body=pending.method != "HEAD")
        self.deadline = now + WRITE_SECONDS
        return self._write(now)

    def _write(self, now: float) -> Waits:
        """Write as much as the socket accepts; when all is written, continue with the next request."""
        try:
            sent = self._sock.send(self._out)
            self._out = self._out[sent:]
            if not self._out and self._linger:
                self._sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return Waits.ROOM
        except OSError:
            return Waits.CLOSED  # reset by the client, which needs no answer
        if self._out:
            return Waits.ROOM
        if self._close_after and not self._linger:
            return Waits.CLOSED
        self.deadline = now + (LINGER_SECONDS if self._linger else IDLE_SECONDS)
        if self._close_after or not self._reader.started:
            return Waits.BYTES
        self._take_token(now)  # for a request that may already be buffered: saves one step
        return Waits.DELAY
