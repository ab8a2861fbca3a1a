"""Derives a machine's status from a record in the domain's metadata and libvirt's state. Pure.

The record is updated with every action on a machine, so that later (after a restart of the agent or libvirt) it is
known what happened and what is still to be done. A start has happened if its console log exists, which is named after
the start and created by it.
"""

import uuid
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from hashlib import sha256
from typing import Final
from xml.etree import ElementTree as ET

from stead_agent.machines.interface import MachineStatus, OffReason, Power

NAMESPACE: Final = "urn:stead:machine:1"
PREFIX: Final = "stead"
_PLAIN_TAG: Final = "machine"
ET.register_namespace(PREFIX, NAMESPACE)


class State(IntEnum):
    """virDomainState (https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainState)."""

    NOSTATE = 0
    RUNNING = 1
    BLOCKED = 2
    PAUSED = 3
    SHUTDOWN = 4
    SHUTOFF = 5
    CRASHED = 6
    PMSUSPENDED = 7


class Shutoff(IntEnum):
    """virDomainShutoffReason; held by libvirtd in memory only, so UNKNOWN after its restart."""

    UNKNOWN = 0
    SHUTDOWN = 1
    DESTROYED = 2
    CRASHED = 3
    MIGRATED = 4
    SAVED = 5
    FAILED = 6
    FROM_SNAPSHOT = 7
    DAEMON = 8


# virDomainPausedReason
PAUSED_IO_ERROR: Final = 5
_STARTING_UP: Final = 11


