"""One guest's connection: bytes in, answers out, never more than one request at a time and bounded in memory and time.

The server calls `opened` once, then `readable`, `writable` and `turn_came`; each returns what the connection now waits
for. Nothing here blocks.
"""

import socket
from collections.abc import Callable
from enum import Enum
from typing import Final

from stead_agent.metadata.answers import error
from stead_agent.metadata.http import BadRequestError, Request, RequestReader, Response, render
from stead_agent.metadata.request_pacing import Pace

HEAD_SECONDS: Final = 5.0  # from the first byte of a request to its last
IDLE_SECONDS: Final = 15.0  # between requests
WRITE_SECONDS: Final = 10.0  # for an answer to be taken
LINGER_SECONDS: Final = 2.0  # for a client to close after a refusal
LINGER_BYTES: Final = 65536  # and no more than this
_READ_BYTES: Final = 8192


class Waits(Enum):
    """What a connection waits for."""

    BYTES = "bytes"  # more from the client
    ROOM = "room"  # room for more of the answer
    TURN = "turn"  # its guest's pace, or that others had their chance: call `turn_came` after `delay` seconds
    CLOSED = "closed"  # forget it


class Connection:
    """The state of one accepted socket, which it owns."""

    __slots__ = (
        "_answer", "_close_after", "_linger", "_out", "_pace", "_paid", "_pending", "_reader", "_sock",
        "deadline", "delay",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, pace: Pace, answer: Callable[[Request], Response]) -> None:
        self._sock = sock
        self._pace = pace
        self._answer = answer
        self._reader = RequestReader()
        self._paid = False  # a turn was taken for the next request
        self._pending: Request | Response | None = None
        self._out = b""
        self._close_after = False
        self._linger = 0  # bytes that may still come in vain
        self.delay = 0.0
        self.deadline = 0.0  # monotonic seconds; past it, close

    @property
    def idle(self) -> bool:
        """Tell whether closing now loses nothing: no request has begun, no answer is on its way."""
        return not (self._paid or self._reader.started or self._pending or self._out)

    def fileno(self) -> int:
        """Give the socket's number."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def opened(self, now: float) -> float:
        """Begin: a new connection takes its guest's turn before it is read, so that opening many is paced too.

        Returns the seconds until `turn_came` may be called.
        """
        self._take_turn(now)
        return self.delay

    def readable(self, now: float) -> Waits:
        """Read once and go on."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return Waits.BYTES
        except OSError:
            return Waits.CLOSED  # reset by the client, who needs no answer
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
        """Write what is left of the answer and go on."""
        return self._write(now)

    def turn_came(self, now: float) -> Waits:
        """Go on after the wait for a turn."""
        if self._pending:
            return self._reply(self._pending, now)
        self.deadline = now + HEAD_SECONDS
        return self._next(now) if self._reader.started else self.readable(now)

    def _take_turn(self, now: float) -> Waits | None:
        """Take the guest's next turn, and say so when it must be waited for."""
        self._paid = True
        self.delay = self._pace.wait(now)
        self.deadline = now + self.delay + HEAD_SECONDS
        return Waits.TURN if self.delay else None

    def _next(self, now: float) -> Waits:
        """Take the next request out of the buffer and answer it when its turn has come."""
        try:
            self._pending = self._reader.next()
        except BadRequestError as refusal:
            self._pending = error(refusal.status)
        if self._pending is None:
            return Waits.BYTES
        wait = None if self._paid else self._take_turn(now)
        return wait or self._reply(self._pending, now)

    def _reply(self, pending: Request | Response, now: float) -> Waits:
        """Answer a request, or refuse what is none.

        Then, if more came or may come than was read, read on until the client has closed: closing with unread bytes
        would send a reset, and that would overtake the answer.
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
                # For the rest of the connection: sent again, the token must not get further than the first time.
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
        """Write as much as the socket takes; when all is written, see what comes next."""
        try:
            sent = self._sock.send(self._out)
            self._out = self._out[sent:]
            if not self._out and self._linger:
                self._sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return Waits.ROOM
        except OSError:
            return Waits.CLOSED  # reset by the client, who needs no answer
        if self._out:
            return Waits.ROOM
        if self._close_after and not self._linger:
            return Waits.CLOSED
        self.deadline = now + (LINGER_SECONDS if self._linger else IDLE_SECONDS)
        if self._close_after or not self._reader.started:
            return Waits.BYTES
        self._take_turn(now)  # for what came with it, without a step in which only that is found out
        return Waits.TURN
