"""Does with files in local directories what `interface.py` promises.

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

from stead_agent.disk_sources import FileSource, Format, Layer
from stead_agent.run import Identity, Limits, RunError, run
from stead_agent.volumes.interface import (
    BaseAbsentError,
    Capacity,
    DiskFullError,
    Fetch,
    ImageAbsentError,
    ImageBase,
    ImageRefusedError,
    VolumeError,
    VolumeSource,
    VolumeSpec,
)
from stead_agent.volumes.judge import why_refused
from stead_agent.volumes.qcow2 import HEADER_BYTES, Header, Qcow2Error, parse_header, render_empty

_log = logging.getLogger(__name__)

_IMAGE_NAME: Final = re.compile(r"(?P<id>ami-[0-9a-f]{8,17})\.(?P<format>qcow2|raw)\Z")
_BASE_NAME: Final = re.compile(r"(?P<id>snap-[0-9a-f]{8,17})\.raw\Z")
_VOLUME_NAME: Final = re.compile(r"(?P<id>vol-[0-9a-f]{8,17})\.qcow2\Z")
_TRASH_NAME: Final = re.compile(r".+\.(?P<removed>[0-9]{1,20})\Z")
_PASSABLE: Final = 0o711
_IMAGE_MODE: Final = 0o444
_VOLUME_MODE: Final = 0o600
# What qemu-img may use: it reads a file that a guest that broke out could have forged.
_QEMU_IMG_LIMITS: Final = Limits(cpu_seconds=30, address_space=1 << 30)
_QEMU_IMG_SECONDS: Final = 60
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
        for half_made in self.incoming.glob("vol-*"):
            half_made.unlink()

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
        final = self._store.images / _checked(_IMAGE_NAME, f"{image.id}.{image.format}")
        if final.exists():
            return
        part = self._store.incoming / f"{final.name}.part"
        with self._store.room(image.id):
            digest = self._fetch(image, fetch, part)
            fault = f"its checksum is {digest}" if digest != image.sha256 else why_refused(image, _start_of(part))
            if fault:
                part.unlink()
                raise ImageRefusedError(f"{image.id}: {fault}")
            part.chmod(_IMAGE_MODE)
            self._store.publish(part, final)
        _log.info("image_here", extra={"image": image.id, "bytes": image.file_size})

    def remove(self, image_id: str) -> None:
        """Move the image to the trash, unless a volume needs it.

        Nothing is locked: a volume may be laid over it just now. So it is looked for again when the image is gone, and
        who lays a volume looks for the image again when the volume is there (`LocalVolumes`): one of both sees it.
        """
        _checked(_IMAGE_NAME, f"{image_id}.raw")
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
        names = (_IMAGE_NAME.match(path.name) for path in self._store.images.iterdir())
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
                if _read_header(path).backing_file == str(image):
                    raise VolumeError(f"{image.stem} is needed by {path.stem}")


class LocalVolumes:
    """Disks as qcow2 files: laid over an image or a base, or blank."""

    def __init__(self, store: LocalStore, base_of: Callable[[str], Layer | None] = lambda _base_id: None) -> None:
        """Have `base_of` tell how a base is opened now, None when it is not here.

        In a disk's header a base always has the same name, whether it is a file yet or still served by a process.
        """
        self._store = store
        self._base_of = base_of

    def ensure(self, volume: VolumeSpec) -> VolumeSource:
        """Have the disk here, at least as large as said."""
        path = self._path(volume.id)
        with self._store.room(volume.id):
            if not path.exists():
                self._make(volume, path)
            elif _read_header(path).size < volume.size:
                self._grow(path, volume.size)
            source = self.source(volume.id)
        if source is None:
            raise VolumeError(f"{volume.id} vanished while it was made")
        return source

    def source(self, volume_id: str) -> VolumeSource | None:
        """Tell how to open the disk.

        Its header may have been forged by a guest that broke out: only one of our images can be below it.
        """
        path = self._path(volume_id)
        try:
            header = _read_header(path)
        except FileNotFoundError:
            return None
        if not header.backing_file:
            return VolumeSource(FileSource(path), "qcow2", None)
        base = Path(header.backing_file)
        if base.parent == self._store.bases and (found := _BASE_NAME.match(base.name)):
            return VolumeSource(FileSource(path), "qcow2", self._base(volume_id, found["id"]))
        name = _IMAGE_NAME.match(base.name)
        if name is None or base.parent != self._store.images or header.backing_format != name["format"]:
            raise VolumeError(f"{volume_id}: its file names a base that is none of ours")
        return VolumeSource(FileSource(path), "qcow2", Layer(FileSource(base), cast("Format", name["format"])))

    def _base(self, volume_id: str, base_id: str) -> Layer:
        base = self._base_of(base_id)
        if base is None:
            raise BaseAbsentError(f"{volume_id}: its base {base_id} is not here")
        return base

    def size(self, volume_id: str) -> int | None:
        """Tell the size that a guest sees."""
        try:
            return _read_header(self._path(volume_id)).size
        except FileNotFoundError:
            return None

    def remove(self, volume_id: str) -> None:
        """Move the disk to the trash."""
        with self._store.room(volume_id):
            self._store.discard(self._path(volume_id))
            self._store.purge(self._store.trash_seconds)

    def purge(self) -> None:
        """Delete from the trash what has been there long enough."""
        with self._store.room("trash"):
            self._store.purge(self._store.trash_seconds)

    def present(self) -> frozenset[str]:
        """List the disks that are here."""
        names = (_VOLUME_NAME.match(path.name) for path in self._store.volumes.iterdir())
        return frozenset(name["id"] for name in names if name)

    def capacity(self) -> Capacity:
        """Tell how much room there is."""
        disk = os.statvfs(self._store.root)
        trash = _allocated(self._store.trash)
        places = (self._store.volumes, self._store.images, self._store.incoming)
        bases = (self._store.bases, self._store.bases / "filling", self._store.bases / "unused")
        held = sum(_allocated(place) for place in (*places, *bases))
        return Capacity(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize + trash, held + trash)

    def _path(self, volume_id: str) -> Path:
        """Name the file of a volume."""
        return self._store.volumes / _checked(_VOLUME_NAME, f"{volume_id}.qcow2")

    def _make(self, volume: VolumeSpec, path: Path) -> None:
        """Make a new disk; should its base be removed at the same time, the disk is taken back."""
        incoming = self._store.incoming / path.name
        base, base_format = self._below(volume)
        try:
            disk = render_empty(volume.size, str(base) if base else "", base_format)
        except Qcow2Error as error:
            raise VolumeError(f"{volume.id}: {error}") from error
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(incoming, flags, _VOLUME_MODE)
        try:
            for offset, piece in disk.pieces:
                os.pwrite(handle, piece, offset)
            os.ftruncate(handle, disk.length)
        finally:
            os.close(handle)
        self._store.publish(incoming, path)
        if volume.image_id and base and not base.exists():
            path.unlink()
            raise ImageAbsentError(f"{volume.id}: its image {volume.image_id} has just been removed")

    def _below(self, volume: VolumeSpec) -> tuple[Path | None, str]:
        """Find the image or base that a volume is to be laid over; an image must not be larger."""
        if volume.base_id:
            name = _checked(_BASE_NAME, f"{volume.base_id}.raw")
            self._base(volume.id, volume.base_id)
            return self._store.bases / name, "raw"
        if not volume.image_id:
            return None, ""
        for image_format in ("qcow2", "raw"):
            base = self._store.images / _checked(_IMAGE_NAME, f"{volume.image_id}.{image_format}")
            if base.exists():
                size = _read_header(base).size if image_format == "qcow2" else base.stat().st_size
                if size > volume.size:
                    raise VolumeError(f"{volume.id}: {volume.size} bytes are less than its image's {size}")
                return base, image_format
        raise ImageAbsentError(f"{volume.id}: its image {volume.image_id} is not here")

    def _grow(self, path: Path, size: int) -> None:
        """Grow a disk on file. As its owner and with its base left out: see `source`."""
        owner = path.stat().st_uid
        identity = Identity(owner, owner) if owner else None
        name = str(path).replace(",", ",,")
        image = f"driver=qcow2,file.driver=file,file.filename={name},backing="
        try:
            run(
                ["qemu-img", "resize", "-q", "--image-opts", image, str(size)],
                timeout=_QEMU_IMG_SECONDS,
                limits=_QEMU_IMG_LIMITS,
                identity=identity,
            )
        except RunError as error:
            raise VolumeError(f"{path.stem}: cannot be grown: {error}") from error


def _checked(pattern: re.Pattern[str], name: str) -> str:
    """Refuse to make a file's name of anything but an id."""
    if not pattern.match(name):
        raise VolumeError(f"not an id: {name!r}")
    return name


def _start_of(path: Path) -> bytes:
    """Read the first bytes of a file."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.pread(handle, HEADER_BYTES, 0)
    finally:
        os.close(handle)


def _read_header(path: Path) -> Header:
    """Read the header of a qcow2 file."""
    try:
        return parse_header(_start_of(path))
    except Qcow2Error as error:
        raise VolumeError(f"{path.stem}: {error}") from error


def _sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _allocated(directory: Path) -> int:
    """Add up the bytes that the files of a directory take on the disk; files may come and go meanwhile."""
    total = 0
    for path in directory.iterdir() if directory.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            total += path.lstat().st_blocks * 512
    return total
