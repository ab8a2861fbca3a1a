"""Volumes across simulated hosts: which are served to which host, without any data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stead_agent.disks.disk_sources import NbdSource
from stead_agent.disks.exports.interface import Export, Remote
from stead_agent.machines.interface import Power
from stead_agent.simulated.world import World


class SimulatedExports:
    """Remembers what is served and connected; every home is always reachable."""

    def __init__(self, world: World) -> None:
        self._world = world

    def serve(self, export: Export) -> None:
        """Remember to which host the volume is served."""
        with self._world.call("exports.serve", export.volume_id) as objects:
            self._note_user(export.volume_id, "served to another host")
            objects.remotes.pop(export.volume_id, None)
            objects.exports[export.volume_id] = export

    def grow(self, volume_id: str, size: int) -> None:
        """Grow the volume."""
        with self._world.call("exports.grow", volume_id) as objects:
            if volume_id not in objects.exports:
                self._world.broken(f"{volume_id} grown as if it were served")
            objects.volumes[volume_id] = replace(objects.volumes[volume_id], size=size)

    def connect(self, remote: Remote) -> NbdSource:
        """Remember the volume's home."""
        with self._world.call("exports.connect", remote.volume_id) as objects:
            objects.exports.pop(remote.volume_id, None)
            objects.remotes[remote.volume_id] = remote
            return _source(remote.volume_id)

    def refuse(self, volume_id: str) -> None:
        """Let a guest that does not release the volume release it."""
        with self._world.call("exports.refuse", volume_id) as objects:
            if volume_id not in objects.refused:
                objects.refused.append(volume_id)

    def generation(self, volume_id: str) -> int | None:
        """Return the attachment to which the volume is served."""
        with self._world.lock:
            export = self._world.objects.exports.get(volume_id)
            return export.generation if export is not None else None

    def source(self, volume_id: str) -> NbdSource | None:
        """Return where a guest would find a volume of another host."""
        with self._world.lock:
            return _source(volume_id) if volume_id in self._world.objects.remotes else None

    def end(self, volume_id: str) -> None:
        """Forget the volume."""
        if volume_id not in self.present():
            return
        with self._world.call("exports.end", volume_id) as objects:
            if objects.remotes.pop(volume_id, None) is not None:
                self._note_user(volume_id, "taken")
            objects.exports.pop(volume_id, None)
            objects.refused = [each for each in objects.refused if each != volume_id]

    def is_outdated(self, volume_id: str) -> bool:
        """Return False: there are no certificates here."""
        return volume_id in self.outdated()

    def outdated(self) -> frozenset[str]:
        """Return nothing: there are no certificates here."""
        return frozenset()

    def present(self) -> frozenset[str]:
        """List what is served or connected."""
        with self._world.lock:
            objects = self._world.objects
            return frozenset(objects.exports) | frozenset(objects.remotes)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Nothing ends by itself here."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _note_user(self, volume_id: str, what: str) -> None:
        for machine_id, guest in self._world.objects.guests.items():
            if guest.power is not Power.OFF and any(disk.id == volume_id for disk in guest.spec.disks):
                self._world.broken(f"{volume_id} {what} under running {machine_id}")


def _source(volume_id: str) -> NbdSource:
    return NbdSource(Path("/simulated/exports") / volume_id, volume_id)
