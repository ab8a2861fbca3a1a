"""Implements `interface.py` with sparse files in a local directory.

Below one directory: `bases/` holds complete bases, `bases/filling/` those still being fetched, `bases/unused/` those
that no volume uses now and that may be needed again. Guests' processes may read complete bases and list nothing. An
encrypted base stays encrypted in its file, and is read through a process that decrypts it.
"""

import contextlib
import errno
import itertools
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from stead_agent.disks.bases import filling
from stead_agent.disks.bases.base_servers import BaseServers
from stead_agent.disks.bases.block_map import same_content
from stead_agent.disks.bases.filling import Filling, whole_file
from stead_agent.disks.bases.interface import BaseAwayError, BaseError, BaseFullError, BaseSpec
from stead_agent.disks.block_store import BlockStoreAway, BlockStoreError
from stead_agent.disks.disk_sources import FileSource, Layer, NbdSource
from stead_proto.tls import sync_directory
from stead_proto.v1.blocks_pb2 import Segment

_log = logging.getLogger(__name__)

BASE_ID: Final = re.compile(r"snap-[0-9a-f]{8,17}\Z")
CACHE_BYTES: Final = 20 << 30
EAGER_BYTES: Final = 64 << 20
_RESERVED_BYTES: Final = 1 << 30  # bytes of the disk that unused bases must not take


class Blocks(Protocol):
    """What is needed of the block store."""

    def segments(self, snapshot_id: str) -> Iterator[Segment]:
        """List the segments of a snapshot."""

    def fetch(self, snapshot_id: str, digests: Iterable[bytes]) -> Iterator[bytes]:
        """Fetch blocks in the order given, checked."""


