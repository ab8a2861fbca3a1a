"""Probe guests by ARP or neighbour discovery, from their gateways in the namespaces of their VPCs.

One thread with one socket per subnet does it. The firewall lets a guest answer only for itself, and limits how often.
"""

import contextlib
import heapq
import itertools
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from stead_agent.logs import Log
from stead_agent.reachability import arp, ndp
from stead_agent.reachability.interface import Answers, Finding, Nic
from stead_agent.reachability.judgement import Watched
from stead_agent.reachability.wire import listening

_log = Log(__name__)

_FRAMES: Final = 256  # read from one socket at a time
_FRAME_BYTES: Final = 128  # of each: more than is ever parsed
_PAUSE: Final = 0.02  # between two reads: limits the cost of a subnet that floods


class Namespaces(Protocol):
    """The parts of the network's namespaces that are needed here."""

    def inside[T](self, vpc_id: str | None, work: Callable[[], T]) -> T:
        """Do `work` in a thread that is in the VPC's namespace; return its result."""


@dataclass(frozen=True, slots=True)
class _Discovery:
    """The protocol of one IP version: how an address is asked for, and how answers are read."""

    ethertype: int
    question: Callable[[str, str, str, str], bytes]
    speaker: Callable[[bytes], tuple[str, str] | None]
    program: tuple[bytes, ...] = ()  # of the socket's filter; none = all frames of the ethertype are read


_ARP: Final = _Discovery(arp.ETHERTYPE, arp.question, arp.speaker)
_NDP: Final = _Discovery(ndp.ETHERTYPE, ndp.question, ndp.speaker, ndp.FILTER)


@dataclass(slots=True)
class _Link:
    """A subnet's gateway: the guests that are probed there, by MAC and address, and the socket once it is open."""

    discovery: _Discovery
    guests: dict[tuple[str, str], str] = field(default_factory=dict)
    wire: socket.socket | None = None