@dataclass(frozen=True, slots=True)
class Record:
    """Our record in a domain's metadata."""

    owner: str  # which agent made it: two agents may share a libvirtd in tests
    boot_id: str = ""  # the host's boot in which it was last started
    start_count: int = 0  # the last start that was begun
    started_before: int = 0  # the last start before it that had happened
    reboot_count: int = 0  # reboots done
    stop_asked_of: int = 0  # the start that was asked to stop; 0 = none
    stop_due: int = 0  # when it is powered off: ms on the boot clock; 0 = it was powered off
    reboot_asked: int = 0  # the reboot that the guest was asked for; above `reboot_count` = not done yet
    reboot_due: int = 0  # when it is reset: ms on the boot clock
    off_of: int = 0  # the start whose end was observed
    off_reason: str = ""  # and why it ended
    off_since: int = 0  # and when: Unix seconds; 0 = not known
    lost_since: int = 0  # when its host went down in this start, and it was started again
    lost_until: int = 0  # and when that was: Unix seconds
    saved_of: int = 0  # the start at whose end its memory was saved, until it is loaded
    loaded_of: int = 0  # the start for which its memory was loaded

    def to_plain_xml(self) -> str:
        """Render the record for libvirt's call that sets metadata: without its namespace, a separate argument."""
        return ET.tostring(ET.Element(_PLAIN_TAG, self._attributes()), encoding="unicode")

    def to_element(self) -> ET.Element:
        """Render the record as an element of a domain's metadata."""
        return ET.Element(f"{{{NAMESPACE}}}{_PLAIN_TAG}", self._attributes())

    def _attributes(self) -> dict[str, str]:
        """Render the attributes that differ from their defaults."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in values.items() if value}


def parse_record(text: str) -> Record | None:
    """Parse a record; None when the element is not ours."""
    element = ET.fromstring(text)  # noqa: S314 (written by ourselves, stored by libvirt)
    if element.tag.rpartition("}")[2] != _PLAIN_TAG or "owner" not in element.attrib:
        return None
    known = {field.name: field.type for field in fields(Record)}
    values = {
        name: int(value) if known[name] is int else value for name, value in element.attrib.items() if name in known
    }
    return Record(**values)  # type: ignore[arg-type]  # each value has just got its field's type


@dataclass(frozen=True, slots=True)
class View:
    """The current state of a domain from libvirt and the host."""

    active: bool
    state: int
    reason: int
    boot_id: str  # of the host now
    log_exists: bool  # the console log of the record's start exists
    volume_ids: frozenset[str] = frozenset()
    full: frozenset[str] = frozenset()
    dead_nics: frozenset[str] = frozenset()

    @property
    def starting(self) -> bool:
        """Whether libvirt is starting it, or died during that and has not cleaned up yet."""
        return self.state == State.PAUSED and (self.reason == _STARTING_UP or not self.log_exists)


def _had_started(view: View) -> bool:
    """Tell whether the last start begun has happened, for a machine that is off, and was not interrupted before."""
    return view.log_exists and view.reason != Shutoff.FAILED


def status_of(machine_id: str, record: Record, view: View) -> MachineStatus:
    """Return the status of a machine."""
    if view.starting:
        return MachineStatus(machine_id, Power.UNKNOWN, record.started_before, record.reboot_count)
    if view.active:
        return MachineStatus(
            machine_id,
            _power(record, view),
            record.start_count,
            record.reboot_count,
            volume_ids=view.volume_ids,
            full=view.full,
            dead_nics=view.dead_nics,
            lost_since=record.lost_since,
            lost_until=record.lost_until,
        )
    start = record.start_count if _had_started(view) else record.started_before
    reason, saved = _off_reason(start, record, view), record.saved_of
    since = record.off_since if record.off_of == start else 0
    hibernated = 0 < saved == start
    return MachineStatus(
        machine_id, Power.OFF, start, record.reboot_count, reason, hibernated=hibernated, off_since=since
    )


def _power(record: Record, view: View) -> Power:
    """Return the power state of a domain with a living process."""
    if view.state in {State.PAUSED, State.PMSUSPENDED, State.CRASHED}:
        return Power.PAUSED
    if record.stop_asked_of == record.start_count or view.state == State.SHUTDOWN:
        return Power.STOPPING
    return Power.RUNNING


def _off_reason(start: int, record: Record, view: View) -> OffReason:
    """Return why the guest of that start is off.

    Our own request takes precedence over libvirt's reason, which is a failure if the guest is powered off while a
    restarted libvirtd is still reconnecting to its guests.
    """
    if start == 0:
        return OffReason.NONE
    if record.off_of == start:
        return OffReason(record.off_reason)
    if record.stop_asked_of == start:
        return OffReason.ASKED
    if record.start_count != start:
        return OffReason.CRASHED  # its end was not observed, and a later start has been begun since
    if view.reason == Shutoff.UNKNOWN:
        return OffReason.HOST if record.boot_id != view.boot_id else OffReason.CRASHED
    return _REASONS.get(view.reason, OffReason.CRASHED)


_REASONS: Final[dict[int, OffReason]] = {
    Shutoff.SHUTDOWN: OffReason.GUEST,
    Shutoff.DESTROYED: OffReason.ASKED,  # by an operator's virsh, which is authorised
}


def status_while_away(last: MachineStatus, ended: int | None) -> MachineStatus:
    """Return the status while libvirt is away: what was off stays off, what ran is unknown or has ended, and when."""
    if last.power is Power.OFF:
        return last
    if ended is not None:
        return replace(last, power=Power.OFF, off_reason=OffReason.CRASHED, off_since=ended)
    return replace(last, power=Power.UNKNOWN)


def is_half_loaded(record: Record, view: View) -> bool:
    """Tell whether a guest was being resumed when the agent ended: its process has not all of its memory."""
    return view.active and 0 < record.saved_of < record.start_count


def with_off_seen(record: Record, status: MachineStatus) -> Record:
    """Record why a machine is off, and since when: libvirtd forgets that when it ends, and we do."""
    if status.power is not Power.OFF or status.start_count in {0, record.off_of}:
        return record
    why, since = status.off_reason.value, status.off_since
    return replace(record, off_of=status.start_count, off_reason=why, off_since=since)


def with_loss(record: Record, status: MachineStatus, now: int) -> Record:
    """Record when a machine's host went down, for one that is about to be started again for that; Unix seconds."""
    lost = status.off_reason is OffReason.HOST and status.off_since > 0
    return replace(record, lost_since=status.off_since if lost else 0, lost_until=now if lost else 0)


def uuid_of(machine_id: str) -> uuid.UUID:
    """Derive a machine's system UUID: it begins with `ec2`, by which guests detect EC2.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html; the rest is a hash (RFC 9562
    version 8), so the same instance has the same UUID on any host.
    """
    digits = sha256(f"{NAMESPACE} {machine_id}".encode()).hexdigest()
    return uuid.UUID(f"ec2{digits[:9]}8{digits[9:12]}a{digits[12:27]}")
