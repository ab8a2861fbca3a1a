"""What the servers that the controller runs for itself have in their folders: objects of buckets, and metrics.

All files are opened while the server stands still for some milliseconds, and then copied while it goes on, each as far
as it went at that moment: files of both servers are appended to, or replaced by others, never changed within. So a copy
is what a kill at that moment would have left. They are copied in pieces that all backups share, by digest.
"""

import contextlib
import hashlib
import json
import os
import resource
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from stead_controller.backup import standstill
from stead_controller.backup.progress import Show
from stead_controller.backup.repository import (
    PIECES,
    BackupError,
    Manifest,
    Repository,
    make_private_folders,
    write_durably,
)

PIECE_BYTES: Final = 4 << 20
_SMALL_BYTES: Final = 64 << 10  # of a file that is read at once: some of these are changed within
_DATA: Final = "data"
_SETTLED_NS: Final = 2_000_000_000
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Store:
    """A server's folder below the state directory; `keys` are files beside its data that belong to the sealed ones."""

    name: str
    process_file: str
    keys: tuple[str, ...] = ()

    @property
    def listing(self) -> str:
        """The file of a backup that lists what is in it."""
        return f"{self.name}.files"


BUCKETS: Final = Store("object-store", "weed.pid", ("identities.json",))
METRICS: Final = Store("metrics", "victoria-metrics.pid")
ALL: Final = (BUCKETS, METRICS)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A line of a listing: a file in pieces, by their digests in hex digits, or a folder; `mtime` in nanoseconds."""

    path: str
    size: int = 0
    mtime: int = 0
    inode: int = 0
    pieces: tuple[str, ...] = ()
    is_folder: bool = False

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line."""
        found: dict[str, Any] = json.loads(line)
        return cls(**found | {"pieces": tuple(found["pieces"])})


@dataclass(slots=True)
class _Opened:
    """A file as it was: its first `size` bytes, from an open file or, of a small one, already read."""

    path: str
    status: os.stat_result
    handle: int | None = None
    content: bytes = b""

    def pieces(self) -> Iterator[bytes]:
        """Give what it had then; raises BackupError where it has less now."""
        left = self.status.st_size
        while left:
            wanted = min(PIECE_BYTES, left)
            offset = self.status.st_size - left
            piece = self.content if self.handle is None else os.pread(self.handle, wanted, offset)
            if not piece:
                raise BackupError(f"{self.path} became shorter while it was copied: make the backup again.")
            yield piece
            left -= len(piece)


@dataclass(slots=True)
class Moment:
    """A server's files at one moment, in nanoseconds of Unix time, open until `close`."""

    store: Store
    files: list[_Opened] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    bytes: int = 0
    time: int = 0

    def close(self) -> None:
        """Close the files."""
        for one in self.files:
            if one.handle is not None:
                os.close(one.handle)
        self.files.clear()


def opened(state_dir: Path, store: Store) -> Moment | None:
    """Open all files of a server as they are now; None where it has never been used. Raises OSError."""
    folder = state_dir / store.name
    if not (folder / _DATA).is_dir():
        return None
    _allow_many_files()
    moment = Moment(store)
    try:
        with standstill.held(folder / store.process_file):
            moment.time = time.time_ns()
            _open_all(moment, folder)
    except BaseException:
        moment.close()
        raise
    return moment


def _open_all(moment: Moment, folder: Path) -> None:
    for top, names, files in os.walk(folder / _DATA):
        names.sort()
        moment.folders.append(os.path.relpath(top, folder))
        for name in sorted(files):
            path = f"{top}/{name}"
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            one = _Opened(os.path.relpath(path, folder), os.fstat(handle), handle)
            moment.files.append(one)
            moment.bytes += one.status.st_size
            if one.status.st_size <= _SMALL_BYTES:
                one.content, one.handle = os.pread(handle, _SMALL_BYTES, 0), None
                os.close(handle)


def copy(moment: Moment, repository: Repository, earlier: Mapping[str, StoredFile], show: Show) -> list[StoredFile]:
    """Copy what a server had into pieces, of which the repository gets those that it lacks; return the listing.

    A file of the `earlier` listing that has not changed since is not read again.
    """
    listed = [StoredFile(path, is_folder=True) for path in moment.folders]
    done = 0
    show(moment.store.name, 0, moment.bytes)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        pieces = _Pieces(repository, pool)
        for one in moment.files:
            status = one.status
            before = earlier.get(one.path)
            if before is not None and _is_unchanged(before, status) and all(map(pieces.has, before.pieces)):
                listed.append(before)
                done += status.st_size
                continue
            digests = []
            for piece in one.pieces():
                digests.append(pieces.put(piece))
                done += len(piece)
                show(moment.store.name, done, moment.bytes)
            # A file may be written to twice without another time, if that is short after it.
            inode = status.st_ino if status.st_mtime_ns + _SETTLED_NS < moment.time else 0
            listed.append(StoredFile(one.path, status.st_size, status.st_mtime_ns, inode, tuple(digests)))
        pieces.finish()
    show(moment.store.name, moment.bytes, moment.bytes)
    return listed


