"""Watches kernel events for changes of links, addresses, routes, rules, neighbours or nftables in a namespace.

Two netlink sockets in each namespace, one thread for all. Changes by the agent itself in a VPC's namespace are ignored
(`own`); its changes in the host's cause one unnecessary comparison. A change by another program during one of ours is
found by the full comparison, each minute.
"""

import contextlib
import ctypes
import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from stead_agent.logs import Log
from stead_agent.network.interface import Touched
from stead_agent.network.kernel_objects import Place
from stead_agent.network.namespaces import ENDPOINT_PREFIX, GATEWAY_PREFIX, INTERFACE_PREFIX, Namespaces
from stead_agent.network.notices import EVERYTHING, GROUPS, HOST, HostNotices, Mark
from stead_agent.network.rtnetlink import with_kernel

_log = Log(__name__)

SETTLE_SECONDS: Final = 0.5
"""Delay between a change and its check: most changes come in groups, and a tap is created switched off."""
PAUSE_SECONDS: Final = 3.0
"""Minimum time between two reports of the same VPC."""

_NETFILTER: Final = 12  # NETLINK_NETFILTER
_SOL_NETLINK, _ADD_MEMBERSHIP, _BUFFER_BY_FORCE = 270, 1, 33  # linux/netlink.h; SO_RCVBUFFORCE
_NFTABLES_GROUP: Final = 7  # NFNLGRP_NFTABLES
_NEW_GENERATION: Final = (10 << 8) | 15  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN: the end of each transaction
_ATTACH_FILTER: Final = 26  # SO_ATTACH_FILTER
_BUFFER: Final = 1 << 20
_OWN_RULES: Final = (ENDPOINT_PREFIX, GATEWAY_PREFIX, INTERFACE_PREFIX)
_RECEIVE: Final = 1 << 17


@dataclass(slots=True)
class _Place:
    """The sockets of one namespace."""

    vpc_id: str  # HOST for the host's
    identity: int | None
    links: socket.socket
    rules: socket.socket
    has_own_rules: bool = False  # of a NAT gateway or an endpoint: its rules are managed by the network
    own_works: int = 0

    def close(self) -> None:
        self.links.close()
        self.rules.close()


@dataclass(slots=True)
class Marks:
    """Changes by other programs since the last report: their kind, what changed, and since when."""

    links: dict[str, float] = field(default_factory=dict)
    rules: dict[str, float] = field(default_factory=dict)
    taps: dict[str, float] = field(default_factory=dict)
    reported: dict[str, float] = field(default_factory=dict)

    def next_time(self) -> float | None:
        """Return when the next report is due."""
        marked = (self.links, self.rules, self.taps)
        return min((self._due(name, since) for marks in marked for name, since in marks.items()), default=None)

    def _due(self, name: str, since: float) -> float:
        return max(since + SETTLE_SECONDS, self.reported.get(name, 0.0) + PAUSE_SECONDS)

    def take(self, now: float, vpc_of_tap: Callable[[str], str | None]) -> Touched:
        """Remove and return what is due."""
        links = self._taken(self.links, now)
        if links and self.links.pop(HOST, None) is not None:
            links.add(HOST)  # VPCs' objects on the host depend on it
        vpcs = {tap: vpc for tap in self._taken(self.taps, now) if (vpc := vpc_of_tap(tap)) is not None}
        rules = frozenset(self._taken(self.rules, now))
        return Touched(frozenset(links.union(vpcs.values())), rules, frozenset(vpcs))

    def _taken(self, marks: dict[str, float], now: float) -> set[str]:
        due = {name for name, since in marks.items() if self._due(name, since) <= now}
        for name in due:
            del marks[name]
            self.reported[name] = now
        return due


