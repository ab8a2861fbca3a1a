"""The thread that tells guests the time: one socket for each VPC and address, a bounded number of answers at a turn.

The firewall limits how often a guest asks, so that none needs a share here.
"""

import contextlib
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

from stead_agent.metadata.time_answers import Clock, answer

log = logging.getLogger(__name__)

_AT_A_TURN: Final = 16  # answers by one socket, before other sockets are checked
_LONGEST_QUESTION: Final = 512
_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module does not have it
_TIMESPEC: Final = struct.Struct("@ll")
_NANOSECONDS: Final = 1_000_000_000


class TimeServer:
    """Answers NTP on many sockets; `clock` tells the state of the host's clock, and may raise OSError."""

    def __init__(self, clock: Callable[[], Clock]) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._ended, select.EPOLLIN)
        self._using = threading.Lock()  # whoever closes a socket has it, and whoever answers by one
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        self._is_clock_known = True
        self._thread = threading.Thread(target=self._run, name="time", daemon=True)
        self._thread.start()

    def listen(self, vpc_id: str, sock: socket.socket) -> None:
        """Answer by a bound datagram socket of a VPC, which the server owns from now on."""
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with self._using:
            self._sockets[sock.fileno()] = (vpc_id, sock)
            self._epoll.register(sock, select.EPOLLIN)

    def unlisten(self, vpc_id: str) -> None:
        """Close all sockets of a VPC; when it returns, none keeps the VPC's namespace alive."""
        with self._using:
            for number, (owner, sock) in list(self._sockets.items()):
                if owner == vpc_id:
                    del self._sockets[number]
                    sock.close()

    def close(self) -> None:
        """Close all sockets and end the thread."""
        if self._epoll.closed:
            return
        os.eventfd_write(self._ended, 1)
        self._thread.join()
        for vpc_id in {owner for owner, _ in self._sockets.values()}:
            self.unlisten(vpc_id)
        self._epoll.close()
        os.close(self._ended)

    def _run(self) -> None:
        while True:
            for number, _ in self._epoll.poll():
                if number == self._ended:
                    return
                with self._using:
                    if number in self._sockets:  # else its VPC has been withdrawn
                        vpc_id, sock = self._sockets[number]
                        try:
                            self._answer_some(sock)
                        except Exception:  # a bug of ours: it may cost answers, but not all guests the time
                            log.exception("time_failed", extra={"vpc_id": vpc_id})

    def _answer_some(self, sock: socket.socket) -> None:
        """Answer some of the questions that wait."""
        for _ in range(_AT_A_TURN):
            try:
                question, told, _, source = sock.recvmsg(_LONGEST_QUESTION, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return
            answered = answer(question, self._look(), _received(told), time.time_ns())
            if answered is not None:
                with contextlib.suppress(OSError):  # the guest has just left: it asks again, if it is still there
                    sock.sendto(answered, source)

    def _look(self) -> Clock:
        """Return the state of the host's clock: not synchronised if the kernel does not tell, as below some filters."""
        try:
            return self._clock()
        except OSError as failure:
            if self._is_clock_known:  # it is told once
                log.warning("clock_unknown", extra={"error": str(failure)})
            self._is_clock_known = False
            return Clock(synchronised=False)


def _received(told: list[tuple[int, int, bytes]]) -> int:
    """Return when the kernel got a question, in Unix nanoseconds; now, if it does not say."""
    for level, kind, data in told:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(data) == _TIMESPEC.size:
            seconds, rest = _TIMESPEC.unpack(data)
            return int(seconds) * _NANOSECONDS + int(rest)
    return time.time_ns()