def write_listing(listed: Iterable[StoredFile], path: Path) -> None:
    """Write a listing into a backup that is being made."""
    write_durably(path, "".join(f"{json.dumps(asdict(one))}\n" for one in listed).encode())


def read_listing(repository: Repository, manifest: Manifest, store: Store) -> Iterator[StoredFile]:
    """Read the listing of a backup, which is empty where the backup has nothing of the server; raises BackupError."""
    if store.listing not in manifest.files:
        return
    try:
        with repository.file(manifest.id, store.listing).open(encoding="utf-8") as file:
            yield from map(StoredFile.parse, file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{store.listing} of {manifest.id} cannot be read: {error}") from error


def read_piece(repository: Repository, digest: str) -> bytes | None:
    """Return a piece; None for one that is missing or damaged."""
    try:
        content = repository.get(PIECES, digest, PIECE_BYTES + 1)
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == digest else None


def faults(repository: Repository, manifest: Manifest, store: Store, show: Show) -> dict[str, str]:
    """Say which files of a server are not whole; a damaged piece is removed, so that the next backup copies it."""
    found = {}
    done, total = 0, sum(one.size for one in read_listing(repository, manifest, store))
    for one in read_listing(repository, manifest, store):
        for digest in one.pieces:
            if read_piece(repository, digest) is None:
                found[f"{store.name}/{one.path}"] = "is not whole; the next backup copies it again"
                _remove_damaged(repository, digest)
        done += one.size
        show(store.name, done, total)
    return found


def restore(repository: Repository, manifest: Manifest, store: Store, folder: Path, show: Show) -> list[str]:
    """Write a server's files below `folder`; return those that are not whole, with zeros for what is missing."""
    damaged = []
    done, total = 0, sum(one.size for one in read_listing(repository, manifest, store))
    for one in read_listing(repository, manifest, store):
        path = folder / one.path
        if one.is_folder:
            make_private_folders(path, folder.parent)
            continue
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            left = one.size
            for digest in one.pieces:
                piece = read_piece(repository, digest)
                if piece is None:
                    damaged.append(f"{store.name}/{one.path}")
                    piece = bytes(min(PIECE_BYTES, left))
                file.write(piece)
                left -= len(piece)
            file.flush()
            os.fsync(file.fileno())
        os.utime(path, ns=(one.mtime, one.mtime))
        done += one.size
        show(store.name, done, total)
    return list(dict.fromkeys(damaged))


def _is_unchanged(before: StoredFile, status: os.stat_result) -> bool:
    return (before.inode, before.size, before.mtime) == (status.st_ino, status.st_size, status.st_mtime_ns)


class _Pieces:
    """Puts pieces, a few at once, which are all that is in memory; each once."""

    def __init__(self, repository: Repository, pool: ThreadPoolExecutor) -> None:
        self._repository = repository
        self._pool = pool
        self._running: deque[Future[None]] = deque()
        self._seen: set[str] = set()

    def has(self, digest: str) -> bool:
        """Tell whether a piece is there, or on its way."""
        return digest in self._seen or self._repository.size(PIECES, digest) is not None

    def put(self, piece: bytes) -> str:
        digest = hashlib.sha256(piece).hexdigest()
        if not self.has(digest):
            self._seen.add(digest)
            if len(self._running) >= _AT_ONCE:
                self._running.popleft().result()
            self._running.append(self._pool.submit(self._repository.put, PIECES, digest, piece))
        return digest

    def finish(self) -> None:
        while self._running:
            self._running.popleft().result()


def _remove_damaged(repository: Repository, digest: str) -> None:
    """Remove a piece that can be read, and is not what it was; one that cannot be read now may be sound."""
    with contextlib.suppress(OSError):  # whoever calls says that it is not whole
        if hashlib.sha256(repository.get(PIECES, digest, PIECE_BYTES + 1)).hexdigest() != digest:
            repository.discard(PIECES, [digest])


def _allow_many_files() -> None:
    """Let this process open as many files as it may: a bucket has three at least."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
