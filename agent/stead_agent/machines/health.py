"""Whether running guests' QEMU answers, their disks do their requests, and their guest agents answer if there are some.

The counters of all guests' disks are read by one call to libvirt. Only about a disk without progress is QEMU asked, and
only guest agents that are connected are; each has a few seconds to answer. Nothing waits for this thread.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt

from stead_agent.machines import guest_agent
from stead_agent.machines.disk_progress import DiskProgress, Queue
from stead_agent.machines.domain_xml import is_machine_id, volume_of
from stead_agent.machines.interface import MachineError, MachineStatus
from stead_agent.machines.monitor import MonitorError, execute
from stead_agent.machines.waiting import Asker, seconds_waiting

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 20.0
HUNG_SECONDS: Final = 60.0
"""For how long QEMU leaves a question unanswered until that is an impairment."""
PING_SECONDS: Final = 60.0
"""How often a guest agent is asked."""
MISSED_PINGS: Final = 3
"""So many unanswered questions in succession are an impairment: one only shows that a guest is busy."""
_PINGING_SECONDS: Final = 10.0  # in one look: with many guests that do not answer, each is asked less often
_STATS: Final = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BLOCK
_STATS_FLAGS: Final = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)
_MOST_QUEUES: Final = 1024
# The first unanswered question after an answer, and those after it.
_SILENT: Final = {libvirt.VIR_ERR_AGENT_COMMAND_TIMEOUT, libvirt.VIR_ERR_AGENT_UNRESPONSIVE}


@dataclass(frozen=True, slots=True)
class _Device:
    """A volume among a guest's disks, and the name of its device in QEMU."""

    volume_id: str
    alias: str


@dataclass(slots=True)
class _Guest:
    """What is known of a running guest."""

    number: int  # libvirt's, another one with each start
    targets: frozenset[str]
    devices: dict[str, _Device]  # by target
    disks: dict[str, DiskProgress] = field(default_factory=dict)  # by volume
    stalled: frozenset[str] = frozenset()
    missed: int = 0  # pings in succession
    pinged_at: float = float("-inf")
    answered_at: float = 0.0  # Unix seconds: the last answer, or the first question

    @property
    def silent_since(self) -> float:
        """Return since when its agent has not answered, in Unix seconds; 0 when it does, or it has none."""
        return self.answered_at if self.missed >= MISSED_PINGS else 0.0


