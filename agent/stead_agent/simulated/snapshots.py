"""Snapshots of a simulated host: instants and progress without data."""

import time
from collections.abc import Callable, Iterable

from stead_agent.disks.snapshots.interface import SnapshotGroup, SnapshotProgress
from stead_agent.simulated.clock import Clock
from stead_agent.simulated.machines import Durations
from stead_agent.simulated.world import TakenSnapshot, World
from stead_proto.blocks import BLOCK_BYTES


class SimulatedSnapshots:
    """Remembers which snapshots are taken; each is complete after the time in `pace`."""

    def __init__(self, world: World, clock: Clock, durations: Durations) -> None:
        self._world = world
        self._clock = clock
        self._durations = durations
        self._callbacks: list[Callable[[str], None]] = []

    def ensure(self, group: SnapshotGroup) -> dict[str, SnapshotProgress]:
        """Take the group's instant at once, and return each snapshot's progress."""
        with self._world.call("snapshots.ensure", group.name) as objects:
            now = self._clock.now()
            taken_at = time.time_ns() // 1_000_000
            for each in group.snapshots:
                volume = objects.volumes.get(each.volume_id) or objects.remotes.get(each.volume_id)
                if volume is None:
                    self._world.broken(f"{each.id} taken of {each.volume_id}, which is not here")
                elif each.id not in objects.snapshots:
                    blocks = -(-volume.size // BLOCK_BYTES)
                    objects.snapshots[each.id] = TakenSnapshot(
                        each.volume_id, taken_at, now, blocks, quiet=each.volume_id in dict(group.quiet)
                    )
                    if self._durations.snapshot:
                        self._clock.call_at(now + self._durations.snapshot, lambda each=each: self._notify(each.id))  # type: ignore[misc]  # mypy: a default is no parameter of Callable
            found = {each.id: objects.snapshots[each.id] for each in group.snapshots if each.id in objects.snapshots}
        return {name: self._progress(each, now, bool(_parent(group, name))) for name, each in found.items()}

    def being_read(self, volume_ids: Iterable[str]) -> frozenset[str]:
        """List the disks of snapshots that are not complete."""
        wanted, now = frozenset(volume_ids), self._clock.now()
        with self._world.lock:
            taken = [each for each in self._world.objects.snapshots.values() if each.quiet and not each.lost]
        return frozenset(each.volume_id for each in taken if self._part(each, now) < 1) & wanted

    def release(self, volume_ids: Iterable[str]) -> None:
        """Note that guests have the disks: a snapshot goes on by itself here."""
        wanted = frozenset(volume_ids)
        with self._world.call("snapshots.release", ",".join(sorted(wanted))) as objects:
            for each in objects.snapshots.values():
                each.quiet = each.quiet and each.volume_id not in wanted

    def remove(self, snapshot_id: str) -> None:
        """Forget the snapshot."""
        with self._world.call("snapshots.remove", snapshot_id) as objects:
            objects.snapshots.pop(snapshot_id, None)

    def present(self) -> frozenset[str]:
        """List the snapshots."""
        with self._world.lock:
            return frozenset(self._world.objects.snapshots)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call the callback when a snapshot is complete."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Do nothing: there is no background work."""

    def _progress(self, taken: TakenSnapshot, now: float, incremental: bool) -> SnapshotProgress:
        part = self._part(taken, now)
        done = int(part * taken.blocks)
        is_complete = part >= 1.0 and not taken.lost
        return SnapshotProgress(taken.blocks, done, taken.taken_at, is_complete, incremental, taken.lost)

    def _part(self, taken: TakenSnapshot, now: float) -> float:
        return min(1.0, (now - taken.begun) / self._durations.snapshot) if self._durations.snapshot else 1.0

    def _notify(self, snapshot_id: str) -> None:
        for callback in self._callbacks:
            callback(snapshot_id)


def _parent(group: SnapshotGroup, snapshot_id: str) -> str:
    return next(each.parent_id for each in group.snapshots if each.id == snapshot_id)
