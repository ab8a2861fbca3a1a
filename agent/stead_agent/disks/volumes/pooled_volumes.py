"""Implements the volumes of `interface.py` with pools: each is found wherever it is, and created where it belongs."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from stead_agent.disks.disk_sources import BlockSource, FileSource, Layer, RbdSource
from stead_agent.disks.qcow2 import EmptyDisk, Header, Qcow2Error, parse_header, render_empty
from stead_agent.disks.volumes.grow_disk import grow
from stead_agent.disks.volumes.interface import (
    BaseAbsentError,
    Capacity,
    DiskLostError,
    PoolStatus,
    VolumeError,
    VolumeSource,
    VolumeSpec,
)
from stead_agent.disks.volumes.local_files import BASE_NAME, LocalStore
from stead_agent.disks.volumes.pool import Pool, checked, is_disk_name, machine_of

_FORGETTING_SECONDS: Final = 86400.0
_REMEMBERED_SECONDS: Final = 180 * 86400.0  # longer than an operator should wait before restoring a backup

_log = logging.getLogger(__name__)


class PooledVolumes:
    """Disks of volumes and instance stores as qcow2 disks in pools: blank, or overlays over a base."""

    def __init__(
        self,
        store: LocalStore,
        pools: Sequence[tuple[Pool, tuple[str, ...]]],
        base_of: Callable[[str], Layer | None] = lambda _base_id: None,
    ) -> None:
        """Take the pools, each with the volume types that it serves (none: all); the first one is the default.

        `base_of` returns how a base is opened now, None when it is not here. In a disk's header a base always has the
        same name, whether it is a file already or still served by a process.
        """
        self._store = store
        self._pools = {pool.name: pool for pool, _types in pools}
        self._types = {pool.name: types for pool, types in pools}
        self._default = pools[0][0]
        self._base_of = base_of
        self._next_forgetting = time.monotonic()

    # -- volumes

    def ensure(self, volume: VolumeSpec) -> VolumeSource:
        """Ensure that the disk exists with at least this size, where it is already or in its intended pool.

        A disk that was here and is missing, such as when a pool is not mounted, is not created again: a guest would
        take the blank one for its own. A disk of before the volume moved away, and came back, is outdated: what it had
        is in the base now.
        """
        with self._store.room(checked(volume.id)):
            noted = self._store.noted(volume.id)
            is_new = volume.home_count > (noted.home_count if noted is not None else 0)
            found = self._find(volume.id)
            if found is not None and is_new and not volume.former_homes:
                found[0].discard(volume.id)
                found = None
                _log.warning("outdated_disk_discarded", extra={"volume": volume.id})
            if found is None and volume.former_homes:
                self._adopt(volume)
            elif found is None and noted is not None and not is_new:
                what = (
                    "removed here, as the controller once wanted"
                    if noted.removed
                    else "here, and is in no pool any more"
                )
                raise DiskLostError(f"{volume.id}: its disk was {what}")
            elif found is None:
                self._make(volume)
            elif _header(found[0], volume.id).size < volume.size and (volume.encryption_key or not volume.encrypted):
                self._grow(volume)
            self._store.note_made(volume.id, volume.home_count)
            source = self.source(volume.id)
        if source is None:
            raise VolumeError(f"{volume.id} vanished while it was made")
        return source

    def source(self, volume_id: str) -> VolumeSource | None:
        """Return how to open the disk.

        Its header may have been forged by a guest that broke out: only our bases are accepted below it. The folder of
        bases in the header may be that of another host, the volume's former home.
        """
        found = self._find(volume_id)
        if found is None:
            return None
        pool, source = found
        try:
            header = _header(pool, volume_id)
        except FileNotFoundError:
            return None
        if not header.backing_file:
            return VolumeSource(source, "qcow2", None)
        base = Path(header.backing_file)
        name = BASE_NAME.match(base.name)
        if name is None or base.parent.name != self._store.bases.name:
            raise VolumeError(f"{volume_id}: its file names a base that is none of ours")
        return VolumeSource(source, "qcow2", self._base(volume_id, name["id"]))

    def size(self, volume_id: str) -> int | None:
        """Return the size that a guest sees."""
        found = self._find(volume_id)
        if found is None:
            return None
        try:
            return _header(found[0], volume_id).size
        except FileNotFoundError:
            return None

    def make_room(self, volume_id: str, size: int) -> None:
        """Ensure that there is room for a disk in use that its machine is about to grow."""
        found = self._find(volume_id)
        if found is None:
            raise VolumeError(f"{volume_id} is not on this host")
        found[0].make_room(volume_id, size)

    def has_room(self, volume_id: str) -> bool:
        """Tell whether there is room where the disk is."""
        found = self._find(volume_id) if is_disk_name(volume_id) else None
        return found is None or found[0].has_room()

    def remove(self, volume_id: str) -> None:
        """Move the disk to the trash."""
        for pool in self._pools.values():
            pool.discard(volume_id)
        self._store.note_removed(checked(volume_id))

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""
        for pool in self._pools.values():
            pool.purge()
        if time.monotonic() >= self._next_forgetting:
            self._next_forgetting = time.monotonic() + _FORGETTING_SECONDS
            self._store.forget_removed(_REMEMBERED_SECONDS)

    def present(self) -> frozenset[str]:
        """List the volumes that are here."""
        names = (name for pool in self._pools.values() for name in pool.names())
        return frozenset(name for name in names if machine_of(name) is None)

    # -- instance store

    def ensure_instance_store(self, disk_id: str, size: int, *, fresh: bool) -> VolumeSource:
        """Ensure that an instance store disk exists; a fresh one reads as zeroes, whatever was there before."""
        machine_id = machine_of(checked(disk_id))
        if machine_id is None:
            raise VolumeError(f"{disk_id} is no disk of an instance store")
        found = self._find(disk_id)
        if found is not None and fresh:
            found[0].discard(disk_id, at_once=True)
            found = None
        if found is None:
            self._make(VolumeSpec(disk_id, size))
        source = self.source(disk_id)
        if source is None:
            raise VolumeError(f"{disk_id} vanished while it was made")
        return source

    def remove_instance_store(self, machine_id: str) -> None:
        """Delete all disks of a machine's instance store."""
        for pool in self._pools.values():
            for name in pool.names():
                if machine_of(name) == machine_id:
                    pool.discard(name, at_once=True)

    def instance_stores(self) -> frozenset[str]:
        """List the machines that have instance store disks."""
        machines = (machine_of(name) for pool in self._pools.values() for name in pool.names())
        return frozenset(each for each in machines if each is not None)

    # -- room

    def capacity(self) -> Capacity:
        """Return the room in the default pool; none while it cannot be reached."""
        return self._status(self._default).capacity

    def pools(self) -> tuple[PoolStatus, ...]:
        """Return the status of each pool; one that cannot be reached now has no room."""
        return tuple(self._status(pool) for pool in self._pools.values())

    def _status(self, pool: Pool) -> PoolStatus:
        try:
            capacity = pool.capacity()
        except VolumeError as error:
            _log.warning("pool_unreachable", extra={"pool": pool.name, "error": str(error)})
            capacity = Capacity(0, 0, 0)
        try:
            shared_id = pool.shared_id()
        except VolumeError:  # logged above
            shared_id = ""
        types = self._types[pool.name]
        return PoolStatus(
            pool.name, pool.backend, capacity, types, is_default=pool is self._default, shared_id=shared_id
        )

    def give_up(self) -> None:
        """Delete all disks, for this host is being removed; an unreachable pool keeps its disks, which is logged."""
        for pool in self._pools.values():
            try:
                pool.give_up()
            except VolumeError as error:
                _log.warning("disks_left", extra={"pool": pool.name, "error": str(error)})

    # -- making and growing

    def _find(self, name: str) -> tuple[Pool, FileSource | BlockSource | RbdSource] | None:
        """Find the pool in which a disk is."""
        for pool in self._pools.values():
            source = pool.source(name)
            if source is not None:
                return pool, source
        return None

    def _base(self, volume_id: str, base_id: str) -> Layer:
        base = self._base_of(base_id)
        if base is None:
            raise BaseAbsentError(f"{volume_id}: its base {base_id} is not here")
        return base

    def _meant_for(self, volume: VolumeSpec) -> Pool:
        """Return the pool in which a volume is to be created."""
        pool = self._pools.get(volume.pool) if volume.pool else self._default
        if pool is None:
            raise VolumeError(f"{volume.id}: this host has no pool {volume.pool!r}")
        return pool

    def _adopt(self, volume: VolumeSpec) -> None:
        """Take over the disk of a volume whose home was a removed host, and grow it to this size."""
        pool = self._meant_for(volume)
        if not pool.adopt(volume.id, volume.former_homes):
            former = ", ".join(volume.former_homes)
            raise VolumeError(f"{volume.id}: in pool {pool.name} there is no disk of it, of {former}")
        _log.warning("disk_taken_over", extra={"volume": volume.id, "pool": pool.name})
        if _header(pool, volume.id).size < volume.size and (volume.encryption_key or not volume.encrypted):
            self._grow(volume)

    def _make(self, volume: VolumeSpec) -> None:
        """Create a new disk."""
        pool = self._meant_for(volume)
        pool.make(volume.id, volume.size, _empty_disk(volume, self._below(volume)))

    def _below(self, volume: VolumeSpec) -> Path | None:
        """Return the base of a volume, a raw disk; None for a blank volume."""
        if not volume.base_id:
            return None
        if not BASE_NAME.match(name := f"{volume.base_id}.raw"):
            raise VolumeError(f"not an id: {volume.base_id!r}")
        self._base(volume.id, volume.base_id)
        return self._store.bases / name

    def _grow(self, volume: VolumeSpec) -> None:
        """Grow a disk that no running machine uses."""
        found = self._find(volume.id)
        assert found is not None  # `ensure` has just seen it
        pool, source = found
        pool.make_room(volume.id, volume.size)
        grow(volume.id, source, volume.size, volume.encryption_key if volume.encrypted else b"")


def _header(pool: Pool, name: str) -> Header:
    """Read a disk's header; raises VolumeError, and FileNotFoundError."""
    try:
        return parse_header(pool.read_start(name))
    except Qcow2Error as error:
        raise VolumeError(f"{name}: {error}") from error


def _empty_disk(volume: VolumeSpec, base: Path | None) -> EmptyDisk:
    """Render a new disk."""
    if volume.encrypted and not volume.encryption_key:
        raise VolumeError(f"{volume.id} is encrypted, and its key has not come")
    key = volume.encryption_key if volume.encrypted else b""
    try:
        return render_empty(volume.size, str(base) if base else "", "raw" if base else "", key)
    except Qcow2Error as error:
        raise VolumeError(f"{volume.id}: {error}") from error