class GuestHealth:
    """Looks at the guests of one agent, in a thread of its own once it is started."""

    def __init__(
        self,
        connection: Callable[[], Any],
        is_ours: Callable[[str], bool],
        notify: Callable[[str], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store how libvirt is reached, whose guests these are, and whom to notify of changes."""
        self._connection = connection
        self._is_ours = is_ours
        self._notify = notify
        self._now = now
        self._asker = Asker()
        self._lock = threading.Lock()  # guards the next three
        self._guests: dict[str, _Guest] = {}
        self._hung: dict[str, float] = {}  # Unix seconds: since when QEMU has not answered
        self._failures: Counter[tuple[str, str]] = Counter()  # events of failed requests, by machine and device
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guest-health", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a look that waits for a guest is not waited for."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(guest_agent.ANSWER_SECONDS)

    def listeners(self) -> Mapping[int, Callable[..., None]]:
        """Return what to call at events of domains, by their ids in libvirt; they may not be blocked."""
        return {libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON: self._on_io_error}

    def hung_since(self, machine_id: str) -> float:
        """Return since when a running guest's QEMU has not answered, in Unix seconds; 0 when it does."""
        with self._lock:
            return self._hung.get(machine_id, 0.0)

    def forget_hung(self, machine_id: str) -> None:
        """Forget that a guest's QEMU does not answer: it has ended."""
        with self._lock:
            self._hung.pop(machine_id, None)

    def complete(self, status: MachineStatus, number: int) -> MachineStatus:
        """Add what is known of a running guest, by libvirt's number of it, to its status."""
        status = replace(status, hung_since=int(self.hung_since(status.id)))
        with self._lock:
            guest = self._guests.get(status.id)
        if guest is None or guest.number != number:
            return status
        return replace(status, stalled=guest.stalled & status.volume_ids, agent_silent_since=int(guest.silent_since))

    # -- called by libvirt's event loop

    def _on_io_error(
        self, _live: Any, domain: Any, _path: str, alias: str, action: int, _reason: str, _opaque: Any
    ) -> None:
        """Count a failed request that was reported to the guest; if it paused the guest, its disk is full."""
        if action == libvirt.VIR_DOMAIN_EVENT_IO_ERROR_REPORT:
            with self._lock:
                self._failures[domain.name(), alias] += 1

    # -- the thread

    def _run(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self.look()
            except (MachineError, libvirt.libvirtError) as error:
                _log.warning("guests_not_looked_at", extra={"error": str(error)})
            except Exception:  # a fault with one guest must not end the thread of all others
                _log.exception("look_failed")

    def look(self) -> None:
        """Look at all running guests once, and notify of those whose health has changed.

        The QEMU of one that is paused, or has shut down and is about to end, may hang as well; the rest is not theirs.
        """
        connection = self._connection()
        found = self._asker.ask(partial(connection.getAllDomainStats, _STATS, _STATS_FLAGS))
        if found is None:  # the QEMU of some guest does not answer: of which, each one's state tells
            active = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            found = [(domain, {}) for domain in active]
        ours = {
            domain.name(): (domain, stats)
            for domain, stats in found
            if is_machine_id(domain.name()) and (domain.name() in self._guests or self._is_ours(domain.name()))
        }
        running = {machine_id: each for machine_id, each in ours.items() if _may_run(each[1])}
        with self._lock:
            for machine_id in self._guests.keys() - running.keys():
                del self._guests[machine_id]
            for key in [key for key in self._failures if key[0] not in ours]:
                del self._failures[key]
            for machine_id in self._hung.keys() - ours.keys():
                del self._hung[machine_id]
        waiting = {machine_id: _waiting(domain, stats) for machine_id, (domain, stats) in ours.items()}
        changed = {machine_id for machine_id, seconds in waiting.items() if self._note_waiting(machine_id, seconds)}
        changed |= {machine_id for machine_id, (domain, stats) in running.items() if self._look_at(domain, stats)}
        changed |= self._ping(
            {machine_id: domain for machine_id, (domain, _) in running.items() if not waiting[machine_id]}
        )
        for machine_id in sorted(changed):
            self._notify(machine_id)

    def _note_waiting(self, machine_id: str, seconds: float) -> bool:
        """Note for how long QEMU has not answered; tell whether it hangs now and did not before, or the other way."""
        was, hangs = machine_id in self._hung, seconds >= HUNG_SECONDS
        if was == hangs:
            return False
        with self._lock:
            if hangs:
                self._hung[machine_id] = time.time() - seconds
            else:
                self._hung.pop(machine_id, None)
        _log.warning("qemu_hangs" if hangs else "qemu_answers", extra={"machine": machine_id})
        return True

    def _look_at(self, domain: Any, stats: Mapping[str, Any]) -> bool:
        """Look at the disks of one guest; tell whether one is impaired that was not, or the other way round."""
        counters = _succeeded(stats)
        if not counters:  # libvirt is busy with it
            return False
        machine_id, now = domain.name(), self._now()
        try:
            guest = self._known(domain, frozenset(counters))
            for target, device in guest.devices.items():
                with self._lock:
                    failures = self._failures[machine_id, device.alias]
                disk = guest.disks.setdefault(device.volume_id, DiskProgress(counters[target], failures))
                if disk.look(counters[target], failures, now):
                    queues = self._asker.ask(partial(_queues, domain, device.alias))
                    if queues is not None:
                        disk.note_queues(queues, now)
        except (MonitorError, libvirt.libvirtError) as error:  # it has just ended, or released the disk
            _log.info("guest_not_looked_at", extra={"machine": machine_id, "error": str(error)})
            return False
        stalled = frozenset(volume_id for volume_id, disk in guest.disks.items() if disk.is_stalled(now))
        before, guest.stalled = guest.stalled, stalled
        for volume_id in stalled ^ before:
            _log.warning(
                "disk_stalled" if volume_id in stalled else "disk_goes_on",
                extra={"machine": machine_id, "volume": volume_id},
            )
        return stalled != before

    def _known(self, domain: Any, targets: frozenset[str]) -> _Guest:
        """Return what is known of a guest; its definition is read again only if it has other disks, or is another."""
        machine_id, number = domain.name(), domain.ID()
        guest = self._guests.get(machine_id)
        if guest is not None and guest.number == number and guest.targets == targets:
            return guest
        devices = {target: device for target, device in _devices(domain.XMLDesc(0)).items() if target in targets}
        if guest is None or guest.number != number:
            guest = _Guest(number, targets, devices)
        else:
            gone = guest.disks.keys() - {each.volume_id for each in devices.values()}
            guest.targets, guest.devices = targets, devices
            guest.disks = {each: disk for each, disk in guest.disks.items() if each not in gone}
        with self._lock:
            self._guests[machine_id] = guest
        return guest

    # -- guest agents

    def _ping(self, domains: Mapping[str, Any]) -> set[str]:
        """Ask the guest agents that are due, those that were not asked for longest first; return which changed."""
        now, changed = self._now(), set()
        due = [name for name in domains if name in self._guests and now - self._guests[name].pinged_at >= PING_SECONDS]
        for machine_id in sorted(due, key=lambda name: self._guests[name].pinged_at):
            guest = self._guests[machine_id]
            if self._closed.is_set() or self._now() - now >= _PINGING_SECONDS:
                break
            was_silent = guest.silent_since
            guest.pinged_at = self._now()
            guest.answered_at = guest.answered_at or time.time()
            if _answers(domains[machine_id]):
                guest.missed, guest.answered_at = 0, time.time()
            else:
                guest.missed += 1
            if guest.silent_since != was_silent:
                changed.add(machine_id)
                _log.warning(
                    "guest_agent_silent" if guest.silent_since else "guest_agent_answers",
                    extra={"machine": machine_id},
                )
        return changed


def _answers(domain: Any) -> bool:
    """Ask a guest's agent to answer; one that is not connected, so that there may be none, counts as answering."""
    try:
        if not guest_agent.is_connected(domain):
            return True
        guest_agent.ask(domain, "guest-ping")
    except libvirt.libvirtError as error:
        return error.get_error_code() not in _SILENT or not _is_connected(domain)
    return True


def _is_connected(domain: Any) -> bool:
    """Tell whether a guest's agent is still connected: it may have ended while it was asked."""
    try:
        return guest_agent.is_connected(domain)
    except libvirt.libvirtError:  # the guest has ended
        return False


def _devices(domain_xml: str) -> dict[str, _Device]:
    """Return the volumes among the disks of a running domain, by libvirt's names of their targets."""
    found = {}
    for disk in ET.fromstring(domain_xml).iterfind("devices/disk"):  # noqa: S314 (libvirt's own)
        target, alias, volume_id = disk.find("target"), disk.find("alias"), volume_of(disk.findtext("serial", ""))
        if target is not None and alias is not None and volume_id is not None:
            found[target.get("dev", "")] = _Device(volume_id, alias.get("name", ""))
    return found


def _may_run(stats: Mapping[str, Any]) -> bool:
    """Tell whether a guest runs, as far as is known: no state is known when the QEMU of some guest does not answer."""
    return bool(stats.get("state.state", libvirt.VIR_DOMAIN_RUNNING) == libvirt.VIR_DOMAIN_RUNNING)


def _succeeded(stats: Mapping[str, Any]) -> dict[str, int]:
    """Return the reads, writes and flushes that have succeeded, by the targets of the disks."""
    found: dict[str, int] = {}
    for number in range(stats.get("block.count", 0)):
        names = [f"block.{number}.{kind}.reqs" for kind in ("rd", "wr", "fl")]
        if stats.keys() >= set(names):  # not when libvirt was busy with the guest
            found[stats[f"block.{number}.name"]] = sum(int(stats[name]) for name in names)
    return found


def _waiting(domain: Any, stats: Mapping[str, Any]) -> float:
    """Return for how many seconds a guest's QEMU has not answered; one with counters of its disks has just done so."""
    try:
        return 0.0 if _succeeded(stats) else seconds_waiting(domain)
    except libvirt.libvirtError:  # it has just ended
        return 0.0


def _queues(domain: Any, alias: str) -> list[Queue]:
    """Ask QEMU about all queues of a disk; raises MonitorError when it has none any more."""
    path = f"/machine/peripheral/{alias}/virtio-backend"
    count = int(execute(domain, "qom-get", {"path": path, "property": "num-queues"}))
    status = partial(execute, domain, "x-query-virtio-queue-status")
    found = [status({"path": path, "queue": number}) for number in range(min(count, _MOST_QUEUES))]
    return [Queue(int(seen["inuse"]), int(seen["used-idx"])) for seen in found]
