"""The promise: what the rest of the agent may ask of this host's disks.

Every method blocks, is safe to call from several threads for different ids, and may be repeated. Nothing half-made ever
stands under a final name: what `present` lists is whole. Errors are `VolumeError`s.
"""

from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Format, Layer, Source


class VolumeError(Exception):
    """A disk could not be made as asked; the message is for the operator."""


class DiskFullError(VolumeError):
    """There is no room for it on the host."""


class BaseAbsentError(VolumeError):
    """The base a volume is to be laid over is not on this host (yet)."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A disk as it must be; laid over a base, or blank when none is named."""

    id: str
    size: int  # bytes
    base_id: str = ""
    pool: str = ""  # where it is made; empty: in the default pool
    encrypted: bool = False
    encryption_key: bytes = field(default=b"", repr=False)  # 32 bytes; empty while nobody may open it
    former_homes: tuple[str, ...] = ()  # hosts given up; its disk may be in a shared pool as theirs


@dataclass(frozen=True, slots=True)
class VolumeSource:
    """How a virtual machine of this host opens a volume."""

    source: Source
    format: Format
    base: Layer | None  # what it is laid over, read-only


@dataclass(frozen=True, slots=True)
class Capacity:
    """Room for disks, in bytes."""

    total: int
    free: int  # including what the trash gives back
    held: int  # by volumes, bases and trash


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A place for disks, as it is now."""

    name: str
    backend: str  # directory, lvm or rbd
    capacity: Capacity
    volume_types: tuple[str, ...]  # of the volumes that it is for; empty: all
    is_default: bool
    shared_id: str = ""  # what other hosts call it too, where several have it; empty: this host's alone, or unknown now


class Volumes(Protocol):
    """The disks that live on this host."""

    def ensure(self, volume: VolumeSpec) -> VolumeSource:
        """Have the disk here, at least as large as said; an existing one keeps its content and is never made smaller.

        A disk that must grow is grown on file: its machine must be off (use `Machines.resize_disk` for a running one).
        An encrypted one grows, and is made, only with its key; without, it stays as it is. One that had another home is
        never made: its disk is taken over, and whoever still has it open there can write to it no more.
        """

    def source(self, volume_id: str) -> VolumeSource | None:
        """Tell how to open the disk, a volume or of an instance store, or None when it is not here."""

    def size(self, volume_id: str) -> int | None:
        """Tell the size in bytes that a guest sees, or None when the disk is not here."""

    def make_room(self, volume_id: str, size: int) -> None:
        """Have room for a disk that the machine that runs with it is about to grow to `size` bytes."""

    def has_room(self, volume_id: str) -> bool:
        """Tell whether more can be written where the disk is; when not, the trash is emptied.

        Of a disk that is not here nobody can tell: yes.
        """

    def remove(self, volume_id: str) -> None:
        """Move the disk to the trash, from which `purge` deletes it; it is no longer present."""

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""

    def present(self) -> frozenset[str]:
        """List the disks that are here."""

    def ensure_instance_store(self, disk_id: str, size: int, *, fresh: bool) -> VolumeSource:
        """Have a disk of a machine's instance store; with `fresh` it reads as zeroes, whatever was there before."""

    def remove_instance_store(self, machine_id: str) -> None:
        """Delete all disks of a machine's instance store, at once."""

    def instance_stores(self) -> frozenset[str]:
        """List the machines that have instance store disks here."""

    def capacity(self) -> Capacity:
        """Tell how much room there is by default."""

    def pools(self) -> tuple[PoolStatus, ...]:
        """Tell of each place for disks, the default first."""
