"""Bases and volumes of a simulated host: sizes without bytes."""

from dataclasses import replace
from pathlib import Path

from stead_agent.disks.bases.interface import BaseSpec
from stead_agent.disks.disk_sources import FileSource, Layer
from stead_agent.disks.volumes.interface import (
    BaseAbsentError,
    Capacity,
    DiskFullError,
    PoolStatus,
    VolumeSource,
    VolumeSpec,
)
from stead_agent.machines.interface import Power
from stead_agent.simulated.world import World


class SimulatedBases:
    """Stores which bases exist."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ensure(self, base: BaseSpec) -> None:
        """Remember the base."""
        with self._world.call("bases.ensure", base.id) as objects:
            objects.bases[base.id] = base.size

    def source(self, base_id: str) -> Layer | None:
        """Return how a guest would open the base."""
        with self._world.lock:
            return _base_layer(base_id) if base_id in self._world.objects.bases else None

    def remove(self, base_id: str) -> None:
        """Forget the base; no volume may use it."""
        with self._world.call("bases.remove", base_id) as objects:
            users = [each.id for each in objects.volumes.values() if each.base_id == base_id]
            if users:
                self._world.broken(f"{base_id} removed from under {users[0]}")
            objects.bases.pop(base_id, None)

    def purge(self) -> None:
        """Do nothing: there is no cache."""

    def present(self) -> frozenset[str]:
        """List the bases."""
        with self._world.lock:
            return frozenset(self._world.objects.bases)


def _base_layer(base_id: str) -> Layer:
    return Layer(FileSource(Path("/simulated/bases") / base_id), "raw")


class SimulatedVolumes:
    """Remembers volumes and a trash."""

    def __init__(self, world: World, disk: int) -> None:
        self._world = world
        self._disk = disk

    def ensure(self, volume: VolumeSpec) -> VolumeSource:
        """Remember the volume, never smaller than it was."""
        with self._world.call("volumes.ensure", volume.id) as objects:
            if volume.base_id and volume.base_id not in objects.bases:
                raise BaseAbsentError(f"{volume.base_id} is not here")
            known = objects.volumes.get(volume.id)
            if known is None:
                if volume.size > self.capacity().free:
                    raise DiskFullError(f"no room for {volume.size} bytes")
                objects.volumes[volume.id] = volume
            elif volume.size > known.size:
                self._note_live_growth(volume.id)
                objects.volumes[volume.id] = replace(known, size=volume.size)
            return _source(volume)

    def _note_live_growth(self, volume_id: str) -> None:
        for machine_id, guest in self._world.objects.guests.items():
            if guest.power is not Power.OFF and any(disk.id == volume_id for disk in guest.spec.disks):
                self._world.broken(f"{volume_id} grown on file under running {machine_id}")

    def source(self, volume_id: str) -> VolumeSource | None:
        """Return how a guest would open the volume."""
        with self._world.lock:
            objects = self._world.objects
            known = objects.volumes.get(volume_id) or objects.stores.get(volume_id)
            return _source(known) if known is not None else None

    def size(self, volume_id: str) -> int | None:
        """Return the size."""
        with self._world.lock:
            known = self._world.objects.volumes.get(volume_id)
            return known.size if known is not None else None

    def make_room(self, volume_id: str, size: int) -> None:
        """Refuse to grow beyond the pool's room."""
        with self._world.lock:
            known = self._world.objects.volumes.get(volume_id)
            if known is not None and size - known.size > self.capacity().free:
                raise DiskFullError(f"no room for {size} bytes")

    def has_room(self, volume_id: str) -> bool:
        """Tell whether the volume was not set to full."""
        with self._world.lock:
            return volume_id not in self._world.objects.full

    def remove(self, volume_id: str) -> None:
        """Move the volume to the trash."""
        with self._world.call("volumes.remove", volume_id) as objects:
            for machine_id, guest in objects.guests.items():
                if guest.power is not Power.OFF and any(disk.id == volume_id for disk in guest.spec.disks):
                    self._world.broken(f"{volume_id} removed from under running {machine_id}")
            if objects.volumes.pop(volume_id, None) is not None:
                objects.trash.append(volume_id)

    def purge(self) -> None:
        """Empty the trash."""
        with self._world.call("volumes.purge") as objects:
            objects.trash.clear()

    def present(self) -> frozenset[str]:
        """List the volumes."""
        with self._world.lock:
            return frozenset(self._world.objects.volumes)

    def ensure_instance_store(self, disk_id: str, size: int, *, fresh: bool) -> VolumeSource:
        """Remember the disk."""
        with self._world.call("volumes.ensure_instance_store", disk_id) as objects:
            for machine_id, guest in objects.guests.items():
                if fresh and guest.power is not Power.OFF and any(disk.id == disk_id for disk in guest.spec.disks):
                    self._world.broken(f"{disk_id} made anew under running {machine_id}")
            if fresh or disk_id not in objects.stores:
                objects.stores[disk_id] = VolumeSpec(disk_id, size)
            return _source(objects.stores[disk_id])

    def remove_instance_store(self, machine_id: str) -> None:
        """Forget the disks."""
        with self._world.call("volumes.remove_instance_store", machine_id) as objects:
            for disk_id in [each for each in objects.stores if _machine_of(each) == machine_id]:
                guest = objects.guests.get(machine_id)
                if guest is not None and guest.power is not Power.OFF:
                    self._world.broken(f"{disk_id} removed from under running {machine_id}")
                del objects.stores[disk_id]

    def instance_stores(self) -> frozenset[str]:
        """List the machines with such disks."""
        with self._world.lock:
            return frozenset(_machine_of(each) for each in self._world.objects.stores)

    def pools(self) -> tuple[PoolStatus, ...]:
        """Return the status of the one pool."""
        return (PoolStatus("default", "directory", self.capacity(), (), is_default=True),)

    def capacity(self) -> Capacity:
        """Count volumes as fully allocated."""
        with self._world.lock:
            objects = self._world.objects
            held = sum(each.size for each in (*objects.volumes.values(), *objects.stores.values()))
        return Capacity(total=self._disk, free=max(0, self._disk - held), held=held)


def _machine_of(disk_id: str) -> str:
    """Return the machine of an instance store disk."""
    return disk_id.rpartition("-store")[0]


def _source(volume: VolumeSpec) -> VolumeSource:
    base = _base_layer(volume.base_id) if volume.base_id else None
    return VolumeSource(FileSource(Path("/simulated/volumes") / volume.id), "qcow2", base)
