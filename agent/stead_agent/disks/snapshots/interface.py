"""The promise: what the rest of the agent may ask about snapshots that this host must take.

Every method may be called from several threads and repeated. Errors are `SnapshotError`s.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Layer


class SnapshotError(Exception):
    """A snapshot could not be taken or brought to the store; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class QuietDisk:
    """How a disk that no guest has in use is opened."""

    layer: Layer
    base: Layer | None  # below it
    encryption_key: bytes = field(default=b"", repr=False)  # empty: it is not encrypted
    generation: int = 0  # of its attachment, where it is another host's


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """A snapshot of a volume."""

    id: str
    volume_id: str
    parent_id: str = ""  # an earlier complete snapshot of the volume, or empty
    encryption_key: bytes = b""  # of the blocks that it stores; empty: they are not encrypted

    def __repr__(self) -> str:
        """Keep the key out of logs."""
        return f"SnapshotSpec({self.id!r}, {self.volume_id!r}, {self.parent_id!r})"


@dataclass(frozen=True, slots=True)
class SnapshotGroup:
    """Snapshots of one instant, and where their disks are now."""

    name: str
    snapshots: tuple[SnapshotSpec, ...]
    machine_id: str = ""  # whose running guest has disks of them; empty: none has
    quiet: tuple[tuple[str, QuietDisk], ...] = ()  # disks that no guest has in use, by volume id


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far a snapshot is."""

    blocks: int = 0  # to be read in all; 0 = not known yet
    blocks_done: int = 0
    taken_at: int = 0  # Unix milliseconds of its instant; 0 = not yet
    complete: bool = False  # all of it is in the store
    incremental: bool = False  # only what changed since its parent was read
    lost: bool = False  # it never will be: its instant is over, at which others of its group were taken


class Snapshots(Protocol):
    """The snapshots that this host takes."""

    def ensure(self, group: SnapshotGroup) -> dict[str, SnapshotProgress]:
        """Have the group's instant taken and its disks read, and tell how far each snapshot is.

        Returns as soon as the instant is taken, or must wait for another backup of the machine; reading goes on behind.
        What went wrong behind is raised by the next call, which begins no new try; the one after it does.
        """

    def release(self, volume_ids: Iterable[str]) -> None:
        """Stop reading disks that no guest has in use, because one is about to: they are frozen anew when it runs.

        Must be called, and return, before anybody may write to them.
        """

    def remove(self, snapshot_id: str) -> None:
        """Stop taking a snapshot, and leave nothing of that on the host."""

    def present(self) -> frozenset[str]:
        """List the snapshots of which something is left on the host."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback(snapshot_id)` called, from a thread of ours, when there is news of a snapshot."""

    def close(self) -> None:
        """Stop reading; a later process goes on."""
