"""The interface that the rest of the agent uses for this host's disks.

Every method blocks, is safe to call from several threads for different ids, and may be repeated. An incomplete disk
never has its final name: disks that `present` lists are complete. Errors are `VolumeError`s.
"""

from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Format, Layer, Source


class VolumeError(Exception):
    """A disk could not be created as requested; the message is for the operator."""


class DiskFullError(VolumeError):
    """There is no room for it on the host."""


class DiskLostError(VolumeError):
    """The disk of a volume was on this host and is not any more: none is made in its place."""


class BaseAbsentError(VolumeError):
    """The base of a volume is not on this host (yet)."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """The desired disk; an overlay over a base, or blank when no base is given."""

    id: str
    size: int  # bytes
    base_id: str = ""
    pool: str = ""  # where it is created; empty: in the default pool
    encrypted: bool = False
    encryption_key: bytes = field(default=b"", repr=False)  # 32 bytes; empty while no guest may open it
    former_homes: tuple[str, ...] = ()  # removed hosts; its disk may be in a shared pool under their ids
    home_count: int = 0  # how often it has moved to another home: a disk that was made here before that is outdated


@dataclass(frozen=True, slots=True)
class VolumeSource:
    """How a virtual machine of this host opens a volume."""

    source: Source
    format: Format
    base: Layer | None  # its backing file, read-only


@dataclass(frozen=True, slots=True)
class Capacity:
    """Room for disks, in bytes."""

    total: int
    free: int  # including the trash
    held: int  # by volumes, bases and trash


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The current status of a storage pool."""

    name: str
    backend: str  # directory, lvm or rbd
    capacity: Capacity
    volume_types: tuple[str, ...]  # volume types that it serves; empty: all
    is_default: bool
    shared_id: str = ""  # its id, the same on all hosts that share it; empty: not shared, or unknown now


class Volumes(Protocol):
    """The disks that live on this host."""

    def ensure(self, volume: VolumeSpec) -> VolumeSource:
        """Ensure that the disk exists with at least this size; an existing one keeps its content and never shrinks.

        A disk that must grow is grown offline: its machine must be off (use `Machines.resize_disk` for a running one).
        An encrypted one is created and grown only with its key; without, it stays as it is. One with a former home is
        never created: its disk is taken over, and processes that still have it open there can no longer write to it.
        """

    def source(self, volume_id: str) -> VolumeSource | None:
        """Return how to open the disk, of a volume or an instance store, or None when it is not here."""

    def size(self, volume_id: str) -> int | None:
        """Return the size in bytes that a guest sees, or None when the disk is not here."""

    def make_room(self, volume_id: str, size: int) -> None:
        """Ensure that there is room for a disk in use that its machine is about to grow to `size` bytes."""

    def has_room(self, volume_id: str) -> bool:
        """Tell whether more can be written where the disk is; when not, the trash is emptied.

        For a disk that is not here this is unknown: returns True.
        """

    def remove(self, volume_id: str) -> None:
        """Move the disk to the trash, from which `purge` deletes it; it is no longer present."""

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""

    def present(self) -> frozenset[str]:
        """List the disks that are here."""

    def ensure_instance_store(self, disk_id: str, size: int, *, fresh: bool) -> VolumeSource:
        """Ensure that an instance store disk exists; with `fresh` it reads as zeroes, whatever was there before."""

    def remove_instance_store(self, machine_id: str) -> None:
        """Delete all disks of a machine's instance store, at once."""

    def instance_stores(self) -> frozenset[str]:
        """List the machines that have instance store disks here."""

    def capacity(self) -> Capacity:
        """Return the capacity of the default pool."""

    def pools(self) -> tuple[PoolStatus, ...]:
        """Return the status of each pool, the default first."""
