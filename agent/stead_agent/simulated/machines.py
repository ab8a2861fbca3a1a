"""Guests of a simulated host: they boot, react to the power button or not, crash and end, in real or stepped time."""

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from stead_agent.machines import password
from stead_agent.machines.interface import (
    DiskHome,
    FirmwareState,
    MachineAbsentError,
    MachineError,
    MachineSpec,
    MachineStatus,
    MachinesUnavailableError,
    OffReason,
    Power,
)
from stead_agent.simulated.clock import Clock
from stead_agent.simulated.networks import SimulatedMetadata
from stead_agent.simulated.world import Guest, Objects, World

# The smallest PNG: one grey pixel.
_SCREENSHOT: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
)
_STARTS_KEPT: Final = 100  # of machines that are gone: a start that is repeated late is noticed


@dataclass(slots=True)
class Durations:
    """How long guests take, in seconds."""

    boot: float = 0.0  # until the guest reacts to the power button
    answer: float = 0.0  # from a start until the guest answers at its primary interface
    shut_down: float = 0.0  # from the power button to off
    reboot: float = 0.0
    patience: float = 90.0  # until a guest that hangs is powered off
    hastened: float = 30.0  # the same when its stop is hastened
    snapshot: float = 0.0  # until all of a snapshot is in the store