class LocalBases:
    """The bases of one agent, as files."""

    def __init__(
        self,
        root: Path,
        store: Blocks,
        *,
        cache_bytes: int = CACHE_BYTES,
        servers: Callable[[Path], BaseServers] | None = None,
    ) -> None:
        """Create the directories below that of the disks; unused bases are cached up to `cache_bytes`.

        Bases of more than EAGER_BYTES are served while they are fetched, by what `servers` creates for the folder.
        """
        self.folder = root / "bases"
        self._unused = self.folder / "unused"
        self._filling = self.folder / "filling"
        self._store = store
        self._cache_bytes = cache_bytes
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        for each in (self._unused, self._filling):
            each.mkdir(mode=0o700, exist_ok=True)
        self._servers = servers(self.folder) if servers is not None else None
        self._sealed: set[str] = set()  # ids of encrypted bases

    def ensure(self, base: BaseSpec) -> None:
        """Make the base ready to be read."""
        final = self._path(base.id, sealed=base.encrypted)
        with self._room(base.id):
            if base.encrypted:
                self._ensure_sealed(base, final)
                return
            if final.exists():
                return
            if self._reuse(final):
                return
            if self._servers is not None and base.stored_size > EAGER_BYTES:
                self._servers.ensure(base.id, base.size)
            else:
                self._fetch(base, final)

    def _ensure_sealed(self, base: BaseSpec, final: Path) -> None:
        """Serve an encrypted base only while its key is given."""
        self._sealed.add(base.id)
        if self._servers is None:
            raise BaseError(f"{base.id}: nothing can decrypt it on this host")
        if base.encryption_key:
            if not final.exists():
                self._reuse(final)
            self._servers.ensure(base.id, base.size, base.encryption_key)
        else:
            self._servers.end(base.id)

    def _reuse(self, final: Path) -> bool:
        """Take an unused base back into use; tell whether there was one."""
        with contextlib.suppress(FileNotFoundError):  # it is not cached
            (self._unused / final.name).rename(final)
            sync_directory(self.folder)
            return True
        return False

    def source(self, base_id: str) -> Layer | None:
        """Return how to open the base."""
        path = self._path(base_id)
        if base_id in self._sealed and self._servers is not None:
            return Layer(NbdSource(self._servers.socket(base_id)), "raw")
        if path.exists():
            return Layer(FileSource(path), "raw")
        if self._servers is not None and self._servers.socket(base_id).exists():
            return Layer(NbdSource(self._servers.socket(base_id)), "raw")
        return None

    def remove(self, base_id: str) -> None:
        """Keep the base cached for the next volume, as long as there is room."""
        paths = [self._path(base_id, sealed=sealed) for sealed in (False, True)]
        with self._room(base_id):
            if self._servers is not None:
                self._servers.end(base_id)
            filling.discard(self._filling, base_id)
            for path in paths:
                with contextlib.suppress(FileNotFoundError):  # it was never complete, or is removed already
                    os.utime(path)
                    path.rename(self._unused / path.name)
                    sync_directory(self.folder)
            self._sealed.discard(base_id)
            self._evict(self._cache_bytes)

    def present(self) -> frozenset[str]:
        """List the bases that are here and were not removed."""
        files = itertools.chain(self.folder.glob("*.raw"), self.folder.glob("*.sealed"))
        whole = frozenset(path.stem for path in files if BASE_ID.match(path.stem))
        return whole | filling.ids_in(self._filling)

    def purge(self) -> None:
        """Make room when the disk is nearly full."""
        with self._room("unused bases"):
            self._evict(self._cache_bytes)

    def _fetch(self, base: BaseSpec, final: Path) -> None:
        """Fetch what is missing, and publish the complete base."""
        began = time.monotonic()
        with Filling(self._filling, base.id, base.size, self._store.segments(base.id)) as target:
            self._check_room(target)
            missing = frozenset(target.missing())
            places = {
                digest: [block for block in blocks if block in missing]
                for digest, blocks in same_content(target.block_map).items()
            }
            wanted = [digest for digest, blocks in places.items() if blocks]
            try:
                for digest, content in zip(wanted, self._store.fetch(base.id, wanted), strict=True):
                    for block in places[digest]:
                        target.put(block, content)
            finally:
                target.save()
            filling.publish(target, final)
        _log.info("base_here", extra={"base": base.id, "blocks": len(wanted), "seconds": time.monotonic() - began})

    def _check_room(self, target: Filling) -> None:
        """Raise an error if the base does not fit, after deleting unused bases."""
        needed = sum(target.block_map.span(block)[1] for block in target.missing())
        if self._free() < needed:
            self._evict(0)
        if self._free() < needed:
            raise OSError(errno.ENOSPC, "not enough free")

    def _free(self) -> int:
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def _evict(self, limit: int) -> None:
        """Delete unused bases, least recently used first, until they take at most `limit` bytes and enough is free."""
        found = []
        for path in self._unused.iterdir():
            with contextlib.suppress(FileNotFoundError):  # taken into use again since it was listed
                seen = path.stat()
                found.append((seen.st_mtime, seen.st_blocks * 512, path))
        taken = sum(size for _when, size, _path in found)
        for _when, size, path in sorted(found):
            if taken <= limit and self._free() >= _RESERVED_BYTES:
                return
            path.unlink(missing_ok=True)
            taken -= size
            _log.info("base_evicted", extra={"base": path.stem, "bytes": size})

    def _path(self, base_id: str, *, sealed: bool = False) -> Path:
        """Return the path of a complete base."""
        if not BASE_ID.match(base_id):
            raise BaseError(f"not an id of a base: {base_id!r}")
        return whole_file(self.folder, base_id, sealed=sealed)

    @contextlib.contextmanager
    def _room(self, what: str) -> Iterator[None]:
        """Translate errors: a full disk, an unreachable store, and others."""
        try:
            yield
        except BlockStoreAway as error:
            raise BaseAwayError(f"{what}: {error}") from error
        except BlockStoreError as error:
            raise BaseError(f"{what}: {error}") from error
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise BaseFullError(f"{what}: no room left in {self.folder}") from error
            raise BaseError(f"{what}: {error}") from error
