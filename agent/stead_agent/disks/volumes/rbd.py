"""Keeps disks in images of a Ceph pool: `pool.py`'s promise.

Hosts may share a pool: each names its images by its own id, and lists and removes no others. An image is as large
as its disk and what qcow2 adds at worst, or larger, and takes room as it is written. What was removed is in Ceph's
own trash.
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
_TAKEN: Final = "taken."  # from another host, and not fenced yet
_FENCE_SECONDS: Final = 10 * 365 * 86400  # for good
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
# Below this a pool counts as full: the next disk's first clusters, and what guests write meanwhile, need room.
_LEAST_FREE: Final = 64 << 20
# Disks that grow while QEMU has them open then need no larger image. Ceph keeps two bits for each 4 MiB of an image and
# goes through them when it is deleted: of one of 1 TiB in 0.1 s, of 16 TiB in 2.4.
_LEAST_IMAGE: Final = 1 << 40
# How long a cluster that could not be reached is not tried again: what waits for it is many, and each would wait long.
_PAUSE_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 40.0  # Ceph forgets a client that was killed after 30
_POLL_SECONDS: Final = 0.5
_QEMU_MODULES: Final = "*/qemu/block-rbd.so"
_OWNER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")


class RbdPool:
    """The images of one host in a pool of Ceph's."""

    backend: Final = "rbd"

    def __init__(self, name: str, pool: str, conf: Path, owner: str, *, trash_seconds: float = 3600) -> None:
        """Name the pool; the cluster is connected when it is first used, for it may not be reachable yet.

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
        """Tell the disk's image."""
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
        """Make an image under another name, fill it, and give it its own."""
        new, image = self._image(name, _NEW), self._image(name)
        if self._free() < _LEAST_FREE:
            self._purge(at_once=True)
            if self._free() < _LEAST_FREE:
                raise DiskFullError(f"{name}: no room left in pool {self.name}")
        with self._asking() as cluster:
            self._prepare(cluster)
            if cluster.has(new):  # a try that failed
                cluster.remove(new)
            cluster.create(new, _image_size(size))
            cluster.write(new, disk.pieces)
            cluster.rename(new, image)

    def adopt(self, name: str, owners: Sequence[str]) -> bool:
        """Give the image a name that none of those hosts opens it by, keep out who has it open, then give it its own.

        Who opens it by the old name does so before all who have it open are asked for. So nobody of those hosts can
        write to it, but for one whom Ceph has taken for dead and who had not written before: they must be off.
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
        """Name the cluster and the pool."""
        with self._asking() as cluster:
            return cluster.place()

    def make_room(self, name: str, size: int) -> None:
        """Make the image larger, which takes no room of the pool yet.

        A QEMU that has it open would not see that, and make it as large as it needs with each cluster that it writes
        beyond the end that it knows: so it is left to do that, which is slow, and right.
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
        """Remove the images; one that a process had open that was killed is free after half a minute."""
        deadline = time.monotonic() + _WATCH_SECONDS
        with self._asking() as cluster:
            for image in filter(self._is_ours, cluster.images()):
                while not _removed(cluster, image, wait=time.monotonic() < deadline):
                    time.sleep(_POLL_SECONDS)
        self._purge(at_once=True)

    def names(self) -> frozenset[str]:
        """List the disks that are here."""
        with self._asking() as cluster:
            ours = (image.removeprefix(f"{self._owner}.") for image in cluster.images() if self._is_ours(image))
            return frozenset(name for name in ours if is_disk_name(name))

    def capacity(self) -> Capacity:
        """Tell how much can be stored in the pool, with the copies and up to the quota that it has.

        It is the same room for all hosts that share the pool.
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
        """Once: remove what was being made when an earlier agent died."""
        with self._lock:
            is_prepared, self._is_prepared = self._is_prepared, True
        if is_prepared:
            return
        for image in cluster.images():
            if self._is_ours(image) and is_disk_name(image.removeprefix(f"{self._owner}.{_NEW}")):
                cluster.remove(image)

    def _purge(self, *, at_once: bool = False) -> None:
        """Delete from the trash, each as far as it can be: one that a process still has open goes another time."""
        with self._asking() as cluster:
            for each in cluster.trash():
                is_due = at_once or time.time() >= each.kept_until
                if is_due and self._is_ours(each.name) and is_disk_name(each.name.removeprefix(f"{self._owner}.")):
                    _delete(cluster, each)

    # -- the cluster

    @contextmanager
    def _asking(self) -> Iterator[Cluster]:
        """Give the connection; what the cluster refuses becomes an error of volumes."""
        try:
            yield self._connected()
        except CephError as error:
            if error.errno in _FULL:
                raise DiskFullError(f"pool {self.name}: no room left: {error}") from error
            raise VolumeError(f"pool {self.name}: {error}") from error

    def _connected(self) -> Cluster:
        """Connect, unless that is done; a cluster that was away just now is not waited for again by each caller."""
        with self._lock:
            if self._cluster is not None:
                return self._cluster
            if not _OWNER.match(self._owner):
                raise VolumeError(f"pool {self.name}: this host has no id yet by which its images could be known")
            until, told = self._failure
            if time.monotonic() < until:
                raise VolumeError(told)
            try:
                _check_host(self._conf)
                cluster = Cluster(self._conf, USER, self._pool)
                self._key = key_of(cluster.keyrings, f"client.{USER}")
            except (CephError, OSError, VolumeError) as error:
                told = f"pool {self.name}: {error}"
                self._failure = time.monotonic() + _PAUSE_SECONDS, told
                raise VolumeError(told) from error
            self._cluster = cluster
            return cluster


def _images_of(name: str, owners: Sequence[str]) -> Iterator[str]:
    """Name the images that a disk may have as that of other hosts, or of one that did not finish taking it over."""
    for owner in owners:
        if _OWNER.match(owner):
            yield f"{owner}.{checked(name)}"
            yield f"{owner}.{_TAKEN}{name}"


def _image_size(size: int) -> int:
    """Tell how large to make an image for a disk of so many bytes."""
    return room_for(max(size, _LEAST_IMAGE))


def _check_host(conf: Path) -> None:
    """Refuse a QEMU that knows no Ceph, and settings that guests' processes, users of their own, cannot read."""
    if not any(Path("/usr/lib").glob(_QEMU_MODULES)):
        raise VolumeError("QEMU cannot open images of Ceph: apt-get install qemu-block-extra")
    for path in (conf, *conf.resolve().parents):
        wanted = stat.S_IXOTH if path.is_dir() else stat.S_IROTH
        if not path.stat().st_mode & wanted:
            raise VolumeError(f"guests' processes cannot read {conf}: chmod o+{'x' if path.is_dir() else 'r'} {path}")


def _removed(cluster: Cluster, image: str, *, wait: bool) -> bool:
    """Remove an image; say no when a process still has it open and that is to be waited for."""
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
