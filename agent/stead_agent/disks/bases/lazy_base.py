"""A base that is read while it is fetched: the blocks that readers wait for are fetched before all others.

Two streams lead to the block store, each with a thread: one for requested blocks, which is idle most of the time, and
one that fetches the rest in the background and pauses during requests. While the store is unreachable, both retry, each
at its own pace: woken by each other's failures they would try hundreds of times a second.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from stead_agent.disks.bases.block_map import blocks_of, same_content
from stead_agent.disks.bases.fetch_order import FetchOrder
from stead_agent.disks.bases.filling import Filling
from stead_agent.disks.block_store import BlockStoreError
from stead_proto.blocks import BLOCK_BYTES
from stead_proto.nbd import wire
from stead_proto.nbd.wire import Extent

_log = logging.getLogger(__name__)

_AHEAD: Final = 8  # blocks in flight in one stream
_LONGEST_PAUSE: Final = 5.0
_LONGEST_PAUSE_ASKED: Final = 1.0  # between tries for what a reader waits for
_QUIET_SECONDS: Final = 3.0  # after so long without a request: fetch the rest
_QUIET_READ_SECONDS: Final = 12.0  # the same while there are readers
_PATIENCE_SECONDS: Final = 90.0  # after so long, fetch the rest in any case


class Blocks(Protocol):
    """What is needed of the block store."""

    def fetch(self, snapshot_id: str, digests: Iterator[bytes], *, ahead: int) -> Iterator[bytes]:
        """Fetch blocks in the order given, checked, at most `ahead` in flight."""


@dataclass(slots=True)
class _Stream:
    """One call of the store: the blocks requested and not yet arrived, in order."""

    on_way: deque[bytes] = field(default_factory=deque)
    ended: bool = False


class LazyBase:
    """One base, being filled; an `nbd.server.Export`. Made and read on one event loop."""

    def __init__(self, filling: Filling, store: Blocks, has_readers: Callable[[], bool]) -> None:
        """Delay the background fetch longer while there are readers: a guest that boots pauses now and then."""
        self.size = filling.block_map.size
        self._filling = filling
        self._store = store
        self._has_readers = has_readers
        self._begun = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._places = same_content(filling.block_map)
        self._order = FetchOrder(filling.block_map, filling.presence)
        self._moved = threading.Condition()
        self._last_asked = 0.0
        self._room_at = 0.0  # when to try again to write blocks, after the disk was full
        self._waiting: dict[int, list[asyncio.Future[bytes | None]]] = {}
        self._left = sum(1 for _ in filling.missing())
        self._ended = False
        self.whole = asyncio.Event()
        self._threads = [
            threading.Thread(target=self._fetch, args=(next_block, longest), name=name, daemon=True)
            for name, next_block, longest in (
                ("asked", self._next_asked, _LONGEST_PAUSE_ASKED),
                ("behind", self._next_behind, _LONGEST_PAUSE),
            )
        ]

    def start(self) -> None:
        """Start fetching."""
        if not self._left:
            self.whole.set()
            return
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop fetching; what has arrived is on the disk when this returns."""
        with self._moved:
            self._ended = True
            self._moved.notify_all()
        self._filling.save()

    # -- reading, on the event loop

    async def read(self, offset: int, length: int) -> bytes:
        """Read some bytes, as soon as they are there."""
        presence = self._filling.presence
        absent = [block for block in self._filling.block_map.stored(offset, length) if block not in presence]
        unkept: dict[int, bytes] = {}
        if absent:
            futures = [self._awaited(block) for block in absent]
            with self._moved:
                self._last_asked = time.monotonic()
                for block in absent:
                    self._order.ask(block)
                self._moved.notify_all()
            came = await asyncio.gather(*futures)
            unkept = {block: content for block, content in zip(absent, came, strict=True) if content is not None}
        content = os.pread(self._filling.file, length, offset)
        return _patched(content, offset, unkept) if unkept else content

    def extents(self, offset: int, length: int) -> list[Extent]:
        """Return which blocks of a range are all zero."""
        found = []
        end = offset + length
        for block in blocks_of(offset, length):
            first, stop = max(offset, block * BLOCK_BYTES), min(end, (block + 1) * BLOCK_BYTES)
            is_data = block in self._filling.block_map.digests
            found.append(Extent(first, stop - first, 0 if is_data else wire.IS_HOLE | wire.IS_ZERO))
        return found

    def _awaited(self, block: int) -> "asyncio.Future[bytes | None]":
        future: asyncio.Future[bytes | None] = self._loop.create_future()
        self._waiting.setdefault(block, []).append(future)
        if block in self._filling.presence:  # it has arrived since the check
            self._arrived([block], None)
        return future

    def _arrived(self, blocks: list[int], content: bytes | None) -> None:
        """Wake the waiting readers; `content` is given when it could not be written."""
        for block in blocks:
            for future in self._waiting.pop(block, []):
                if not future.done():
                    future.set_result(content)

    # -- fetching, in threads

    def _fetch(self, next_block: Callable[["_Stream"], bytes | None], longest: float) -> None:
        pause = 0.1
        while not self._ended and self._left:
            stream = _Stream()
            try:
                wanted = iter(partial(next_block, stream), None)
                for content in self._store.fetch(self._filling.id, wanted, ahead=_AHEAD):
                    self._take_in(stream.on_way.popleft(), content)
                    pause = 0.1
            except BlockStoreError as error:
                _log.warning("%s: %s", self._filling.id, error)
            with self._moved:
                stream.ended = True  # a gRPC thread may still be about to ask for the next one
                self._order.lost(set(stream.on_way))
                self._moved.notify_all()
                self._moved.wait_for(lambda: self._ended or not self._left, pause)
            pause = min(longest, pause * 2)

    def _next_asked(self, stream: "_Stream") -> bytes | None:
        with self._moved:
            while not (self._ended or stream.ended) and self._left:
                block = self._order.next_asked()
                if block is not None:
                    return self._begun_on(stream, block)
                self._moved.wait()
        return None

    def _next_behind(self, stream: "_Stream") -> bytes | None:
        with self._moved:
            while not (self._ended or stream.ended) and self._left:
                wait = self._holds_back()
                if wait <= 0:
                    block = self._order.next_behind()
                    return None if block is None else self._begun_on(stream, block)
                self._moved.wait(wait)
        return None

    def _begun_on(self, stream: "_Stream", block: int) -> bytes:
        digest = self._filling.block_map.digests[block]
        stream.on_way.append(digest)
        return digest

    def _holds_back(self) -> float:
        """Return for how many seconds the background fetch must wait."""
        quiet = _QUIET_READ_SECONDS if self._has_readers() else _QUIET_SECONDS
        if self._order.is_asked:
            return quiet
        quiet_at = max(self._begun, self._last_asked) + quiet
        return max(min(quiet_at, self._begun + _PATIENCE_SECONDS), self._room_at) - time.monotonic()

    def _take_in(self, digest: bytes, content: bytes) -> None:
        blocks = [block for block in self._places[digest] if block not in self._filling.presence]
        unkept = None
        try:
            for block in blocks:
                self._filling.put(block, content)
        except OSError as error:
            _log.warning("%s: fetched blocks cannot be stored: %s", self._filling.id, error)
            unkept = content  # waiting readers get it anyway
        with self._moved:
            self._left -= sum(block in self._filling.presence for block in blocks)
            self._order.came(digest, blocks)
            if unkept is not None:
                self._room_at = time.monotonic() + _LONGEST_PAUSE
            left = self._left
            if not left:
                self._moved.notify_all()
        with contextlib.suppress(RuntimeError):  # the loop is closed: there are no readers
            self._loop.call_soon_threadsafe(self._arrived, blocks, unkept)
            if not left:
                self._loop.call_soon_threadsafe(self.whole.set)


def _patched(content: bytes, offset: int, blocks: dict[int, bytes]) -> bytes:
    """Put blocks that could not be written into what was read."""
    patched = bytearray(content)
    for block, whole in blocks.items():
        start = block * BLOCK_BYTES - offset
        piece = whole[max(0, -start) : max(0, len(content) - start)]
        at = max(0, start)
        patched[at : at + len(piece)] = piece
    return bytes(patched)
