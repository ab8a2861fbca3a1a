"""How the disks of a running guest are read as they were at one instant: what machines offer and snapshots use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class BackupError(Exception):
    """A guest's disks could not be frozen for reading; the message is for the operator."""


class BackupBusyError(BackupError):
    """Another backup of the guest goes on; a guest has one at a time."""


class NotPluggedError(BackupError):
    """The guest does not run, or has not all of these disks plugged in."""


@dataclass(frozen=True, slots=True)
class DiskToFreeze:
    """What a disk is frozen for."""

    snapshot_id: str
    parent_id: str = ""  # an earlier snapshot of it, or empty
    hidden: bool = False  # what the guest overwrites meanwhile is kept encrypted


@dataclass(frozen=True, slots=True)
class DiskExport:
    """One disk of a backup."""

    name: str  # of the NBD export
    bitmap: str = ""  # metadata context of what changed since the earlier instant; empty: it is not known


@dataclass(frozen=True, slots=True)
class Backup:
    """Disks of a running guest as they were at one instant, to be read by NBD until the backup is ended."""

    name: str
    socket: Path
    exports: Mapping[str, DiskExport]  # by volume id


class GuestBackups(Protocol):
    """The backups of this host's running guests; every method blocks and may be repeated. Errors are BackupErrors."""

    def begin(self, machine_id: str, name: str, disks: Mapping[str, DiskToFreeze]) -> Backup:
        """Freeze disks, by volume id, at one instant, and remember it.

        What later changes of a disk is remembered under its snapshot's id, until `forget`. Does nothing when a backup
        of this name goes on. BackupBusyError, NotPluggedError: see there.
        """

    def current(self, machine_id: str) -> Backup | None:
        """Tell which backup of a guest goes on."""

    def end(self, machine_id: str, name: str) -> None:
        """End a backup of this name, if it goes on, and remove what it needed."""

    def forget(self, machine_id: str, volume_id: str, *, keep: str) -> None:
        """Forget what changed of a disk since any snapshot but `keep`."""
