"""The directories that disks are kept in, and images as files in them, as `interface.py` promises.

Below one directory: `images/` and `volumes/` hold what is whole, `incoming/` what is being fetched or made, `trash/`
what was removed. A file gets its final name when all of it is on the disk, and a name only ever comes from a checked
id. Guests' processes may pass through the directories and read images; only root may list or change them.
"""

import contextlib
import errno
import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_agent.volumes.interface import (
    DiskFullError,
    Fetch,
    ImageBase,
    ImageRefusedError,
    VolumeError,
)
from stead_agent.volumes.judge import why_refused
from stead_agent.volumes.pool import read_header, read_start

_log = logging.getLogger(__name__)

IMAGE_NAME: Final = re.compile(r"(?P<id>ami-[0-9a-f]{8,17})\.(?P<format>qcow2|raw)\Z")
BASE_NAME: Final = re.compile(r"(?P<id>snap-[0-9a-f]{8,17})\.raw\Z")
_TRASH_NAME: Final = re.compile(r".+\.(?P<removed>[0-9]{1,20})\Z")
_PASSABLE: Final = 0o711
_IMAGE_MODE: Final = 0o444
_VOLUME_MODE: Final = 0o600
_READ: Final = 1 << 20


class LocalStore:
    """The directories that images and volumes share."""

    def __init__(self, root: Path, *, trash_seconds: float = 3600) -> None:
        """Make the directories; `trash_seconds` is how long removed disks can still be rescued by hand."""
        self.root = root
        self.images = root / "images"
        self.bases = root / "bases"
        self.volumes = root / "volumes"
        self.incoming = root / "incoming"
        self.trash = root / "trash"
        self.trash_seconds = trash_seconds
        for directory in (root, self.images, self.volumes):
            directory.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
            directory.chmod(_PASSABLE)
        for directory in (self.incoming, self.trash):
            directory.mkdir(mode=0o700, exist_ok=True)
        self._check_reachable()

    def _check_reachable(self) -> None:
        """Refuse a directory through which guests' processes, users of their own, cannot pass."""
        for parent in self.root.resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                raise VolumeError(f"guests' processes cannot pass through {parent}: chmod o+x {parent}")

    def discard(self, path: Path) -> Path | None:
        """Move a file to the trash, if it exists, and say where it is there."""
        target = self.trash / f"{path.name}.{time.time_ns()}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        _sync_directory(path.parent)
        return target

    def purge(self, older_than: float) -> None:
        """Delete what has been in the trash for so many seconds."""
        now = time.time_ns()
        for path in self.trash.iterdir():
            name = _TRASH_NAME.match(path.name)
            if name and now - int(name["removed"]) >= older_than * 1e9:
                path.unlink(missing_ok=True)

    def publish(self, incoming: Path, final: Path) -> None:
        """Give a file that is whole its final name; it and the name are on the disk when this returns."""
        handle = os.open(incoming, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        incoming.rename(final)
        _sync_directory(final.parent)

    @contextlib.contextmanager
    def room(self, what: str) -> Iterator[None]:
        """Tell apart a full disk from other trouble; a full disk empties the trash, for the next try."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                self.purge(older_than=0)
                raise DiskFullError(f"{what}: no room left in {self.root}") from error
            raise VolumeError(f"{what}: {error}") from error


class LocalImages:
    """The images fetched to this host, as files."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def ensure(self, image: ImageBase, fetch: Fetch) -> None:
        """Have the image here, whole and verified."""
        final = self._store.images / _checked(IMAGE_NAME, f"{image.id}.{image.format}")
        if final.exists():
            return
        part = self._store.incoming / f"{final.name}.part"
        with self._store.room(image.id):
            digest = self._fetch(image, fetch, part)
            fault = f"its checksum is {digest}" if digest != image.sha256 else why_refused(image, read_start(part))
            if fault:
                part.unlink()
                raise ImageRefusedError(f"{image.id}: {fault}")
            part.chmod(_IMAGE_MODE)
            self._store.publish(part, final)
        _log.info("image_here", extra={"image": image.id, "bytes": image.file_size})

    def remove(self, image_id: str) -> None:
        """Move the image to the trash, unless a volume needs it.

        Nothing is locked: a volume may be laid over it just now. So it is looked for again when the image is gone, and
        who lays a volume looks for the image again when the volume is there (`PooledVolumes`): one of both sees it.
        """
        _checked(IMAGE_NAME, f"{image_id}.raw")
        with self._store.room(image_id):
            for name in (f"{image_id}.qcow2", f"{image_id}.raw"):
                (self._store.incoming / f"{name}.part").unlink(missing_ok=True)
                image = self._store.images / name
                self._check_unused(image)
                discarded = self._store.discard(image)
                try:
                    self._check_unused(image)
                except VolumeError:
                    if discarded:
                        discarded.rename(image)
                    raise

    def present(self) -> frozenset[str]:
        """List the images that are here, whole."""
        names = (IMAGE_NAME.match(path.name) for path in self._store.images.iterdir())
        return frozenset(name["id"] for name in names if name)

    def _fetch(self, image: ImageBase, fetch: Fetch, part: Path) -> str:
        """Fetch what is missing of the file, and return the checksum of all of it."""
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _VOLUME_MODE)
        with os.fdopen(handle, "r+b") as file:
            digest = hashlib.sha256()
            while piece := file.read(_READ):
                digest.update(piece)
            received = file.tell()
            self._check_room(image, received)
            if received < image.file_size:
                for piece in fetch(received):
                    file.write(piece)
                    digest.update(piece)
                    received += len(piece)
                    if received > image.file_size:
                        break
        if received != image.file_size:
            if received > image.file_size:
                part.unlink()
            raise VolumeError(f"{image.id}: {received} bytes came, not {image.file_size}")
        return digest.hexdigest()

    def _check_room(self, image: ImageBase, received: int) -> None:
        """Refuse to begin what cannot end well."""
        disk = os.statvfs(self._store.incoming)
        if disk.f_bavail * disk.f_frsize < image.file_size - received:
            raise OSError(errno.ENOSPC, "not enough free")

    def _check_unused(self, image: Path) -> None:
        """Refuse if a volume is laid over the image."""
        for path in self._store.volumes.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a volume that is just being removed
                if read_header(path).backing_file == str(image):
                    raise VolumeError(f"{image.stem} is needed by {path.stem}")


def _checked(pattern: re.Pattern[str], name: str) -> str:
    """Refuse to make a file's name of anything but an id."""
    if not pattern.match(name):
        raise VolumeError(f"not an id: {name!r}")
    return name


def _sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def allocated(directory: Path) -> int:
    """Add up the bytes that the files of a directory take on the disk; files may come and go meanwhile."""
    total = 0
    for path in directory.iterdir() if directory.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            total += path.lstat().st_blocks * 512
    return total
