"""Implements `pool.py` with logical volumes of an LVM thin pool.

A logical volume has the disk's name, is as large as the disk and the maximum that qcow2 adds, and uses room of the
pool only as it is written. A removed one is renamed, and deleted later; new ones are zeroed by the pool.
"""

import json
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_sources import BlockSource
from stead_agent.disks.qcow2 import EmptyDisk
from stead_agent.disks.volumes.interface import Capacity, DiskFullError, VolumeError
from stead_agent.disks.volumes.pool import checked, is_disk_name, read_start, room_for
from stead_agent.programs.run import RunError, run

_GROUP_NAME: Final = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]{0,100}\Z")  # lvm(8), VALID NAMES
_TRASH_NAME: Final = re.compile(r"(?P<name>.+)\.trash\.(?P<removed>[0-9]{1,20})\Z")
_NEW: Final = "new."
_SECONDS: Final = 60
_UDEV: Final = Path("/run/udev/control")
# Without udev, LVM's cookies are never answered; then LVM creates the names below /dev itself.
_NO_UDEV: Final = "activation { udev_sync=0 udev_rules=0 }"
_FULL_METADATA: Final = 95  # per cent
_FIELDS: Final = "lv_name,lv_size,segtype,pool_lv,data_percent,metadata_percent,lv_when_full"
# Below this a pool counts as full: the next disk's first clusters, and what guests write meanwhile, need room.
_LEAST_FREE: Final = 64 << 20


@dataclass(slots=True)
class _View:
    """A thin pool as LVM shows it: bytes of data, and its volumes with their sizes."""

    total: int
    held: int
    free: int
    errors_when_full: bool
    volumes: dict[str, int]


