"""The thread that serves all guests: it accepts and watches connections, and no guest can block the others.

Written instead of using aiohttp or an asyncio.Protocol: IMDS clients open a connection for each request, and that
costs 52-75 us of CPU time here, 97-130 as asyncio.Protocol, 145-150 with aiohttp. It also needs what those hide: the
TTL of an answer, fair turns between guests, bounds on everything. Its own thread, because the agent's event loop is
sometimes busy with other work.
"""

import heapq
import itertools
import logging
import os
import queue
import resource
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from stead_agent.metadata.connection import Connection, Waits
from stead_agent.metadata.connection_filter import shut_out
from stead_agent.metadata.http import Request, Response
from stead_agent.metadata.request_pacing import RequestPacing

log = logging.getLogger(__name__)

# Per guest. P17 requires 1,024 requests per second; anything above that costs the guest's neighbours.
RATE: Final = 1152.0
BURST: Final = 1024
BUNCH_SECONDS: Final = 0.003  # less than P17's p99; a full guest costs a neighbour 3 % of its p50, without bunches 7 %
MAX_CONNECTIONS: Final = 64

# How long the kernel drops connection attempts of a guest with too many connections. For a guest above its rate, this
# time refills no tokens: else a flood would still get its full rate, all at once when it is admitted again.
SHUT_OUT_SECONDS: Final = 0.25

_ACCEPTS_PER_ROUND: Final = 16  # of one listening socket, before other sockets are checked
_STEPS_PER_ROUND: Final = 8  # of connections, before other sockets are checked
_SWEEP_SECONDS: Final = 0.25
_INTEREST: Final = {Waits.BYTES: select.EPOLLIN, Waits.ROOM: select.EPOLLOUT, Waits.DELAY: 0}

# The client: the VPC in whose namespace the connection arrived, and the source address.
Peer = tuple[str, str]


@dataclass(slots=True)
class _Share:
    """The resources that one guest uses at the moment."""

    pacing: RequestPacing = field(default_factory=lambda: RequestPacing(RATE, BURST, BUNCH_SECONDS))
    open: dict[int, "_Open"] = field(default_factory=dict)  # by file descriptor, the oldest first
    ready: deque["_Open"] = field(default_factory=deque)  # those that can do their next step
    new: int = 0  # number of open ones that have not done their first step; they have taken their turns


@dataclass(slots=True, eq=False)
class _Open:
    """An accepted connection, its guest and its listener."""

    number: int
    connection: Connection
    share: _Share
    listener: "_Listener"
    address: str
    interest: int = -1  # the events that epoll watches for; -1: not registered yet
    is_new: bool = True
    is_ready: bool = False
    event: int | None = None  # the epoll event that made it ready; None: its turn has come


@dataclass(slots=True)
class _Listener:
    """A listening socket in a VPC's namespace."""

    vpc_id: str
    sock: socket.socket
    paused: bool = False  # until the next sweep, because accepting failed
    shut_out: dict[str, float] = field(default_factory=dict)  # addresses, and until when (monotonic seconds)


