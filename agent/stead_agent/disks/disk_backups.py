"""The interface for reading a running guest's disks as of one instant: machines implement it, snapshots use it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class BackupError(Exception):
    """A guest's disks could not be frozen for reading; the message is for the operator."""


class BackupBusyError(BackupError):
    """Another backup of the guest is active; a guest has one at a time."""


class NotPluggedError(BackupError):
    """The guest does not run, or not all of these disks are attached to it."""


@dataclass(frozen=True, slots=True)
class DiskToFreeze:
    """How a disk is to be frozen."""

    snapshot_id: str
    parent_id: str = ""  # an earlier snapshot of it, or empty
    hidden: bool = False  # what the guest overwrites meanwhile is saved encrypted


@dataclass(frozen=True, slots=True)
class DiskExport:
    """One disk of a backup."""

    name: str  # of the NBD export
    bitmap: str = ""  # metadata context of what changed since the earlier instant; empty: unknown


@dataclass(frozen=True, slots=True)
class Backup:
    """Disks of a running guest as they were at one instant, to be read by NBD until the backup is ended."""

    name: str
    socket: Path
    exports: Mapping[str, DiskExport]  # by volume id


class GuestBackups(Protocol):
    """The backups of this host's running guests; every method blocks and may be repeated. Errors are BackupErrors."""

    def begin(self, machine_id: str, name: str, disks: Mapping[str, DiskToFreeze]) -> Backup:
        """Freeze disks, by volume id, at one instant, and begin to track changes.

        Later changes of a disk are tracked under its snapshot's id, until `forget`. Does nothing when a backup of this
        name is active. BackupBusyError, NotPluggedError: see there.
        """

    def current(self, machine_id: str) -> Backup | None:
        """Return the active backup of a guest."""

    def end(self, machine_id: str, name: str) -> None:
        """End the backup of this name, if it is active, and remove its files."""

    def forget(self, machine_id: str, volume_id: str, *, keep: str) -> None:
        """Stop tracking the changes of a disk since any snapshot except `keep`."""