class Watch:
    """All of a host's namespaces; starts its thread with the first subscriber."""

    def __init__(self, namespaces: Namespaces, vpc_of_tap: Callable[[str], str | None]) -> None:
        """`vpc_of_tap` returns the VPC of a guest's tap, None when there is no such guest here."""
        self._namespaces = namespaces
        self._vpc_of_tap = vpc_of_tap
        self._report: Callable[[Touched], None] | None = None
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}  # by the namespace's name, "" = the host's
        self._by_descriptor: dict[int, str] = {}
        self._host = HostNotices()
        self._marks = Marks()
        self._poll = select.epoll()
        self._end = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._end, select.EPOLLIN)
        self._thread: threading.Thread | None = None

    def start(self, report: Callable[[Touched], None]) -> None:
        """Call `report`, from another thread, with changes by other programs, from now on."""
        self._report = report
        with self._lock:
            self._open(HOST, HOST)
        # Names from before the socket was opened are read here, later ones come in messages.
        for link in with_kernel(self._namespaces, None, lambda kernel: kernel.links(Place.HOST)):
            self._host.links.setdefault(link.index, (link.name, link.alias))
        self._thread = threading.Thread(target=self._run, name="network watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; returns when no report is running. Must not be called from a report."""
        os.eventfd_write(self._end, 1)
        if self._thread is not None:
            self._thread.join()
        self._report = None
        with self._lock:
            for name in list(self._places):
                self._close(name)

    def follow(self, vpc_id: str, names: AbstractSet[str]) -> None:
        """Watch exactly these namespaces of a VPC: its own and those of its NAT gateways and endpoints."""
        if self._report is None:
            return
        with self._lock:
            for name, place in list(self._places.items()):
                if place.vpc_id == vpc_id and (name not in names or place.identity != self._namespaces.identity(name)):
                    self._close(name)
            for name in names - self._places.keys():
                self._open(name, vpc_id)
            if not names:
                for marks in (self._marks.links, self._marks.rules, self._marks.reported):
                    marks.pop(vpc_id, None)

    @contextlib.contextmanager
    def own(self, name: str) -> Iterator[None]:
        """Treat what happens in a namespace inside this context as our own work."""
        with self._lock:
            self._set_own(name, 1)
        try:
            yield
        finally:
            with self._lock:
                self._set_own(name, -1)

    def _set_own(self, name: str, change: int) -> None:
        place = self._places.get(name)
        if place is None or (place.own_works == 0 and change < 0):
            return  # it was opened in the meantime
        if change > 0 and place.own_works == 0:
            self._read(place)  # events from before are other programs' changes
            self._poll.modify(place.links, 0)
        place.own_works += change
        if place.own_works == 0:
            _drain(place.links)
            self._poll.modify(place.links, select.EPOLLIN)

    def _open(self, name: str, vpc_id: str) -> None:
        identity = self._namespaces.identity(name) if name else None
        if name and identity is None:
            return  # it is being created or removed; `follow` is called again after that
        links, rules = self._namespaces.inside(name or None, _sockets)
        self._places[name] = _Place(vpc_id, identity, links, rules, name.startswith(_OWN_RULES))
        for opened in (links, rules):
            self._poll.register(opened, select.EPOLLIN)
            self._by_descriptor[opened.fileno()] = name

    def _close(self, name: str) -> None:
        place = self._places.pop(name)
        for opened in (place.links, place.rules):
            del self._by_descriptor[opened.fileno()]
        place.close()

    # -- the thread

    def _run(self) -> None:
        while True:
            with self._lock:
                due = self._marks.next_time()
            events = self._poll.poll(None if due is None else max(0.0, due - time.monotonic()))
            if any(descriptor == self._end for descriptor, _ in events):
                return
            with self._lock:
                for descriptor, _ in events:
                    name = self._by_descriptor.get(descriptor)
                    if name is not None:
                        self._read(self._places[name])
                touched = self._marks.take(time.monotonic(), self._vpc_of_tap)
            if touched.links or touched.rules:
                self._notify(touched)

    def _notify(self, touched: Touched) -> None:
        if self._report is None:
            raise AssertionError("no callback is set")
        self._report(touched)

    def _read(self, place: _Place) -> None:
        """Record the events on a namespace's sockets, unless they are our own."""
        now = time.monotonic()
        for kind, opened in (("rules", place.rules), ("links", place.links)):
            if kind == "links" and place.own_works:
                continue
            for buffer in _received(opened):
                if kind == "rules":
                    (self._marks.links if place.has_own_rules else self._marks.rules).setdefault(place.vpc_id, now)
                elif place.vpc_id != HOST or not buffer:
                    self._marks.links.setdefault(place.vpc_id, now)
                else:
                    for mark in self._host.read(buffer):
                        self._note(mark, now)

    def _note(self, mark: Mark, now: float) -> None:
        if mark.is_over:
            self._marks.taps.pop(mark.tap, None)
        elif mark.tap:
            self._marks.taps.setdefault(mark.tap, now)
        elif mark.vpc_id == EVERYTHING:
            for place in self._places.values():
                self._marks.links.setdefault(place.vpc_id, now)
        else:
            self._marks.links.setdefault(mark.vpc_id, now)


def _sockets() -> tuple[socket.socket, socket.socket]:
    """Open both sockets in the calling thread's namespace."""
    links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    rules = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    for opened, groups in ((links, GROUPS), (rules, (_NFTABLES_GROUP,))):
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, _BUFFER_BY_FORCE, _BUFFER)
        opened.bind((0, 0))
        if opened is rules:
            _accept_only(rules, _NEW_GENERATION)
        for group in groups:
            opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    return links, rules


def _accept_only(opened: socket.socket, kind: int) -> None:
    """Have the kernel deliver only messages of this type: a transaction of 10,000 elements is then one message.

    A classic BPF program (bpf(2), linux/filter.h); it loads numbers in network byte order, nlmsg_type is in the host's.
    """
    load_half, jump_if_equal, give = 0x28, 0x15, 0x06
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (load_half, 0, 0, 4),
            (jump_if_equal, 0, 1, socket.htons(kind)),
            (give, 0, 0, 0xFFFF_FFFF),
            (give, 0, 0, 0),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    opened.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", 4, ctypes.addressof(code)))


def _received(opened: socket.socket) -> Iterator[bytes]:
    """Return what was received; an empty buffer where messages were lost."""
    while True:
        try:
            yield opened.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield b""


def _drain(opened: socket.socket) -> None:
    for _ in _received(opened):
        pass