class NeighbourProbes:
    """The `Reachability` of real hosts; its thread begins with the first guest."""

    def __init__(
        self, namespaces: Namespaces, now: Callable[[], float] = time.monotonic, longest_wait: float = 60.0
    ) -> None:
        """Probe no guest yet; `now` is monotonic, and is read after `longest_wait` real seconds at most."""
        self._namespaces = namespaces
        self._now = now
        self._longest_wait = longest_wait
        self._lock = threading.Lock()  # guards all below
        self._watched: dict[str, Watched] = {}
        self._links: dict[tuple[str, str, int], _Link] = {}  # by VPC, name and ethertype
        self._due: list[tuple[float, int, str, Watched]] = []
        self._order = itertools.count()
        self._callbacks: list[Callable[[str], None]] = []
        self._poll = select.epoll()
        self._open: dict[int, _Link] = {}  # by number of the socket
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._poll.register(self._woken.fileno(), select.EPOLLIN)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the interface

    def watch(self, machine_id: str, nic: Nic, start_count: int, *, fresh: bool) -> Finding:
        """Begin to probe a guest unless that is being done already, and return what is known."""
        with self._lock:
            watched = self._watched.get(machine_id)
            if watched is None or watched.start_count != start_count:
                answers = Answers.STARTING if fresh else Answers.UNKNOWN
                watched = self._begin(machine_id, Watched(nic, start_count, self._now(), answers))
            elif watched.nic != nic:
                watched = self._begin(machine_id, Watched(nic, start_count, self._now(), watched.answers))
            return Finding(watched.answers, watched.since)

    def forget(self, machine_id: str) -> None:
        """Stop probing; a subnet's socket, which keeps the namespace alive, is closed with its last guest."""
        with self._lock:
            self._drop(machine_id)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back on changes."""
        with self._lock:
            self._callbacks.append(callback)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._rouse()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for machine_id in list(self._watched):
                self._drop(machine_id)
        self._poll.close()
        self._woken.close()
        self._wake.close()

    # -- called with the lock held

    def _begin(self, machine_id: str, watched: Watched) -> Watched:
        self._drop(machine_id)
        nic = watched.nic
        self._watched[machine_id] = watched
        link = self._links.setdefault(_key(nic), _Link(_discovery(nic)))
        link.guests[nic.mac, nic.address] = machine_id
        heapq.heappush(self._due, (watched.began, next(self._order), machine_id, watched))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reachability", daemon=True)
            self._thread.start()
        self._rouse()
        return watched

    def _drop(self, machine_id: str) -> None:
        watched = self._watched.pop(machine_id, None)
        if watched is None:
            return
        nic = watched.nic
        link = self._links[_key(nic)]
        link.guests.pop((nic.mac, nic.address), None)
        if not link.guests:
            self._shut(self._links.pop(_key(nic)))

    def _shut(self, link: _Link) -> None:
        if link.wire is not None:
            del self._open[link.wire.fileno()]
            self._poll.unregister(link.wire.fileno())
            link.wire.close()
            link.wire = None

    def _ask(self, watched: Watched) -> None:
        """Send a probe; one that cannot be sent counts as unanswered.

        That happens while a link is recreated, or always if a MAC or an address is invalid.
        """
        nic = watched.nic
        link = self._links[_key(nic)]
        watched.asked()
        try:
            if link.wire is None:
                how = link.discovery
                link.wire = self._namespaces.inside(nic.vpc_id, lambda: listening(nic.link, how.ethertype, how.program))
                self._open[link.wire.fileno()] = link
                self._poll.register(link.wire.fileno(), select.EPOLLIN)
            link.wire.send(link.discovery.question(nic.mac, nic.address, nic.gateway_mac, nic.gateway_address))
        except (OSError, ValueError) as error:
            _log.debug("guest_not_asked", link=nic.link, reason=str(error))

    def _hear(self, link: _Link) -> set[str]:
        """Read the received frames; return the guests whose state changed."""
        heard: set[str] = set()
        wire = link.wire
        with contextlib.suppress(BlockingIOError):  # everything is read
            for _ in range(_FRAMES):
                said = link.discovery.speaker(wire.recv(_FRAME_BYTES)) if wire is not None else None
                machine_id = link.guests.get(said) if said is not None else None
                if machine_id is not None and self._watched[machine_id].answered(self._now()):
                    heard.add(machine_id)
        return heard

    # -- the thread

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                until = self._due[0][0] - self._now() if self._due else self._longest_wait
            events = self._poll.poll(min(max(until, 0.0), self._longest_wait))
            with self._lock:
                changed = self._read([number for number, _ in events])
                changed |= self._ask_who_is_due()
                callbacks = list(self._callbacks)
            for machine_id in sorted(changed):
                for callback in callbacks:
                    callback(machine_id)
            self._closed.wait(_PAUSE)

    def _read(self, numbers: list[int]) -> set[str]:
        changed: set[str] = set()
        for number in numbers:
            if number == self._woken.fileno():
                with contextlib.suppress(BlockingIOError):  # another read has taken it
                    self._woken.recv(4096)
            elif (link := self._open.get(number)) is not None:
                try:
                    changed |= self._hear(link)
                except OSError as error:
                    _log.debug("gateway_gone", reason=str(error))
                    self._shut(link)  # the next probe opens a new socket, on the link that exists then
        return changed

    def _ask_who_is_due(self) -> set[str]:
        changed: set[str] = set()
        now = self._now()
        while self._due and self._due[0][0] <= now:
            _, _, machine_id, watched = heapq.heappop(self._due)
            if self._watched.get(machine_id) is not watched:
                continue  # it is no longer probed, or elsewhere
            if watched.judge(now, time.time()):
                changed.add(machine_id)
            self._ask(watched)
            heapq.heappush(self._due, (now + watched.pause(now), next(self._order), machine_id, watched))
        return changed

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is already woken
            self._wake.send(b"!")


def _discovery(nic: Nic) -> _Discovery:
    return _NDP if ":" in nic.address else _ARP


def _key(nic: Nic) -> tuple[str, str, int]:
    return nic.vpc_id, nic.link, _discovery(nic).ethertype
