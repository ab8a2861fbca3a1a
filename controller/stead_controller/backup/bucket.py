"""Backups in a bucket of an S3 server: the layout is that of a folder, and a backup counts once its manifest is there.

No object is renamed: all else of a backup is written before its manifest, and when one is removed the manifest goes
first. Whoever changes something holds a lock (bucket_lock.py).
"""

import contextlib
import functools
import json
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from stead_controller.backup.bucket_lock import BucketLock
from stead_controller.backup.objects import Objects
from stead_controller.backup.repository import (
    BLOCKS,
    FORMAT,
    MANIFEST,
    MARK,
    BackupError,
    Manifest,
    Repository,
    is_digest,
    is_id,
)
from stead_controller.backup.scratch import scratch_folder

_CONNECT_SECONDS: Final = 10


class BucketRepository(Repository):
    """A bucket, or what is below a prefix of it."""

    def __init__(self, objects: Objects) -> None:
        """Set where; nothing is sent yet."""
        super().__init__(objects.name)
        self._objects = objects
        self._scratch: Path | None = None
        self._lock = BucketLock(objects)
        self._known = _Known(objects)

    def begin(self) -> None:
        """Write what says that backups are here, where nothing is yet; raises BackupError, OSError."""
        if self._objects.size(MARK) is not None:
            return
        if next(self._objects.listed(), None) is not None:
            raise BackupError(f"{self.name} has other objects and no backups: name another prefix.")
        self._objects.put(MARK, json.dumps({"format": FORMAT}).encode())

    def require_apart(self, authority_file: Path) -> None:
        """Raise BackupError where the server is the cloud's own, whose certificate its own authority has signed."""
        url = urlsplit(self._objects.endpoint)
        if url.scheme != "https":
            return
        try:
            trust = ssl.create_default_context(cafile=str(authority_file))
            trust.check_hostname = False
            with (
                socket.create_connection((url.hostname, url.port or 443), _CONNECT_SECONDS) as connection,
                trust.wrap_socket(connection, server_hostname=url.hostname),
            ):
                pass
        except OSError:  # no authority here, another's certificate, or nobody there: what is asked next says it
            return
        raise BackupError(
            f"{self._objects.endpoint} is of the cloud that is backed up: its buckets are lost with it."
            " Name another server."
        )

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep others from changing it, and remove what a killed one has left; raises BackupError, OSError."""
        self.require_begun()
        with self._lock.held(), scratch_folder() as self._scratch:
            for left in set(filter(is_id, self._objects.folders())) - set(self.ids()):
                self._remove(one.key for one in self._objects.listed(f"{left}/"))
            self._objects.abort_uploads()
            yield

    def require_begun(self) -> None:
        """Raise BackupError where nobody has begun with backups."""
        if self._objects.size(MARK) is None:
            raise BackupError(f"{self.name} has no backups.")

    def names(self) -> Iterable[str]:
        """The ids of complete backups, in any order."""
        return (
            name
            for name in self._objects.folders()
            if is_id(name) and self._objects.size(f"{name}/{MANIFEST}") is not None
        )

    def staging(self, backup: str) -> Path:
        """A folder of this machine in which a backup is put together."""
        part = self._local() / f"{backup}.part"
        part.mkdir(mode=0o700)
        return part

    def complete(self, part: Path, manifest: Manifest) -> None:
        """Upload all that is in the folder, and the manifest last: by it the backup counts."""
        for path in sorted(part.rglob("*")):
            if path.is_file():
                self._objects.upload(f"{manifest.id}/{path.relative_to(part)}", path)
        self._lock.require()
        self._objects.put(f"{manifest.id}/{MANIFEST}", json.dumps(asdict(manifest), indent=1).encode())

    def remove(self, backup: str) -> None:
        """Remove a backup, not its blocks: without its manifest it does not count any more."""
        self._remove([f"{backup}/{MANIFEST}"])
        self._remove(one.key for one in self._objects.listed(f"{backup}/"))

    def read(self, backup: str, name: str) -> bytes:
        """Return a small file of a backup."""
        return self._objects.get(f"{backup}/{name}")

    def file(self, backup: str, name: str) -> Path:
        """Fetch a file of a backup, once; raises OSError."""
        fetched = self._local() / backup / name
        if not fetched.exists():
            fetched.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._objects.fetch(f"{backup}/{name}", fetched)
        return fetched

    def size(self, kind: str, digest: str) -> int | None:
        """The size of a block or piece, by what was there when its neighbours were asked for first."""
        return self._known.among(kind, digest[:2]).get(bytes.fromhex(digest))

    def put(self, kind: str, digest: str, content: bytes) -> None:
        """Upload a block or piece."""
        self._objects.put(_key(kind, digest), content)
        self._known.among(kind, digest[:2])[bytes.fromhex(digest)] = len(content)

    def get(self, kind: str, digest: str, most: int) -> bytes:
        """Return a block or piece, of a longer one the first bytes; raises OSError."""
        return self._objects.get(_key(kind, digest), most)

    def discard(self, kind: str, digests: Iterable[str]) -> None:
        """Remove blocks or pieces."""
        self._remove(_key(kind, digest) for digest in digests)

    def _remove(self, keys: Iterable[str]) -> None:
        """Remove objects while the lock is held: of many, no more once it is lost."""
        self._objects.remove(keys, self._lock.require)

    def listed(self, kind: str) -> Iterator[str]:
        """The digests of all blocks or pieces, in order; raises BackupError where the server has another order."""
        last = ""
        for one in self._objects.listed(f"{kind}/"):
            digest = one.key.rpartition("/")[2]
            if not is_digest(digest):
                continue
            if digest <= last:
                raise BackupError(f"{self.name} does not list its objects in order.")
            last = digest
            yield digest

    def _local(self) -> Path:
        if self._scratch is None:
            raise BackupError(f"{self.name} is not locked.")  # only `exclusively` has a folder for files
        return self._scratch


class _Known:
    """Which blocks and pieces are there: asked for by the first byte of digests, so that not each costs a request.

    Blocks are asked for in order, so a few of these 256 parts are enough; of pieces, which are far less, all stay.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._asking = threading.Lock()
        self._of_blocks = functools.lru_cache(4)(self._list)
        self._of_others = functools.lru_cache(1024)(self._list)

    def among(self, kind: str, first: str) -> dict[bytes, int]:
        with self._asking:
            return (self._of_blocks if kind == BLOCKS else self._of_others)(kind, first)

    def _list(self, kind: str, first: str) -> dict[bytes, int]:
        found = ((one.key.rpartition("/")[2], one.size) for one in self._objects.listed(f"{kind}/{first}/"))
        return {bytes.fromhex(digest): size for digest, size in found if is_digest(digest)}


def _key(kind: str, digest: str) -> str:
    return f"{kind}/{digest[:2]}/{digest[2:4]}/{digest}"