class LvmThinPool:
    """A thin pool used only by Stead, except for logical volumes whose names are not those of disks."""

    backend: Final = "lvm"

    def __init__(self, name: str, group: str, thin_pool: str, *, trash_seconds: float = 3600) -> None:
        """Name the pool; it is opened when it is first used, as it may not be there yet."""
        for each in (group, thin_pool):
            if not _GROUP_NAME.match(each):
                raise VolumeError(f"pool {name}: not a name of LVM's: {each!r}")
        self.name = name
        self._group = group
        self._thin_pool = thin_pool
        self._trash_seconds = trash_seconds
        self._lock = threading.Lock()
        self._is_prepared = False

    def source(self, name: str) -> BlockSource | None:
        """Return the disk's device; activate an inactive one, as after a boot."""
        path = self._path(checked(name))
        if path.exists():
            return BlockSource(path)
        if name not in self._look().volumes:
            return None
        self._lvm("lvchange", "--activate", "y", "--ignoreactivationskip", self._full(name))
        return BlockSource(path)

    def read_start(self, name: str) -> bytes:
        """Read the device's first bytes."""
        return read_start(self._path(checked(name)).resolve())

    def make(self, name: str, size: int, disk: EmptyDisk) -> None:
        """Create a logical volume under a temporary name, fill it, and rename it."""
        new = _NEW + checked(name)
        with self._lock:
            view = self._look()
            self._prepare(view)
            if view.free < _LEAST_FREE:
                self._purge(view, 0)
                view = self._look()
        if view.free < _LEAST_FREE:
            raise DiskFullError(f"{name}: no room left in pool {self.name}")
        if new in view.volumes:  # left by a failed try
            self._remove(new)
        self._lvm(
            *("lvcreate", "--type", "thin", "--thinpool", self._full(self._thin_pool), "--name", new),
            *("--virtualsize", f"{room_for(size)}b", "--wipesignatures", "n", "--setactivationskip", "n"),
        )
        write_disk(self._path(new).resolve(), disk)
        self._lvm("lvrename", self._group, new, name)

    def adopt(self, name: str, owners: Sequence[str]) -> bool:
        """Return False: no other host can have had a disk here."""
        del name, owners
        return False

    def shared_id(self) -> str:
        """Return "": the pool is not shared."""
        return ""

    def make_room(self, name: str, size: int) -> None:
        """Grow the logical volume, which uses no room of the pool yet."""
        room = room_for(size)
        if self._look().volumes.get(checked(name), room) < room:
            self._lvm("lvextend", "--size", f"{room}b", self._full(name))

    def has_room(self) -> bool:
        """Ask the thin pool."""
        view = self._look()
        if view.free >= _LEAST_FREE:
            return True
        self._purge(view, 0)
        return False

    def discard(self, name: str, *, at_once: bool = False) -> None:
        """Rename the logical volume, or remove it."""
        view = self._look()
        if checked(name) in view.volumes:
            if at_once:
                self._remove(name)
            else:
                # Deactivate it under its new name: fails, and is repeated, if a guest that just ended has it open.
                self._lvm("lvchange", "--activate", "n", self._full(name))
                self._lvm("lvrename", self._group, name, f"{name}.trash.{time.time_ns()}")
        self._purge(view, self._trash_seconds)

    def purge(self) -> None:
        """Remove from the trash what has been there long enough."""
        self._purge(self._look(), self._trash_seconds)

    def give_up(self) -> None:
        """Remove the logical volumes."""
        view = self._look()
        self._purge(view, 0)
        for name in view.volumes:
            if is_disk_name(name.removeprefix(_NEW)):
                self._remove(name)

    def names(self) -> frozenset[str]:
        """List the disks in this pool."""
        return frozenset(name for name in self._look().volumes if is_disk_name(name))

    def capacity(self) -> Capacity:
        """Return the thin pool's room for data; if its metadata is full, nothing is free."""
        view = self._look()
        return Capacity(view.total, view.free, view.held)

    # -- preparing

    def _prepare(self, view: "_View") -> None:
        """Once: make a full pool fail at once instead of queueing guests' writes, and remove incomplete disks."""
        if self._is_prepared:
            return
        if not view.errors_when_full:
            self._lvm("lvchange", "--errorwhenfull", "y", self._full(self._thin_pool))
        for name in view.volumes:
            if name.startswith(_NEW) and is_disk_name(name.removeprefix(_NEW)):
                self._remove(name)
        view.volumes = {name: size for name, size in view.volumes.items() if not name.startswith(_NEW)}
        self._is_prepared = True

    def _purge(self, view: "_View", older_than: float) -> None:
        now = time.time_ns()
        for name in view.volumes:
            found = _TRASH_NAME.match(name)
            if found and is_disk_name(found["name"]) and now - int(found["removed"]) >= older_than * 1e9:
                self._remove(name)

    # -- LVM's commands

    def _remove(self, name: str) -> None:
        self._lvm("lvremove", "--yes", self._full(name))

    def _look(self) -> "_View":
        """Ask LVM for the thin pool and the volumes in it; VolumeError when there is no such pool."""
        options = ("--reportformat", "json", "--units", "b", "--nosuffix", "--options", _FIELDS)
        answer = json.loads(self._lvm("lvs", *options, self._group))
        rows = [each for report in answer["report"] for each in report["lv"]]
        for row in rows:
            if row["lv_name"] == self._thin_pool and row["segtype"] == "thin-pool":
                total = int(row["lv_size"])
                held = int(total * float(row["data_percent"] or 0) / 100)
                has_metadata = float(row["metadata_percent"] or 0) < _FULL_METADATA
                volumes = {each["lv_name"]: int(each["lv_size"]) for each in rows if each["pool_lv"] == self._thin_pool}
                free = total - held if has_metadata else 0
                return _View(total, held, free, row["lv_when_full"] == "error", volumes)
        raise VolumeError(f"pool {self.name}: {self._full(self._thin_pool)} is no thin pool")

    def _lvm(self, command: str, *arguments: str) -> bytes:
        """Run an LVM command."""
        config = () if _UDEV.exists() else ("--config", _NO_UDEV)
        try:
            return run([command, *config, *arguments], timeout=_SECONDS).stdout
        except RunError as error:
            raise VolumeError(f"pool {self.name}: {error}") from error

    def _full(self, name: str) -> str:
        return f"{self._group}/{name}"

    def _path(self, name: str) -> Path:
        return Path("/dev") / self._group / name
