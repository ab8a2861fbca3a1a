"""Implements `interface.py` with libvirt.

Domains are persistent, so that libvirt still knows one that is off and why, and never autostart: after a host's reboot
the agent starts them again, when their network is there. What must outlive the agent is in each domain's metadata
(`life.py`); only console logs and UEFI guests' variables are files of ours.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

import libvirt

from stead_agent.disks.disk_users import uid_of
from stead_agent.machines import attach, devices, domains, life, records, screen, secrets, taps
from stead_agent.machines.boot_clock import Patience, boot_clock
from stead_agent.machines.chores import Chores
from stead_agent.machines.connection import Connection
from stead_agent.machines.console_log import ConsoleLogs
from stead_agent.machines.counters import GuestCounters
from stead_agent.machines.daemon_dirs import DaemonDirs
from stead_agent.machines.deadlines import Deadlines
from stead_agent.machines.direct_disks import DirectDisks
from stead_agent.machines.domain_xml import is_machine_id, render_domain, volume_of
from stead_agent.machines.domains import Domain, Domains
from stead_agent.machines.fair_semaphore import FairSemaphore
from stead_agent.machines.health import GuestHealth
from stead_agent.machines.hibernation import Hibernation, woken_xml
from stead_agent.machines.host_access import give_disk
from stead_agent.machines.interface import (
    DiskHome,
    MachineAbsentError,
    MachineError,
    MachineSpec,
    MachineStatus,
    MachinesUnavailableError,
    OffReason,
    Power,
)
from stead_agent.machines.joint_keeper import JointKeeper
from stead_agent.machines.preparation import Preparation
from stead_agent.machines.process_watch import ProcessWatch
from stead_agent.machines.processors import Processors, weigh
from stead_agent.machines.serial_port import open_port
from stead_agent.machines.waiting import Asker, power_off, seconds_waiting
from stead_proto.tls import Identity

_log = logging.getLogger(__name__)

_WHOLE: Final = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_AWAKE_SECONDS: Final = 5.0
_BUSY_SECONDS: Final = 0.05
_AGAIN_SECONDS: Final = 5.0  # until what libvirt refused is tried again
_HELD_SECONDS: Final = 5.0  # for QEMU to answer who holds a machine's lock, when the guest is to be off by then
_PRESS_SECONDS: Final = 2.0  # for QEMU to take a press of the power button; one that hangs takes it later, or never


class LibvirtMachines:
    """The virtual machines of one agent on one libvirt daemon."""

    def __init__(
        self,
        uri: str,
        state_dir: Path,
        *,
        owner: str,
        virtualization: Literal["kvm", "qemu"],
        revive: Callable[[], object] | None = None,
        starts_at_once: int = 4,
        shared_threads: str = "",
        patience: Patience | None = None,
        dirs: DaemonDirs | None = None,
        credentials: Callable[[str, int], Identity] | None = None,
    ) -> None:
        """Connect, and take over the machines that an earlier process with this `owner` made.

        `revive` is called before each try to reach a daemon that is away, and may start one. `shared_threads` are for
        guests without whole cores (empty: all). Without the `credentials` of attachments only proxies are used.
        """
        self._owner = owner
        self._dirs = dirs or DaemonDirs()
        self._patience = patience or Patience()
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._logs = ConsoleLogs(state_dir / "consoles")
        self._host = Preparation(state_dir, virtualization, self._dirs.runtime / "swtpm", shared_threads)
        self._releases = devices.Releases()
        self._hibernation = Hibernation(state_dir / "memories")
        self._starts = FairSemaphore(starts_at_once)
        self._locks: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()
        self._locks_lock = threading.Lock()
        self._callbacks: list[Callable[[str], None]] = []
        self._last: dict[str, MachineStatus] = {}
        self._pressed: dict[str, float] = {}
        self._deadlines = Deadlines()
        self._chores = Chores("machine-chores")
        self._button = Asker(_PRESS_SECONDS)
        self.direct = DirectDisks(partial(self.domain, lasting=True), credentials, self._dirs.state)
        self.processors = Processors(self.domain, self._dirs.runtime)
        self._processes = ProcessWatch(self._notify, self._dirs.runtime, state_dir / "awake")
        self._link = Connection(uri, on_event=self._on_event, on_link=self._on_link, revive=revive)
        self._domains = Domains(self._link.get, owner, self._boot_id, self._logs)
        self.health = GuestHealth(self._link.get, self._domains.is_ours, self._notify)
        self._domains.volumes_of_hung = self._volumes_of_hung
        self.joint = JointKeeper(self._link.get, state_dir / "joint-limits")
        self.counters = GuestCounters(self._link.get, self.processors.processor_time, self.joint.saved)
        self._link.start(self.health.listeners())
        self.health.start()
        self._chores.later(_AWAKE_SECONDS, self._stay_awake)

    def start(self, spec: MachineSpec, start_count: int, reboot_count: int = 0) -> MachineStatus:
        """Perform a start once."""
        done = self._started_already(spec.id, start_count)
        if done:
            return done
        with self._starts.held(), self._asking(spec.id):
            if done := self._started_already(spec.id, start_count):
                return done
            with self.joint.arranged(spec) as arranged:
                return self._start(arranged.spec, start_count, reboot_count)

    def update(self, spec: MachineSpec) -> frozenset[str]:
        """Attach and detach disks and nics of a running guest, and set limits of disks."""
        with self._asking(spec.id):
            found = self._domains.get(spec.id)
            if not found.view.active:
                return frozenset()
            if found.view.dead_nics:
                with self._processes.held(spec.id) as process:
                    taps.make_anew(found.handle, process, devices.plugged(found.handle).taps)
            live_xml = found.handle.XMLDesc(0)
            with self.joint.arranged(spec, live_xml) as arranged:
                todo = attach.changes(live_xml, arranged.spec)
                devices.limit(found.handle, (*arranged.limits, *todo.limits))
                self._plug(found, spec, todo)
            self._host.keep_apart(found.handle, spec)
            return frozenset(volume_of(device.subject) or device.subject for device in todo.detach)

    def stop(self, machine_id: str, *, force: bool = False, hasten: bool = False) -> MachineStatus:
        """Ask the guest to shut down, or power it off."""
        seconds = self._patience.until_off(hasten=hasten)
        self._end_within(machine_id, 0 if force else seconds)
        with self._asking(machine_id):
            found = self._domains.get(machine_id)
            if not found.view.active:
                return self._status(machine_id, found)
            force = force or self.health.hung_since(machine_id) > 0  # nobody is there to be asked
            due = 0 if force else boot_clock() + 1000 * seconds
            if force and seconds_waiting(found.handle):
                found = self._end_hung(found)
            if found.record.stop_asked_of != found.record.start_count or due < found.record.stop_due:
                found = domains.write(found, stop_asked_of=found.record.start_count, stop_due=due)
            if force:
                power_off(found.handle)
                return self._status(machine_id, self._domains.get(machine_id))
            self._press(machine_id, found)
            return self._status(machine_id, found)

    def hibernate(self, machine_id: str, encryption_key: bytes) -> MachineStatus:
        """Save the memory of the guest and end its process."""
        with self._asking(machine_id):
            found = self._domains.get(machine_id)
            if not found.view.active or found.view.starting:
                return self._status(machine_id, found)
            start = found.record.start_count
            if found.record.saved_of != start:
                self._hibernation.save(self._link.get(), found.handle, encryption_key)
                found = domains.write(found, saved_of=start, stop_asked_of=start, stop_due=0)
            power_off(found.handle)
            return self._status(machine_id, self._domains.get(machine_id))

    def reboot(self, machine_id: str, reboot_count: int) -> MachineStatus:
        """Perform a reboot once.

        The guest is asked before that is recorded: after a crash in between it is asked again, rather than not at all.
        """
        with self._asking(machine_id):
            found = self._domains.get(machine_id)
            if found.record.reboot_count >= reboot_count:
                return self._status(machine_id, found)
            if not found.view.active:
                return self._status(machine_id, domains.write(found, reboot_count=reboot_count))
            if found.record.reboot_asked < reboot_count:
                found.handle.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)
                due = boot_clock() + 1000 * self._patience.reboot
                found = domains.write(found, reboot_asked=reboot_count, reboot_due=due)
                self._chores.later(self._patience.reboot, partial(self._attend, machine_id))
            return self._status(machine_id, found)

    def remove(self, machine_id: str) -> None:
        """End the guest and remove everything of the machine."""
        self._end_within(machine_id, 0)
        with self._asking(machine_id):
            found = self._domains.find(machine_id)
            if found:
                if found.view.active and seconds_waiting(found.handle):
                    found = self._end_hung(found)
                if found.view.active:
                    power_off(domains.write(found, stop_asked_of=found.record.start_count, stop_due=0).handle)
                found.handle.undefineFlags(records.UNDEFINE_ALL)
            self._processes.forget(machine_id)
            self._logs.remove(machine_id)
            self.direct.forget(machine_id)
            self.joint.forget(machine_id)
            self._host.remove(machine_id)
            self._hibernation.forget(machine_id)
            self._dirs.clear(machine_id)
            self._last.pop(machine_id, None)
            self._pressed.pop(machine_id, None)
            self._deadlines.forget(machine_id)
            self._domains.unsure.discard(machine_id)

    def resize_disk(self, machine_id: str, volume_id: str, size: int) -> None:
        """Show a running guest its disk grown."""
        with self._asking(machine_id):
            found = self._domains.get(machine_id)
            has = devices.plugged(found.handle) if found.view.active else attach.Plugged({})
            if volume_id not in has.targets:
                raise MachineError(f"{machine_id}: has no {volume_id} plugged in")
            devices.grow(found.handle, has, volume_id, size, partial(self.direct.fall_back, found.handle, [volume_id]))
        self.direct.look_soon(machine_id)

    def reach_homes(self, machine_id: str, homes: Collection[DiskHome]) -> None:
        """Have a guest bypass the proxies for volumes of other hosts."""
        self.direct.want(machine_id, homes)

    def renew_credentials(self, authorities: bytes) -> bool:
        """Have guests reach homes by credentials of these authorities; tell whether all do."""
        return self.direct.renew(authorities, self.present)

    def cut_off(self, machine_id: str, volume_id: str) -> None:
        """Make all direct requests of a guest to a volume's home fail."""
        with self.domain(machine_id) as domain:
            if domain is not None:
                self.direct.cut_off(domain, volume_id)

    def resume(self, machine_id: str) -> None:
        """Resume a guest that was paused because a disk was full; the failed writes are repeated first."""
        with self._asking(machine_id):
            found = self._domains.get(machine_id)
            if found.view.state == life.State.PAUSED and found.view.reason == life.PAUSED_IO_ERROR:
                found.handle.resume()

    # Queries

    def status(self, machine_id: str) -> MachineStatus | None:
        """Return the status of the machine; while libvirt is away, derived from the last status and its process."""
        try:
            with self._link.translated(machine_id):
                found = self._domains.find(machine_id)
        except MachinesUnavailableError:
            return self._status_without_libvirt(machine_id)
        return self._status(machine_id, found) if found else None

    def present(self) -> frozenset[str]:
        """List all machines of this agent."""
        with self._link.translated("present"):
            return self._domains.present()

    def console_output(self, machine_id: str, last_bytes: int) -> bytes:
        """Return the end of what the guest wrote to its serial port."""
        status = self.status(machine_id)
        if status is None:
            raise MachineAbsentError(f"{machine_id} is not on this host")
        return self._logs.tail(machine_id, status.start_count, last_bytes)

    def password_data(self, machine_id: str) -> bytes:
        """Return the encrypted password that the guest wrote to its serial port."""
        status = self.status(machine_id)
        if status is None:
            raise MachineAbsentError(f"{machine_id} is not on this host")
        return self._logs.password(machine_id, status.start_count)

    def open_console(self, machine_id: str) -> int:
        """Open the running guest's serial port."""
        with self._link.translated(machine_id):
            return open_port(self._domains.running(machine_id))

    def screenshot(self, machine_id: str, *, wake_up: bool = False) -> bytes:
        """Return a picture of the guest's screen."""
        with self._link.translated(machine_id):
            handle = self._domains.running(machine_id)
            if wake_up:
                screen.wake(handle)
            return screen.take(self._link.get(), handle)

    def interrupt(self, machine_id: str) -> None:
        """Send the guest a non-maskable interrupt."""
        with self._link.translated(machine_id):
            self._domains.running(machine_id).injectNMI(0)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call the callback whenever a machine's status may have changed."""
        self._callbacks.append(callback)

    @contextmanager
    def domain(self, machine_id: str, *, lasting: bool = False) -> Iterator[Any]:
        """Yield libvirt's handle of a running guest, or None; the machine's lock is held meanwhile.

        With `lasting` None as well for one that has shut down, whose QEMU is about to end and may not answer.
        """
        with self._asking(machine_id):
            found = self._domains.find(machine_id)
            runs = found is not None and found.view.active and not (lasting and found.view.state == life.State.SHUTDOWN)
            yield found.handle if found is not None and runs else None

    def close(self) -> None:
        """Close the connection to libvirt and end our threads."""
        self.health.close()
        self.joint.close()
        self.direct.close()
        self._chores.close()
        self._link.close()
        self._processes.close()

    def _plug(self, found: Domain, spec: MachineSpec, todo: attach.Changes) -> None:
        """Attach what a running guest lacks, and ask it to release what it has too much; its lock is held."""
        self._releases.ask(found.handle, spec.architecture, todo.detach)
        for disk in spec.disks:
            give_disk(disk.source, disk.base, uid_of(spec.id))
        with secrets.defined_for(self._link.get(), todo.attached_disks):
            for xml in todo.attach:
                found.handle.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    # Starting

    def _started_already(self, machine_id: str, start_count: int) -> MachineStatus | None:
        """Return the status if this start has happened already; raise if it cannot be done now."""
        with self._asking(machine_id):
            found = self._domains.find(machine_id)
            if not found:
                return None
            status = self._status(machine_id, found)
            if status.start_count >= start_count and status.off_reason is not OffReason.HOST:
                return status
            if status.power is not Power.OFF:
                raise MachineError(
                    f"{machine_id}: is {status.power.value} since an earlier start; {start_count} must wait"
                )
            return None

    def _start(self, spec: MachineSpec, start_count: int, reboot_count: int) -> MachineStatus:
        """Redefine the machine and start its guest; the machine is off, and its lock is held."""
        live = self._link.get()
        found = self._domains.find(spec.id)
        record = life.Record(self._owner)
        before = 0
        if found:
            status = self._status(spec.id, found)
            before = min(status.start_count, start_count - 1)
            record = life.with_loss(life.with_off_seen(found.record, status), status, int(time.time()))
        record = replace(
            record,
            boot_id=self._boot_id,
            start_count=start_count,
            started_before=before,
            reboot_count=max(record.reboot_count, reboot_count),
            stop_asked_of=0,
            off_of=0 if record.off_of == start_count else record.off_of,
        )
        host = self._host.prepare(live, spec, self._logs.path(spec.id, start_count))
        saved = found is not None and 0 < record.saved_of == before and self._hibernation.has(spec.id)
        if found is not None and saved:
            domain_xml = woken_xml(found.handle.XMLDesc(_WHOLE), record, host.console_log)
        else:
            domain_xml = render_domain(spec, replace(record, saved_of=0), host)
        self._logs.prepare(spec.id, start_count, resumes=before if saved else 0)
        domain = live.defineXMLFlags(domain_xml)
        self._last[spec.id] = MachineStatus(spec.id, Power.UNKNOWN, before, record.reboot_count)
        self._deadlines.forget(spec.id)
        self.direct.started(spec.id)
        with secrets.defined_for(live, spec.disks, spec.tpm):
            self._create(spec.id, domain, start_count, saved=saved)
        weigh(domain, spec.vcpus)
        self._processes.watch(spec.id)
        return self._status(spec.id, self._domains.get(spec.id))

    def _create(self, machine_id: str, domain: Any, start_count: int, *, saved: bool = False) -> None:
        """Start the guest, with its saved memory if it has one. A failed start leaves no trace of having happened."""
        self._domains.unsure.add(machine_id)
        try:
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if saved else 0)
            if saved:
                self._resume_from_memory(machine_id, start_count)
        except libvirt.libvirtError:
            if self._link.is_up():
                self._logs.discard(machine_id, start_count)
                self._domains.unsure.discard(machine_id)
                self._chores.soon(self._link.revive)  # virtlogd, which libvirt needs to start guests, may have ended
            raise
        self._domains.unsure.discard(machine_id)

    def _resume_from_memory(self, machine_id: str, start_count: int) -> None:
        """Load the memory of a guest that was started paused, and resume it; if that fails, it is lost."""
        found = self._domains.get(machine_id)
        try:
            self._hibernation.load(found.handle)
        except MachineError:
            _log.exception("saved_memory_lost", extra={"machine": machine_id})
            self._end_half_loaded(machine_id, domains.write(found, saved_of=0))
            self._hibernation.forget(machine_id)
            raise
        domains.write(found, saved_of=0, loaded_of=start_count)
        self._hibernation.resume(found.handle)

    def _end_half_loaded(self, machine_id: str, found: Domain) -> None:
        """End a guest that has not all of its memory, as if its start had not happened."""
        power_off(found.handle)
        self._logs.discard(machine_id, found.record.start_count)
        self._domains.unsure.discard(machine_id)

    # Ending

    def _end_within(self, machine_id: str, seconds: float) -> None:
        """Note when a guest is to be off at the latest, even if a thread that waits for its QEMU holds its lock."""
        self._deadlines.within(machine_id, seconds)
        self._chores.later(seconds, partial(self._attend, machine_id))

    def _end_held(self, machine_id: str) -> None:
        """Power off a guest that is overdue and whose lock is held by who waits for its QEMU: that ends the waiting."""
        if not self._deadlines.is_over(machine_id):
            return
        with self._link.translated(machine_id):
            domain = self._link.get().lookupByName(machine_id)
            if self._domains.is_ours(machine_id) and seconds_waiting(domain) >= _HELD_SECONDS:
                _log.warning("guest_did_not_stop", extra={"machine": machine_id})
                power_off(domain)

    def _end_lingering(self, machine_id: str, found: Domain) -> None:
        """Power off a guest that shut itself down, when its QEMU has not ended for long after that."""
        if not self._deadlines.is_over(machine_id):
            self._end_within(machine_id, self._patience.hastened_stop)
            return
        _log.warning("qemu_did_not_end", extra={"machine": machine_id})
        start, since = found.record.start_count, int(time.time())
        domains.write(found, off_of=start, off_reason=OffReason.GUEST.value, off_since=since)
        power_off(found.handle)

    def _press(self, machine_id: str, found: Domain) -> None:
        """Press the power button, not too often, and schedule a check of the result."""
        now = time.monotonic()
        if now - self._pressed.get(machine_id, -1e9) >= self._patience.press_again:
            self._pressed[machine_id] = now
            wait = min(self._patience.press_again, max(0.0, (found.record.stop_due - boot_clock()) / 1000))
            self._chores.later(wait, partial(self._attend, machine_id))
            if not seconds_waiting(found.handle):  # a QEMU that hangs is powered off when that is due
                self._button.ask(partial(found.handle.shutdownFlags, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))

    def _end_hung(self, found: Domain) -> Domain:
        """Power off a guest whose QEMU does not answer: as long as it runs, nothing can be recorded of it."""
        power_off(found.handle)
        self.health.forget_hung(found.handle.name())
        return replace(found, view=replace(found.view, active=False))

    # Events

    def _on_event(self, name: str, rebooted: bool) -> None:
        """Handle libvirt's event about a domain."""
        if is_machine_id(name):
            self._chores.soon(partial(self._attend, name, rebooted=rebooted))

    def _on_link(self, up: bool) -> None:
        """Handle that libvirt was connected or lost."""
        if up:
            self._chores.soon(self._adopt)
        else:
            for machine_id in list(self._last):
                self._notify(machine_id)

    def _adopt(self) -> None:
        """Take over existing machines: after our own start, or after libvirt was away and events were missed."""
        present = self.present()
        for machine_id in present:
            self._chores.soon(partial(self._adopt_one, machine_id))
        for machine_id in set(self._last) - present:
            self._last.pop(machine_id, None)
            self._notify(machine_id)

    def _adopt_one(self, machine_id: str) -> None:
        """Take over a machine: watch its process again, and do what is overdue."""
        with self._asking(machine_id):
            found = self._domains.find_ours(machine_id)
            if found and found.view.active and not self._processes.is_watched(machine_id):
                self._processes.watch(machine_id)
            if found and life.is_half_loaded(found.record, found.view):
                self._end_half_loaded(machine_id, found)
            elif found and found.view.active and found.record.loaded_of == found.record.start_count:
                if found.view.state == life.State.PAUSED and found.view.reason != life.PAUSED_IO_ERROR:
                    self._hibernation.resume(found.handle)  # its memory was loaded, and that was all
                self._hibernation.forget(machine_id)
            if found and found.record.reboot_asked > found.record.reboot_count:
                # The guest was asked, and we may have missed its reboot: better not to reset a healthy guest later.
                domains.write(found, reboot_count=found.record.reboot_asked)
        self._attend(machine_id)

    def _attend(self, machine_id: str, *, rebooted: bool = False) -> None:
        """Record what happened to a machine, do what is overdue, and notify the subscribers."""
        lock, again = self._lock_of(machine_id), partial(self._attend, machine_id, rebooted=rebooted)
        if not lock.acquire(blocking=False):  # another thread holds the machine, perhaps for long: others must not wait
            self._chores.later(_BUSY_SECONDS, again)
            self._end_held(machine_id)
            return
        try:
            with self._link.translated(machine_id):
                found = self._domains.find_ours(machine_id)
                if found:
                    self._settle(machine_id, found, rebooted)
                else:
                    self._deadlines.forget(machine_id)
        except MachinesUnavailableError:
            raise  # all machines are attended to when libvirt is back
        except MachineError:  # such as a process that takes longer to end than libvirt waits
            self._chores.later(_AGAIN_SECONDS, again)
            raise
        finally:
            lock.release()
        self._notify(machine_id)

    def _settle(self, machine_id: str, found: Domain, rebooted: bool) -> None:
        """Record what happened to a machine and do what is overdue; its lock is held."""
        record = found.record
        if rebooted and record.reboot_asked > record.reboot_count:
            found = domains.write(found, reboot_count=record.reboot_asked)
        status = self._status(machine_id, found)
        if status.power is Power.OFF:
            seen = life.with_off_seen(found.record, status)
            if seen != found.record:
                domains.write(found, off_of=seen.off_of, off_reason=seen.off_reason, off_since=seen.off_since)
            return
        now = boot_clock()
        record = found.record
        if found.view.state == life.State.SHUTDOWN and record.stop_asked_of != record.start_count:
            self._end_lingering(machine_id, found)
        elif record.stop_asked_of == record.start_count:
            if now >= record.stop_due:
                _log.warning("guest_did_not_stop", extra={"machine": machine_id})
                power_off(found.handle)
            else:
                self._press(machine_id, found)
        elif record.reboot_asked > record.reboot_count and now >= record.reboot_due:
            _log.warning("guest_did_not_reboot", extra={"machine": machine_id})
            found.handle.reset()
            domains.write(found, reboot_count=record.reboot_asked)

    def _notify(self, machine_id: str) -> None:
        """Notify the subscribers that a machine's status may have changed."""
        for callback in self._callbacks:
            callback(machine_id)

    def _stay_awake(self) -> None:
        """Say again and again that we watch, so that the next agent knows until when."""
        self._processes.stay_awake()
        self._chores.later(_AWAKE_SECONDS, self._stay_awake)

    # Status

    def _volumes_of_hung(self, machine_id: str) -> frozenset[str] | None:
        """Return the volumes that a guest had when its QEMU was last known to answer; None while it does."""
        last = self._last.get(machine_id) if self.health.hung_since(machine_id) else None
        return last.volume_ids if last is not None else None

    def _status(self, machine_id: str, found: Domain) -> MachineStatus:
        """Return the status of a machine, and remember it."""
        status = life.status_of(machine_id, found.record, found.view)
        if found.view.active:
            status = self.health.complete(status, found.handle.ID())
        elif status.power is Power.OFF:
            status = replace(status, saved=self.joint.rest(machine_id))
            if status.start_count and found.record.off_of != status.start_count:
                status = replace(status, off_since=self._processes.ended(machine_id))
        self._last[machine_id] = status
        return status

    def _status_without_libvirt(self, machine_id: str) -> MachineStatus:
        """Return the status while libvirt is away: what was off stays off, what ran is unknown or has ended."""
        last = self._last.get(machine_id)
        if last is None:
            raise MachinesUnavailableError(f"libvirt is away, and {machine_id} was not seen before")
        ended = self._processes.ended(machine_id) if self._processes.is_gone(machine_id) else None
        return life.status_while_away(last, ended)

    def _lock_of(self, machine_id: str) -> threading.RLock:
        """Return the machine's lock, which exists while a thread holds it or waits for it."""
        with self._locks_lock:
            return self._locks.setdefault(machine_id, threading.RLock())

    @contextmanager
    def _asking(self, machine_id: str) -> Iterator[None]:
        """Hold a machine's lock, and translate libvirt's errors."""
        with self._lock_of(machine_id), self._link.translated(machine_id):
            yield
