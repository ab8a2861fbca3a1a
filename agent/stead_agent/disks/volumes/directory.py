"""Implements `pool.py` with qcow2 files in a directory."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_sources import FileSource
from stead_agent.disks.qcow2 import EmptyDisk
from stead_agent.disks.volumes.interface import Capacity
from stead_agent.disks.volumes.local_files import LocalStore, allocated
from stead_agent.disks.volumes.pool import checked, is_disk_name, read_start

_SUFFIX: Final = ".qcow2"
_MODE: Final = 0o600
# Below this a file system counts as full: a resumed guest would soon be paused again.
_LEAST_FREE: Final = 16 << 20


class DirectoryPool:
    """Files below one directory; a file grows as its disk is written."""

    backend: Final = "directory"

    def __init__(self, name: str, store: LocalStore) -> None:
        """Use the existing files; delete those that an earlier agent left incomplete."""
        self.name = name
        self._store = store
        for half_made in store.incoming.iterdir():
            if is_disk_name(half_made.name.removesuffix(_SUFFIX)):
                half_made.unlink()

    def source(self, name: str) -> FileSource | None:
        """Return the disk's file."""
        path = self._path(name)
        return FileSource(path) if path.exists() else None

    def read_start(self, name: str) -> bytes:
        """Read the file's first bytes."""
        return read_start(self._path(name))

    def make(self, name: str, size: int, disk: EmptyDisk) -> None:
        """Create a sparse file."""
        del size
        incoming = self._store.incoming / f"{checked(name)}{_SUFFIX}"
        with self._store.room(name):
            os.close(os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
            write_disk(incoming, disk)
            self._store.publish(incoming, self._path(name))

    def adopt(self, name: str, owners: Sequence[str]) -> bool:
        """Return False: no other host can have had a disk here."""
        del name, owners
        return False

    def shared_id(self) -> str:
        """Return "": the pool is not shared."""
        return ""

    def make_room(self, name: str, size: int) -> None:
        """Do nothing: a file grows by itself."""

    def has_room(self) -> bool:
        """Ask the file system."""
        disk = os.statvfs(self._store.root)
        if disk.f_bavail * disk.f_frsize >= _LEAST_FREE:
            return True
        with self._store.room("trash"):
            self._store.purge(older_than=0)
        return False

    def discard(self, name: str, *, at_once: bool = False) -> None:
        """Move the file to the trash, or delete it."""
        with self._store.room(name):
            if at_once:
                self._path(name).unlink(missing_ok=True)
            else:
                self._store.discard(self._path(name))
            self._store.purge(self._store.trash_seconds)

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""
        with self._store.room("trash"):
            self._store.purge(self._store.trash_seconds)

    def give_up(self) -> None:
        """Delete the files."""
        with self._store.room("disks"):
            for name in self.names():
                self._path(name).unlink(missing_ok=True)
            self._store.purge(older_than=0)

    def names(self) -> frozenset[str]:
        """List the disks in this pool."""
        found = (path.name.removesuffix(_SUFFIX) for path in self._store.volumes.iterdir() if path.suffix == _SUFFIX)
        return frozenset(name for name in found if is_disk_name(name))

    def capacity(self) -> Capacity:
        """Return the room on the file system."""
        store = self._store
        disk = os.statvfs(store.root)
        trash = allocated(store.trash)
        places = (store.volumes, store.incoming)
        bases = (store.bases, store.bases / "filling", store.bases / "unused")
        held = sum(allocated(place) for place in (*places, *bases))
        return Capacity(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize + trash, held + trash)

    def _path(self, name: str) -> Path:
        return self._store.volumes / f"{checked(name)}{_SUFFIX}"
