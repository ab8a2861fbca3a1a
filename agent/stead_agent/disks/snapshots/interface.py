"""The interface that the rest of the agent uses for the snapshots that this host must take.

Every method may be called from several threads and repeated. Errors are `SnapshotError`s.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Layer


class SnapshotError(Exception):
    """A snapshot could not be taken or stored; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class QuietDisk:
    """How to open a disk that no guest has in use."""

    layer: Layer
    base: Layer | None  # below it
    encryption_key: bytes = field(default=b"", repr=False)  # empty: it is not encrypted
    generation: int = 0  # of its attachment, if it belongs to another host


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """A snapshot of a volume."""

    id: str
    volume_id: str
    parent_id: str = ""  # an earlier complete snapshot of the volume, or empty
    encryption_key: bytes = b""  # of the blocks that it stores; empty: they are not encrypted

    def __repr__(self) -> str:
        """Hide the key from logs."""
        return f"SnapshotSpec({self.id!r}, {self.volume_id!r}, {self.parent_id!r})"


@dataclass(frozen=True, slots=True)
class SnapshotGroup:
    """Snapshots of one instant, and where their disks are now."""

    name: str
    snapshots: tuple[SnapshotSpec, ...]
    machine_id: str = ""  # whose running guest has some of the disks; empty: none
    quiet: tuple[tuple[str, QuietDisk], ...] = ()  # disks that no guest has in use, by volume id


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far a snapshot is."""

    blocks: int = 0  # total to be read; 0 = not known yet
    blocks_done: int = 0
    taken_at: int = 0  # Unix milliseconds of its instant; 0 = not yet
    complete: bool = False  # all of it is in the store
    incremental: bool = False  # only what changed since its parent was read
    lost: bool = False  # it can never be completed: the instant at which others of its group were taken is lost


class Snapshots(Protocol):
    """The snapshots that this host takes."""

    def ensure(self, group: SnapshotGroup) -> dict[str, SnapshotProgress]:
        """Take the group's instant, read its disks, and return the progress of each snapshot.

        Returns as soon as the instant is taken, or must wait for another backup of the machine; reading continues in
        the background. The next call raises an error from there and does not retry; the call after it does.
        """

    def being_read(self, volume_ids: Iterable[str]) -> frozenset[str]:
        """List those of these disks whose instant `release` would end before a snapshot of it is complete."""

    def release(self, volume_ids: Iterable[str]) -> None:
        """Stop reading disks that no guest uses, because a guest is about to: they are frozen again when it runs.

        Must be called, and return, before any process may write to them.
        """

    def remove(self, snapshot_id: str) -> None:
        """Stop taking a snapshot, and remove everything about it from the host."""

    def present(self) -> frozenset[str]:
        """List the snapshots that have something on the host."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call `callback(snapshot_id)`, in a thread of ours, when a snapshot has made progress."""

    def close(self) -> None:
        """Stop reading; a later process continues."""