class Server:
    """Serves connections of many listening sockets in one thread.

    `identify` names the guest behind a peer (any stable text), so that its addresses share one rate limit; `answer`
    answers a request of a peer. Both are called in the server's thread and must not block.
    """

    def __init__(self, identify: Callable[[Peer], str], answer: Callable[[Peer, Request], Response]) -> None:
        self._identify = identify
        self._answer = answer
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._orders: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = queue.SimpleQueue()
        self._listeners: dict[int, _Listener] = {}
        self._open: dict[int, _Open] = {}
        self._shares: dict[tuple[str, str], _Share] = {}
        self._busy: deque[_Share] = deque()  # those with something ready, each once
        self._delayed: list[tuple[float, int, _Open]] = []
        self._delay_numbers = itertools.count()
        self._next_sweep = 0.0
        self._ending = False
        self._max_open = min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._thread = threading.Thread(target=self._run, name="metadata", daemon=True)
        self._thread.start()

    # For other threads.

    def listen(self, vpc_id: str, sock: socket.socket) -> None:
        """Accept connections of a VPC from a listening socket, which the server owns from now on."""
        self._order(lambda: self._add_listener(vpc_id, sock))

    def unlisten(self, vpc_id: str) -> None:
        """Close all sockets of a VPC; when it returns, none keeps the VPC's namespace alive."""
        self._order(lambda: self._drop_vpc(vpc_id))

    def close(self) -> None:
        """Close all sockets and end the thread."""
        if self._ending:
            return
        self._order(self._end)
        self._thread.join()
        self._epoll.close()
        os.close(self._wake)

    def _order(self, what: Callable[[], None]) -> None:
        """Run a function in the server's thread and wait until it is done."""
        done: Future[None] = Future()
        self._orders.put((what, done))
        os.eventfd_write(self._wake, 1)
        done.result(timeout=10)

    # In the server's thread.

    def _run(self) -> None:
        """Serve until `close` is called.

        Ready guests are served round-robin, one step each, however many of a guest's connections are ready.
        """
        while not self._ending:
            events = self._epoll.poll(self._patience(time.monotonic()))
            now = time.monotonic()
            for number, event in events:
                if number == self._wake:
                    self._obey()
                elif number in self._listeners:
                    self._accept_some(self._listeners[number], now)
                elif (opened := self._open.get(number)) and opened.interest >= 0:  # else a new one's number
                    self._make_ready(opened, event)
            self._queue_due(now)
            for _ in range(min(_STEPS_PER_ROUND, len(self._busy))):
                self._serve_next(now)
            if now >= self._next_sweep:
                self._sweep(now)

    def _patience(self, now: float) -> float:
        """Return how long to wait for events, in seconds; -1 = forever."""
        if self._busy:
            return 0
        times = [self._delayed[0][0]] if self._delayed else []
        if self._shares or any(listener.paused or listener.shut_out for listener in self._listeners.values()):
            times.append(self._next_sweep)
        return max(0.0, min(times) - now) if times else -1

    def _obey(self) -> None:
        """Run the functions that other threads have queued."""
        os.eventfd_read(self._wake)
        while not self._orders.empty():
            what, done = self._orders.get()
            try:
                what()
            except Exception as failure:  # belongs to the thread that queued it
                done.set_exception(failure)
            else:
                done.set_result(None)

    def _add_listener(self, vpc_id: str, sock: socket.socket) -> None:
        """Watch a listening socket."""
        self._epoll.register(sock, select.EPOLLIN)
        self._listeners[sock.fileno()] = _Listener(vpc_id, sock)

    def _drop_vpc(self, vpc_id: str) -> None:
        """Close the listening sockets and connections of a VPC."""
        for number, listener in list(self._listeners.items()):
            if listener.vpc_id == vpc_id:
                del self._listeners[number]
                listener.sock.close()
        for opened in [opened for opened in self._open.values() if opened.listener.vpc_id == vpc_id]:
            self._forget(opened)
        self._shares = {key: share for key, share in self._shares.items() if key[0] != vpc_id}

    def _end(self) -> None:
        """Close everything."""
        self._ending = True
        for vpc_id in {listener.vpc_id for listener in self._listeners.values()}:
            self._drop_vpc(vpc_id)

    def _accept_some(self, listener: _Listener, now: float) -> None:
        """Accept some of the waiting connections; the first request has usually arrived already."""
        for _ in range(_ACCEPTS_PER_ROUND):
            try:
                sock, source = listener.sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue  # the client has closed
            except OSError as failure:  # no file descriptors or memory: the rest waits in the kernel's queue
                log.warning("metadata_accept_failed", extra={"vpc_id": listener.vpc_id, "error": str(failure)})
                listener.paused = True
                self._epoll.modify(listener.sock, 0)
                return
            self._begin(listener, sock, source[0], now)

    def _begin(self, listener: _Listener, sock: socket.socket, address: str, now: float) -> None:
        """Register a new connection; or close it when its guest, or the server, has reached its maximum."""
        peer = (listener.vpc_id, address)
        key = (listener.vpc_id, self._identify(peer))
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share()
        if not self._has_room(share, now):
            sock.close()
            self._shut_out(listener, address, share, now)
            return
        sock.setblocking(False)
        connection = Connection(sock, share.pacing, lambda request: self._answer(peer, request))
        opened = _Open(sock.fileno(), connection, share, listener, address)
        self._open[opened.number] = share.open[opened.number] = opened
        share.new += 1
        if connection.opened(now) > 0:
            self._await_delay(opened, now)
        else:
            self._make_ready(opened, None)

    @staticmethod
    def _shut_out(listener: _Listener, address: str, share: _Share, now: float) -> None:
        """Have the kernel drop a guest's further connection attempts for a moment."""
        if address not in listener.shut_out:
            listener.shut_out[address] = now + SHUT_OUT_SECONDS
            if share.pacing.next_in(now) > 0:
                share.pacing.hold(now + SHUT_OUT_SECONDS)
            shut_out(listener.sock, listener.shut_out)

    def _has_room(self, share: _Share, now: float) -> bool:
        """Tell whether a guest may have one more connection; if necessary, close an idle one, or another guest's."""
        if share.pacing.next_in(now) > MAX_CONNECTIONS / RATE:
            return False  # opens and drops them faster than its rate limit allows
        if self._has_many(share) and not self._close_idle(share.open):
            return False
        return len(self._open) < self._max_open or self._close_idle(self._open) or self._take_from_largest(share)

    @staticmethod
    def _has_many(share: _Share) -> bool:
        """Tell whether a guest has its maximum number of connections.

        New ones do not count: most are answered and closed in one step.
        """
        return len(share.open) - share.new >= MAX_CONNECTIONS

    def _take_from_largest(self, share: _Share) -> bool:
        """Close the oldest connection of the guest that has most, unless this guest would then have as many."""
        largest = max(self._shares.values(), key=lambda each: len(each.open))
        if len(largest.open) <= len(share.open) + 1:
            return False
        self._forget(next(iter(largest.open.values())))
        return True

    def _close_idle(self, among: dict[int, _Open]) -> bool:
        """Close one of the oldest connections that is idle; False = none was found."""
        for opened in itertools.islice(among.values(), MAX_CONNECTIONS):
            if opened.connection.idle and not opened.is_ready:
                self._forget(opened)
                return True
        return False

    def _make_ready(self, opened: _Open, event: int | None) -> None:
        """Queue a connection's next step: for an epoll event, or because its turn has come (None)."""
        opened.event = event
        if not opened.is_ready:
            opened.is_ready = True
            if not opened.share.ready:
                self._busy.append(opened.share)
            opened.share.ready.append(opened)

    def _serve_next(self, now: float) -> None:
        """Run one step of the next guest with a ready connection."""
        share = self._busy.popleft()
        opened = share.ready.popleft()
        if share.ready:
            self._busy.append(share)
        opened.is_ready = False
        if self._open.get(opened.number) is opened:
            self._go_on(opened, now)

    def _go_on(self, opened: _Open, now: float) -> None:
        """Run a connection's next step."""
        connection, event, share = opened.connection, opened.event, opened.share
        is_one_too_many = opened.is_new and self._has_many(share) and not self._close_idle(share.open)
        self._count_open(opened)
        try:
            if event is None:
                waits = connection.delay_ended(now)
                if is_one_too_many and waits is not Waits.CLOSED:
                    self._shut_out(opened.listener, opened.address, share, now)
                    waits = Waits.CLOSED
            elif opened.interest == 0:
                waits = Waits.CLOSED  # it was waiting for its turn, and the client is gone
            else:
                waits = connection.readable(now) if opened.interest == select.EPOLLIN else connection.writable(now)
            if waits is not Waits.CLOSED:
                self._watch(opened, _INTEREST[waits])
        except Exception:  # a bug of ours: it may cost this connection, but not all guests their metadata
            log.exception("metadata_connection_failed", extra={"vpc_id": opened.listener.vpc_id})
            waits = Waits.CLOSED
        if waits is Waits.CLOSED:
            self._forget(opened)
        elif waits is Waits.DELAY:
            self._await_delay(opened, now)

    def _await_delay(self, opened: _Open, now: float) -> None:
        """Continue a connection when its turn has come."""
        self._count_open(opened)
        self._watch(opened, 0)
        heapq.heappush(self._delayed, (now + opened.connection.delay, next(self._delay_numbers), opened))

    @staticmethod
    def _count_open(opened: _Open) -> None:
        """Count a connection towards its guest's maximum, from its first step on."""
        if opened.is_new:
            opened.is_new = False
            opened.share.new -= 1

    def _watch(self, opened: _Open, interest: int) -> None:
        """Have epoll watch for the events that a connection waits for."""
        if opened.interest < 0:
            self._epoll.register(opened.number, interest)
        elif opened.interest != interest:
            self._epoll.modify(opened.number, interest)
        opened.interest = interest

    def _forget(self, opened: _Open) -> None:
        """Close a connection; closing a file also removes it from epoll."""
        del self._open[opened.number]
        del opened.share.open[opened.number]
        self._count_open(opened)
        opened.connection.close()

    def _queue_due(self, now: float) -> None:
        """Queue the connections whose turn has come."""
        while self._delayed and self._delayed[0][0] <= now:
            opened = heapq.heappop(self._delayed)[2]
            if self._open.get(opened.number) is opened:
                self._make_ready(opened, None)

    def _sweep(self, now: float) -> None:
        """Close connections past their deadline, forget guests without recent requests, end expired blocks."""
        self._next_sweep = now + _SWEEP_SECONDS
        for opened in [opened for opened in self._open.values() if opened.connection.deadline < now]:
            self._forget(opened)
        self._shares = {key: share for key, share in self._shares.items() if share.open or not share.pacing.rested(now)}
        for listener in self._listeners.values():
            if listener.paused:
                listener.paused = False
                self._epoll.modify(listener.sock, select.EPOLLIN)
            still = {address: until for address, until in listener.shut_out.items() if until > now}
            if len(still) < len(listener.shut_out):
                listener.shut_out = still
                shut_out(listener.sock, still)
