"""Implements `pool.py` with images of a Ceph pool.

Hosts may share a pool: each names its images by its own id, and lists and removes no others. An image is at least as
large as its disk and the maximum that qcow2 adds, and uses room as it is written. Removed images are in Ceph's own
trash.
"""

import errno
import logging
import re
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stead_agent.disks.disk_sources import RbdSource
from stead_agent.disks.qcow2 import HEADER_BYTES, EmptyDisk
from stead_agent.disks.volumes.ceph_keyring import key_of
from stead_agent.disks.volumes.interface import Capacity, DiskFullError, VolumeError
from stead_agent.disks.volumes.librbd import CephError, Cluster, Trashed
from stead_agent.disks.volumes.pool import checked, is_disk_name, room_for

_log = logging.getLogger(__name__)

USER: Final = "stead"  # of cephx
_NEW: Final = "new."
_TAKEN: Final = "taken."  # name prefix of images taken over from another host, whose clients are not fenced yet
_FENCE_SECONDS: Final = 10 * 365 * 86400  # permanently
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
# Below this a pool counts as full: the next disk's first clusters, and what guests write meanwhile, need room.
_LEAST_FREE: Final = 64 << 20
# So disks that grow while QEMU has them open need no larger image. Ceph stores two bits for each 4 MiB of an image and
# # scans them when it is deleted: 0.1 s for 1 TiB, 2.4 s for 16 TiB.
_LEAST_IMAGE: Final = 1 << 40
# How long an unreachable cluster is not tried again: there may be many callers, and each would wait long.
_PAUSE_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 40.0  # Ceph forgets a client that was killed after 30
_POLL_SECONDS: Final = 0.5
_QEMU_MODULES: Final = "*/qemu/block-rbd.so"
_OWNER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")