class SimulatedMachines:
    """The guests of a world, as libvirt would manage them."""

    def __init__(self, world: World, metadata: SimulatedMetadata, clock: Clock, durations: Durations) -> None:
        self._world = world
        self._metadata = metadata
        self._consoles: dict[str, int] = {}  # guests' ends of their terminals
        self._clock = clock
        self._durations = durations
        self._callbacks: list[Callable[[str], None]] = []
        self.is_away = False  # as if libvirt could not be reached
        with world.lock:
            for machine_id, guest in world.objects.guests.items():
                if guest.power is Power.STOPPING:  # requested in an earlier process
                    guest.epoch += 1
                    self._end_later(machine_id, guest)

    # -- the interface

    def start(self, spec: MachineSpec, start_count: int, reboot_count: int = 0) -> MachineStatus:
        """Start the guest, once per start number."""
        with self._world.call("machines.start", spec.id) as objects:
            self._must_answer()
            guest = objects.guests.get(spec.id) or Guest(spec)
            started = guest.start_count >= start_count and guest.off_reason is not OffReason.HOST
            if started:
                return _status(spec.id, guest)
            if guest.power is not Power.OFF:
                raise MachineError(f"{spec.id} still runs start {guest.start_count}")
            self._check_start(objects, spec)
            objects.guests[spec.id] = guest
            guest.spec = spec
            guest.power = Power.RUNNING
            guest.start_count = start_count
            guest.reboot_count = max(guest.reboot_count, reboot_count)
            is_lost = guest.off_reason is OffReason.HOST
            guest.lost_since, guest.lost_until = (guest.off_since, int(time.time())) if is_lost else (0, 0)
            guest.off_reason = OffReason.NONE
            guest.off_since = 0
            if guest.hibernated:
                guest.wrote += b"resumed\r\n"
            else:
                guest.boots = 1
            guest.hibernated = False
            guest.dead_nics = frozenset()
            guest.hangs = guest.holds_disks = False
            guest.hears_at = self._clock.now() + self._durations.boot
            guest.epoch += 1
            objects.starts[spec.id, start_count] += 1
            _forget_starts(objects)
            if spec.boot_mode == "uefi":
                objects.firmware[spec.id] = _stored(
                    objects.firmware.get(spec.id), start_count, tpm=spec.tpm is not None
                )
        self._notify(spec.id)
        return _status(spec.id, guest)

    def update(self, spec: MachineSpec) -> frozenset[str]:
        """Attach and detach; a guest that is still booting, or is set to refuse, releases nothing."""
        with self._world.call("machines.update", spec.id) as objects:
            self._must_answer()
            guest = _guest(objects, spec.id)
            if guest.power is Power.OFF:
                return frozenset()
            self._check_start(objects, spec)
            wanted = {disk.id for disk in spec.disks}
            remaining = tuple(disk for disk in guest.spec.disks if disk.id not in wanted)
            if not guest.holds_disks and guest.hears_at <= self._clock.now():
                remaining = ()
            guest.spec = replace(spec, disks=spec.disks + remaining)
            guest.dead_nics = frozenset()
            return frozenset(disk.id for disk in remaining)

    def stop(self, machine_id: str, *, force: bool = False, hasten: bool = False) -> MachineStatus:
        """Press the power button, or power off."""
        with self._world.call("machines.stop", machine_id) as objects:
            self._must_answer()
            guest = _guest(objects, machine_id)
            if guest.power is Power.OFF:
                return _status(machine_id, guest)
            if force or self._seconds_to_end(guest) <= 0:
                self._end(guest, OffReason.ASKED)
            elif guest.power is not Power.STOPPING:
                guest.power = Power.STOPPING
                self._end_later(machine_id, guest)
            if hasten and guest.power is Power.STOPPING:
                self._later(machine_id, guest, self._durations.hastened, lambda: self._end(guest, OffReason.ASKED))
        self._notify(machine_id)
        return _status(machine_id, guest)

    def hibernate(self, machine_id: str, encryption_key: bytes) -> MachineStatus:
        """End the guest, whose next start resumes it, if it has a key."""
        with self._world.call("machines.hibernate", machine_id) as objects:
            self._must_answer()
            guest = _guest(objects, machine_id)
            if not encryption_key:
                raise MachineError(f"{machine_id}: its root disk has no key")
            if guest.power is not Power.OFF:
                self._end(guest, OffReason.ASKED)
                guest.hibernated = True
        self._notify(machine_id)
        return _status(machine_id, guest)

    def reboot(self, machine_id: str, reboot_count: int) -> MachineStatus:
        """Press the reset button, once per reboot number."""
        with self._world.call("machines.reboot", machine_id) as objects:
            self._must_answer()
            guest = _guest(objects, machine_id)
            if guest.reboot_count >= reboot_count:
                return _status(machine_id, guest)
            if guest.power is Power.OFF or self._durations.reboot <= 0:
                self._reboot(guest, reboot_count)
            else:
                self._later(machine_id, guest, self._durations.reboot, lambda: self._reboot(guest, reboot_count))
        self._notify(machine_id)
        return _status(machine_id, guest)

    def remove(self, machine_id: str) -> None:
        """End the guest and forget it."""
        with self._world.call("machines.remove", machine_id) as objects:
            self._must_answer()
            guest = objects.guests.pop(machine_id, None)
            objects.homes.pop(machine_id, None)
            objects.cut_off = [each for each in objects.cut_off if each[0] != machine_id]
            if guest is not None:
                self._end(guest, OffReason.ASKED)

    def status(self, machine_id: str) -> MachineStatus | None:
        """Return the guest's status; while libvirt is away, unknown for one that ran."""
        with self._world.lock:
            guest = self._world.objects.guests.get(machine_id)
            if guest is None:
                self._must_answer()
                return None
            if self.is_away and guest.power is not Power.OFF:
                return MachineStatus(machine_id, Power.UNKNOWN, guest.start_count, guest.reboot_count)
            return _status(machine_id, guest)

    def present(self) -> frozenset[str]:
        """List the guests."""
        with self._world.lock:
            self._must_answer()
            return frozenset(self._world.objects.guests)

    def resize_disk(self, machine_id: str, volume_id: str, size: int) -> None:
        """Grow the volume of a running guest."""
        with self._world.call("machines.resize_disk", machine_id) as objects:
            self._must_answer()
            guest = _guest(objects, machine_id)
            if guest.power is Power.OFF or all(disk.id != volume_id for disk in guest.spec.disks):
                raise MachineError(f"{machine_id} does not run with {volume_id}")
            if volume_id in objects.remotes:  # as large as at its home
                return
            volume = objects.volumes[volume_id]
            objects.volumes[volume_id] = replace(volume, size=max(size, volume.size))

    def reach_homes(self, machine_id: str, homes: Collection[DiskHome]) -> None:
        """Remember them."""
        with self._world.lock:
            if homes or machine_id in self._world.objects.homes:
                self._world.objects.homes[machine_id] = tuple(homes)
            for home in homes:
                remote = self._world.objects.remotes.get(home.volume_id)
                if remote is None or remote.generation != home.generation:
                    self._world.broken(f"{machine_id} sent to {home.host_id} for {home.volume_id}, and has no proxy")

    def renew_credentials(self, authorities: bytes) -> bool:
        """Do nothing: there are none."""
        del authorities
        return True

    def cut_off(self, machine_id: str, volume_id: str) -> None:
        """Remember it; the proxy must refuse all requests by then."""
        with self._world.call("machines.cut_off", machine_id) as objects:
            if (machine_id, volume_id) not in objects.cut_off:
                objects.cut_off.append((machine_id, volume_id))
            if volume_id not in self._world.objects.refused:
                self._world.broken(f"{volume_id} cut off from {machine_id}, whose proxy serves it")

    def resume(self, machine_id: str) -> None:
        """Resume a guest that waited for room; if there is still none, it is paused again at once."""
        with self._world.call("machines.resume", machine_id) as objects:
            self._must_answer()
            guest = _guest(objects, machine_id)
            guest.waits_for &= objects.full
            if guest.power is Power.PAUSED and not guest.waits_for:
                guest.power = Power.RUNNING

    def console_output(self, machine_id: str, last_bytes: int) -> bytes:
        """Return the starts and boots of the guest."""
        with self._world.lock:
            guest = _guest(self._world.objects, machine_id)
            text = f"simulated {machine_id}: start {guest.start_count}, boot {guest.boots}\r\n".encode() + guest.wrote
        return text[-last_bytes:] if last_bytes else b""

    def password_data(self, machine_id: str) -> bytes:
        """Find the password in what the test wrote to the guest's console."""
        with self._world.lock:
            return password.find(_guest(self._world.objects, machine_id).wrote)

    def open_console(self, machine_id: str) -> int:
        """Open a terminal that says whose it is and echoes what is typed; an earlier one of the guest ends."""
        with self._world.lock:
            if _guest(self._world.objects, machine_id).power is Power.OFF:
                raise MachineError(f"{machine_id} is off")
        ours, guests = os.openpty()
        os.set_blocking(ours, False)
        os.write(guests, f"serial port of {machine_id}\n".encode())
        if (before := self._consoles.get(machine_id)) is not None:
            os.close(before)
        self._consoles[machine_id] = guests
        return ours

    def screenshot(self, machine_id: str, *, wake_up: bool = False) -> bytes:
        """Return one grey pixel; a key that was pressed is written to the console."""
        with self._world.call("machines.screenshot", machine_id) as objects:
            _running(objects, machine_id).wrote += b"key pressed\r\n" if wake_up else b""
        return _SCREENSHOT

    def interrupt(self, machine_id: str) -> None:
        """Write of it to the console."""
        with self._world.call("machines.interrupt", machine_id) as objects:
            _running(objects, machine_id).wrote += b"NMI received\r\n"

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back on changes."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Stop calling back; guests run on."""
        self._callbacks.clear()
        while self._consoles:
            os.close(self._consoles.popitem()[1])

    # -- what happens to guests by themselves

    def write_console(self, machine_id: str, text: bytes) -> None:
        """Let a guest write to its serial port."""
        with self._world.lock:
            _guest(self._world.objects, machine_id).wrote += text
            self._world.save()

    def end_guest(self, machine_id: str, reason: OffReason) -> None:
        """Let a running guest power itself off, or crash."""
        with self._world.lock:
            guest = _guest(self._world.objects, machine_id)
            if guest.power is not Power.OFF:
                self._end(guest, reason)
                self._world.save()
        self._notify(machine_id)

    def hang_guest(self, machine_id: str) -> None:
        """Let a guest ignore the power button."""
        with self._world.lock:
            _guest(self._world.objects, machine_id).hangs = True
            self._world.save()

    def fill_volume(self, machine_id: str, volume_id: str, *, full: bool) -> None:
        """Set whether a volume is full for a guest's writes, which pauses the guest."""
        with self._world.lock:
            guest = _guest(self._world.objects, machine_id)
            if full:
                self._world.objects.full.add(volume_id)
                guest.waits_for |= {volume_id}
                guest.power = Power.PAUSED
            else:
                self._world.objects.full.discard(volume_id)
            self._world.save()
        self._notify(machine_id)

    def stall_volume(self, machine_id: str, volume_id: str, *, stalled: bool) -> None:
        """Set whether a volume does a guest's requests."""
        with self._world.lock:
            guest = _guest(self._world.objects, machine_id)
            guest.stalled = guest.stalled | {volume_id} if stalled else guest.stalled - {volume_id}
            self._world.save()
        self._notify(machine_id)

    def silence_agent(self, machine_id: str, *, since: int) -> None:
        """Set since when a guest's agent does not answer; 0 = it does."""
        with self._world.lock:
            _guest(self._world.objects, machine_id).agent_silent_since = since
            self._world.save()
        self._notify(machine_id)

    def hang_qemu(self, machine_id: str, *, since: int) -> None:
        """Set since when a guest's QEMU does not answer; 0 = it does."""
        with self._world.lock:
            _guest(self._world.objects, machine_id).hung_since = since
            self._world.save()
        self._notify(machine_id)

    def keep_disks(self, machine_id: str, *, keeps: bool) -> None:
        """Set whether a guest refuses to release devices; if not, it releases them when it is next asked."""
        with self._world.lock:
            _guest(self._world.objects, machine_id).holds_disks = keeps
            self._world.save()

    def set_away(self, *, away: bool) -> None:
        """Set whether libvirt is away."""
        with self._world.lock:
            self.is_away = away
            machine_ids = list(self._world.objects.guests)
        for machine_id in machine_ids:
            self._notify(machine_id)

    def _must_answer(self) -> None:
        if self.is_away:
            raise MachinesUnavailableError("simulated libvirt is away")

    def _end_later(self, machine_id: str, guest: Guest) -> None:
        """End a guest that was asked to stop, or power it off if it hangs."""
        self._later(machine_id, guest, self._seconds_to_end(guest), lambda: self._end(guest, OffReason.ASKED))

    def _seconds_to_end(self, guest: Guest) -> float:
        """Return how long a guest takes from the power button to off."""
        if guest.hangs:
            return self._durations.patience
        return min(self._durations.patience, max(0.0, guest.hears_at - self._clock.now()) + self._durations.shut_down)

    def _later(self, machine_id: str, guest: Guest, seconds: float, happen: Callable[[], None]) -> None:
        """Schedule an event for a guest, unless another event comes before it."""
        epoch = guest.epoch

        def now() -> None:
            with self._world.lock:
                if guest.epoch != epoch:
                    return
                happen()
                self._world.save()
            self._notify(machine_id)

        self._clock.call_at(self._clock.now() + seconds, now)

    def _end(self, guest: Guest, reason: OffReason) -> None:
        if guest.power is not Power.OFF:
            guest.power = Power.OFF
            guest.waits_for = guest.stalled = frozenset()
            guest.agent_silent_since = guest.hung_since = 0
            guest.off_reason = reason
            guest.off_since = int(time.time())
            guest.epoch += 1
            if (terminal := self._consoles.pop(guest.spec.id, None)) is not None:
                os.close(terminal)

    def _reboot(self, guest: Guest, reboot_count: int) -> None:
        guest.reboot_count = reboot_count
        guest.boots += guest.power is not Power.OFF

    def _notify(self, machine_id: str) -> None:
        for callback in self._callbacks:
            callback(machine_id)

    def _check_start(self, objects: Objects, spec: MachineSpec) -> None:
        """Record what is not ready before a guest's first packet."""
        for disk in spec.disks:
            if not any(disk.id in place for place in (objects.volumes, objects.remotes, objects.stores)):
                self._world.broken(f"{spec.id} runs without its disk {disk.id}")
        for address in spec.devices:
            if objects.devices.get(address) != spec.id:
                self._world.broken(f"{spec.id} runs without its device {address}")
        mine = _own_threads(spec)
        for other in objects.guests.values():
            if other.power is not Power.OFF and other.spec.id != spec.id and mine & _own_threads(other.spec):
                self._world.broken(f"{spec.id} has threads of {other.spec.id}")
        for nic in spec.nics:
            name = nic.interface_id
            linked = any(name in {each.id for each in vpc.interfaces} for vpc in objects.networks.values())
            bound = any(name in {each.id for each in vpc.interfaces} for vpc in objects.firewalls.values())
            leased = any(name in {each.interface_id for each in vpc.hosts} for vpc in objects.dhcps.values())
            has_metadata = any(spec.id in self._metadata.guests.get(vpc_id, {}) for vpc_id in self._metadata.served)
            for ready, what in ((linked, "link"), (bound, "firewall"), (leased, "DHCP"), (has_metadata, "metadata")):
                if not ready:
                    self._world.broken(f"{spec.id} runs before the {what} of {name}")


