"""Reads one frozen disk, hashes it and sends it to the block store, segment by segment.

Blocks of an encrypted snapshot are encrypted before they are hashed, so the store never sees plain data.

Contents are held in memory, up to a bound, until the store has reported which blocks it lacks; beyond that bound a
block that it lacks is read again, with the same result since the disk is frozen.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from stead_agent.disks.block_store import BlockStore, Storing
from stead_agent.disks.snapshots import changed
from stead_agent.disks.snapshots.interface import SnapshotError, SnapshotSpec
from stead_proto import blocks
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, ZERO_BLOCK
from stead_proto.nbd import wire
from stead_proto.nbd.client import NbdClient
from stead_proto.v1.blocks_pb2 import Block, Segment

_IN_FLIGHT: Final = 8
_CACHED_BLOCKS: Final = 96  # blocks of 512 KiB


class Stopped(Exception):
    """The reading was stopped; it can be continued."""


class Cipher(Protocol):
    """Encrypts blocks by their position on the disk (`stead_proto.block_cipher`)."""

    def encrypt(self, index: int, content: bytes) -> bytes:
        """Encrypt a whole block."""


@dataclass(slots=True)
class Pass:
    """One pass over a frozen disk."""

    spec: SnapshotSpec
    client: NbdClient
    bitmap: str  # metadata context of the changes since the parent; empty: all is read
    is_fresh: bool  # segments that an earlier pass stored may be of another instant
    hashing: ThreadPoolExecutor
    stop: threading.Event
    report: Callable[[int, int], None]  # blocks in all, blocks done
    cipher: Cipher | None = None  # of stored blocks; None: not encrypted
    _done: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)

    def run(self, store: BlockStore) -> int:
        """Store the disk; return the bytes that its blocks take in the store.

        Raises NbdError, BlockStoreError, BadBlockError, SnapshotError, Stopped.
        """
        plan = self._plan()
        self._total = plan.count
        self._report(0)
        parent_id = self.spec.parent_id if self.bitmap else ""
        parent = _Parent(store.segments(parent_id) if parent_id else iter(()))
        with store.storing(self.spec.id, parent_id) as storing:
            to_read = changed.in_segments(plan.read)
            # Segments stored from another instant must be offered again, even if they are now empty or unchanged.
            again = storing.stored if self.is_fresh else frozenset()
            touched = changed.in_segments(plan.changed) if parent_id else {}
            for position in sorted(to_read.keys() | touched.keys() | again):
                slots = [slot for each in to_read.get(position, ()) for slot in each]
                if self.is_fresh or position not in storing.stored:
                    self._store(storing, position, slots, parent.without(position, touched.get(position, ())))
                self._report(len(slots))
            return storing.finish()

    def _plan(self) -> changed.ToRead:
        known = self.client.status(0, self.client.size)
        if self.bitmap and self.bitmap not in known:
            raise SnapshotError(f"{self.spec.id}: the export has no {self.bitmap}")
        whole = [wire.Extent(0, self.client.size, 0)]
        return changed.to_read(
            self.client.size, known.get(wire.ALLOCATION, whole), known[self.bitmap] if self.bitmap else None
        )

    def _store(self, storing: Storing, position: int, slots: list[int], digests: dict[int, bytes]) -> None:
        """Store one segment: some blocks to be read, and `digests` of its others by slot."""
        cached: dict[bytes, bytes] = {}
        read: dict[bytes, int] = {}
        for slot, digest, content in self._hashed(position, slots):
            digests[slot] = digest
            read[digest] = slot
            if len(cached) < _CACHED_BLOCKS:
                cached[digest] = content
        segment = blocks.make_segment(position, digests)
        missing = storing.offer(segment)
        while missing:
            lacking = {digests[slot] for slot in missing}
            if not lacking <= read.keys():
                raise SnapshotError(f"{self.spec.id}: the store has lost blocks of {self.spec.parent_id}")
            for block in self._packed(position, {digest: read[digest] for digest in lacking}, cached):
                storing.send(block)
            missing = storing.sent(segment)

    def _hashed(self, position: int, slots: list[int]) -> Iterator[tuple[int, bytes, bytes]]:
        """Read and hash blocks in their stored form; all-zero blocks are left out."""
        first = position * SEGMENT_BLOCKS
        waiting: deque[_Hashing] = deque()
        for offset, content in self._read([first + slot for slot in slots]):
            self._check()
            slot = offset // BLOCK_BYTES - first
            waiting.append(_Hashing(slot, self.hashing.submit(self._hash, offset // BLOCK_BYTES, content)))
            if len(waiting) >= _IN_FLIGHT:
                yield from waiting.popleft().result()
        for each in waiting:
            yield from each.result()

    def _read(self, numbers: list[int]) -> Iterator[tuple[int, bytes]]:
        size = self.client.size
        ranges = [(block * BLOCK_BYTES, min(BLOCK_BYTES, size - block * BLOCK_BYTES)) for block in numbers]
        for offset, content in self.client.read_each(ranges, in_flight=_IN_FLIGHT):
            yield offset, content if len(content) == BLOCK_BYTES else content.ljust(BLOCK_BYTES, b"\0")

    def _packed(self, position: int, lacking: dict[bytes, int], cached: dict[bytes, bytes]) -> Iterator[Block]:
        """Pack the blocks that the store lacks, some ahead; those no longer in memory are read again."""
        first = position * SEGMENT_BLOCKS
        left = sorted(first + slot for digest, slot in lacking.items() if digest not in cached)
        again = (self._as_stored(offset // BLOCK_BYTES, content) for offset, content in self._read(left))
        contents = itertools.chain((cached[digest] for digest in lacking if digest in cached), again)
        pack = partial(blocks.pack, compress=self.cipher is None)
        packing: deque[Future[Block]] = deque()
        for content in contents:
            self._check()
            packing.append(self.hashing.submit(pack, content))
            if len(packing) >= _IN_FLIGHT:
                yield packing.popleft().result()
        while packing:
            yield packing.popleft().result()

    def _hash(self, block: int, content: bytes) -> tuple[bytes, bytes] | None:
        """Return a block's digest and stored content; None when it is all zero."""
        if content == ZERO_BLOCK:
            return None
        stored = self._as_stored(block, content)
        return blocks.digest_of(stored), stored

    def _as_stored(self, block: int, content: bytes) -> bytes:
        return content if self.cipher is None else self.cipher.encrypt(block, content)

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped(self.spec.id)

    def _report(self, more: int) -> None:
        self._done = min(self._total, self._done + more)
        self.report(self._total, self._done)


class _Parent:
    """The parent's segments, requested in ascending order, so that at most one is held in memory."""

    def __init__(self, segments: Iterator[Segment]) -> None:
        self._segments = segments
        self._next: Segment | None = next(segments, None)

    def without(self, position: int, slots: Iterable[range]) -> dict[int, bytes]:
        """Return the digests of a segment by slot, except some slots."""
        while self._next is not None and self._next.position < position:
            self._next = next(self._segments, None)
        if self._next is None or self._next.position != position:
            return {}
        return changed.without(blocks.digests_of(self._next), slots)


@dataclass(frozen=True, slots=True)
class _Hashing:
    """A block whose digest is being computed."""

    slot: int
    hashed: Future[tuple[bytes, bytes] | None]

    def result(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield the block when its digest is known, unless it is all zero."""
        hashed = self.hashed.result()
        if hashed is not None:
            yield self.slot, *hashed