class RbdPool:
    """The images of one host in a Ceph pool."""

    backend: Final = "rbd"

    def __init__(self, name: str, pool: str, conf: Path, owner: str, *, trash_seconds: float = 3600) -> None:
        """Name the pool; connects to the cluster on first use, as it may not be reachable yet.

        `owner` is this host's id, empty while it has none.
        """
        self.name = name
        self._pool = pool
        self._conf = conf
        self._owner = owner
        self._trash_seconds = trash_seconds
        self._lock = threading.Lock()
        self._cluster: Cluster | None = None
        self._key = ""
        self._failure: tuple[float, str] = (0.0, "")
        self._is_prepared = False

    def source(self, name: str) -> RbdSource | None:
        """Return the disk's image."""
        image = self._image(name)
        with self._asking() as cluster:
            if not cluster.has(image):
                return None
        return RbdSource(self._pool, image, self._conf, USER, self._key)

    def read_start(self, name: str) -> bytes:
        """Read the image's first bytes."""
        with self._asking() as cluster:
            try:
                return cluster.read(self._image(name), HEADER_BYTES)
            except CephError as error:
                if error.errno == errno.ENOENT:
                    raise FileNotFoundError(name) from error
                raise

    def make(self, name: str, size: int, disk: EmptyDisk) -> None:
        """Create an image under a temporary name, fill it, and rename it."""
        new, image = self._image(name, _NEW), self._image(name)
        if self._free() < _LEAST_FREE:
            self._purge(at_once=True)
            if self._free() < _LEAST_FREE:
                raise DiskFullError(f"{name}: no room left in pool {self.name}")
        with self._asking() as cluster:
            self._prepare(cluster)
            if cluster.has(new):  # left by a failed try
                cluster.remove(new)
            cluster.create(new, _image_size(size))
            cluster.write(new, disk.pieces)
            cluster.rename(new, image)

    def adopt(self, name: str, owners: Sequence[str]) -> bool:
        """Rename the image so that those hosts cannot open it, fence clients that have it open, then give it our name.

        A client that opened it by the old name did so before the clients are listed. No client of those hosts can write
        to it, except one that Ceph counts as dead and that had not written before: those hosts must be off.
        """
        taken, image = self._image(name, _TAKEN), self._image(name)
        with self._asking() as cluster:
            if not cluster.has(taken):
                found = next((old for old in _images_of(name, owners) if cluster.has(old)), None)
                if found is None:
                    return cluster.has(image)
                cluster.rename(found, taken)
            count = cluster.fence(taken, _FENCE_SECONDS)
            cluster.rename(taken, image)
        _log.warning("image_taken_over", extra={"image": image, "kept_out": count})
        return True

    def shared_id(self) -> str:
        """Return the id of the cluster and pool."""
        with self._asking() as cluster:
            return cluster.place()

    def make_room(self, name: str, size: int) -> None:
        """Grow the image, which uses no room of the pool yet.

        A QEMU that has it open would not notice, and would resize it with each cluster that it writes beyond the end
        that it knows: so an open image is left to QEMU, which is slow but correct.
        """
        with self._asking() as cluster:
            try:
                cluster.grow(self._image(name), _image_size(size))
            except CephError as error:
                if error.errno != errno.EBUSY:
                    raise

    def has_room(self) -> bool:
        """Ask the cluster."""
        if self._free() >= _LEAST_FREE:
            return True
        self._purge(at_once=True)
        return False

    def discard(self, name: str, *, at_once: bool = False) -> None:
        """Move the image to the trash, or delete it."""
        image = self._image(name)
        with self._asking() as cluster:
            if cluster.has(image):
                if at_once:
                    cluster.remove(image)
                else:
                    cluster.discard(image, int(self._trash_seconds))
        self._purge()

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""
        self._purge()

    def give_up(self) -> None:
        """Remove the images; one that a killed process had open is free after half a minute."""
        deadline = time.monotonic() + _WATCH_SECONDS
        with self._asking() as cluster:
            for image in filter(self._is_ours, cluster.images()):
                while not _removed(cluster, image, wait=time.monotonic() < deadline):
                    time.sleep(_POLL_SECONDS)
        self._purge(at_once=True)

    def names(self) -> frozenset[str]:
        """List this host's disks in the pool."""
        with self._asking() as cluster:
            ours = (image.removeprefix(f"{self._owner}.") for image in cluster.images() if self._is_ours(image))
            return frozenset(name for name in ours if is_disk_name(name))

    def capacity(self) -> Capacity:
        """Return how much can be stored in the pool, given its replication and quota.

        All hosts that share the pool share this room.
        """
        with self._asking() as cluster:
            rows = cluster.ask_monitor(prefix="df", detail="detail")["pools"]
        for row in rows:
            if row["name"] == self._pool:
                stats = row["stats"]
                held, free = int(stats["stored"]), int(stats["max_avail"])
                if quota := int(stats.get("quota_bytes", 0)):
                    free = min(free, max(0, quota - held))
                return Capacity(held + free, free, held)
        raise VolumeError(f"pool {self.name}: Ceph knows no pool {self._pool}")

    # -- what is ours

    def _image(self, name: str, prefix: str = "") -> str:
        return f"{self._owner}.{prefix}{checked(name)}"

    def _is_ours(self, image: str) -> bool:
        return image.startswith(f"{self._owner}.")

    def _free(self) -> int:
        return self.capacity().free

    def _prepare(self, cluster: Cluster) -> None:
        """Once: remove images that an earlier agent left incomplete."""
        with self._lock:
            is_prepared, self._is_prepared = self._is_prepared, True
        if is_prepared:
            return
        for image in cluster.images():
            if self._is_ours(image) and is_disk_name(image.removeprefix(f"{self._owner}.{_NEW}")):
                cluster.remove(image)

    def _purge(self, *, at_once: bool = False) -> None:
        """Empty the trash as far as possible: images that a process still has open are deleted another time."""
        with self._asking() as cluster:
            for each in cluster.trash():
                is_due = at_once or time.time() >= each.kept_until
                if is_due and self._is_ours(each.name) and is_disk_name(each.name.removeprefix(f"{self._owner}.")):
                    _delete(cluster, each)

    # -- the cluster

    @contextmanager
    def _asking(self) -> Iterator[Cluster]:
        """Yield the connection; errors of the cluster become VolumeErrors."""
        try:
            yield self._connected()
        except CephError as error:
            if error.errno in _FULL:
                raise DiskFullError(f"pool {self.name}: no room left: {error}") from error
            raise VolumeError(f"pool {self.name}: {error}") from error

    def _connected(self) -> Cluster:
        """Connect, unless connected; after a failure, callers do not wait for the cluster again for a while."""
        with self._lock:
            if self._cluster is not None:
                return self._cluster
            if not _OWNER.match(self._owner):
                raise VolumeError(f"pool {self.name}: this host has no id yet by which its images could be known")
            until, reason = self._failure
            if time.monotonic() < until:
                raise VolumeError(reason)
            try:
                _check_host(self._conf)
                cluster = Cluster(self._conf, USER, self._pool)
                self._key = key_of(cluster.keyrings, f"client.{USER}")
            except (CephError, OSError, VolumeError) as error:
                reason = f"pool {self.name}: {error}"
                self._failure = time.monotonic() + _PAUSE_SECONDS, reason
                raise VolumeError(reason) from error
            self._cluster = cluster
            return cluster


def _images_of(name: str, owners: Sequence[str]) -> Iterator[str]:
    """Yield the image names that a disk may have under other hosts, or under one that did not finish taking it over."""
    for owner in owners:
        if _OWNER.match(owner):
            yield f"{owner}.{checked(name)}"
            yield f"{owner}.{_TAKEN}{name}"


def _image_size(size: int) -> int:
    """Return the size of the image for a disk of so many bytes."""
    return room_for(max(size, _LEAST_IMAGE))


def _check_host(conf: Path) -> None:
    """Refuse a QEMU without Ceph support, and settings that guests' processes, separate users, cannot read."""
    if not any(Path("/usr/lib").glob(_QEMU_MODULES)):
        raise VolumeError("QEMU cannot open images of Ceph: apt-get install qemu-block-extra")
    for path in (conf, *conf.resolve().parents):
        wanted = stat.S_IXOTH if path.is_dir() else stat.S_IROTH
        if not path.stat().st_mode & wanted:
            raise VolumeError(f"guests' processes cannot read {conf}: chmod o+{'x' if path.is_dir() else 'r'} {path}")


def _removed(cluster: Cluster, image: str, *, wait: bool) -> bool:
    """Remove an image; return False when a process still has it open and that is to be waited for."""
    try:
        cluster.remove(image)
    except CephError as error:
        if error.errno == errno.EBUSY and wait:
            return False
        if error.errno != errno.ENOENT:
            raise
    return True


def _delete(cluster: Cluster, trashed: Trashed) -> None:
    try:
        cluster.delete_trashed(trashed)
    except CephError as error:
        if error.errno not in {errno.EBUSY, errno.ENOENT}:
            raise