def _forget_starts(objects: Objects) -> None:
    """Keep the latest starts of machines that are gone, all of others, and all that happened more than once."""
    if len(objects.starts) < 2 * (_STARTS_KEPT + len(objects.guests)):
        return
    of_gone = [start for start, count in objects.starts.items() if start[0] not in objects.guests and count == 1]
    for start in of_gone[:-_STARTS_KEPT]:
        del objects.starts[start]


def _stored(before: FirmwareState | None, start_count: int, *, tpm: bool) -> FirmwareState:
    """Return what a UEFI guest has stored at a start, besides what it had."""
    variables = (before.variables if before is not None else b"") + f"{start_count} ".encode()
    return FirmwareState(variables, variables if tpm else b"")


def _own_threads(spec: MachineSpec) -> set[int]:
    return set(spec.pinning.threads) if spec.pinning is not None else set()


def _guest(objects: Objects, machine_id: str) -> Guest:
    guest = objects.guests.get(machine_id)
    if guest is None:
        raise MachineAbsentError(f"there is no {machine_id}")
    return guest


def _running(objects: Objects, machine_id: str) -> Guest:
    guest = _guest(objects, machine_id)
    if guest.power is Power.OFF:
        raise MachineError(f"{machine_id} is off")
    return guest


def _status(machine_id: str, guest: Guest) -> MachineStatus:
    has = () if guest.power is Power.OFF else guest.spec.disks
    return MachineStatus(
        machine_id,
        guest.power,
        guest.start_count,
        guest.reboot_count,
        guest.off_reason,
        volume_ids=frozenset(disk.id for disk in has if disk.id.startswith("vol-")),
        full=guest.waits_for,
        stalled=guest.stalled,
        agent_silent_since=guest.agent_silent_since,
        hung_since=guest.hung_since,
        off_since=guest.off_since,
        lost_since=guest.lost_since,
        lost_until=guest.lost_until,
        dead_nics=frozenset() if guest.power is Power.OFF else guest.dead_nics,
        hibernated=guest.hibernated,
    )
