"""The block store: files and rows together, in an order that survives a kill at any instruction.

Adding: file durable, then its row, then a segment that refers to it. Removing: unreferenced, condemned in a
transaction, file removed, row deleted. A block that is read is checked by its digest.
"""

import asyncio
import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from stead_controller.blocks.interface import BlockFiles, MissingBlockError, encode
from stead_controller.clock import Clock
from stead_controller.errors import WrongState
from stead_controller.request.questions import BlockQuestion, HostAnswer, ReadBlock
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import (
    segments,
    snapshot_damage,
    snapshot_life,
    snapshot_tier_life,
    stored_blocks,
    written_snapshots,
)
from stead_controller.resources.storage.block_names import BlockName
from stead_controller.resources.storage.segments import MissingBlocksError
from stead_proto.blocks import BadBlockError, pack, unpack
from stead_proto.v1.blocks_pb2 import Block, Segment

_log = logging.getLogger(__name__)

BATCH: Final = 16
"""Blocks that are brought at once: they share the syncs of folders and a transaction."""

_THREADS: Final = 8
_COLLECTED_AT_ONCE: Final = 256
_SEGMENTS_AT_ONCE: Final = 32
_READ_TRIES: Final = 3


class Transactions(Protocol):
    """Provides the store's transactions; `db.session.Database` is one implementation."""

    async def run[T](self, function: Callable[[Transaction], T], *, writes: bool = True) -> T:
        """Run a function in a worker thread inside one transaction; commit unless it raises."""


class BlockStore:
    """Stores blocks and segments of snapshots; everything that blocks is done in threads of its own."""

    def __init__(self, database: Transactions, files: BlockFiles, clock: Clock, *, grace: timedelta) -> None:
        """Store the dependencies; unreferenced blocks are retained for `grace`, as a segment may soon refer to them."""
        self._database = database
        self._files = files
        self._clock = clock
        self._grace = grace
        self._unused = (
            stored_blocks.unused(grace) | segments.UNUSED | snapshot_life.DOOMED | snapshot_tier_life.RELEASABLE
        )
        self._threads = ThreadPoolExecutor(_THREADS, "block-store")
        self._noted: set[BlockName] = set()  # damaged copies whose snapshots are all marked

    def by(self, database: Transactions) -> "BlockStore":
        """Return the same store, whose transactions another database runs."""
        other = copy.copy(self)
        other._database = database  # noqa: SLF001 - its own class
        return other

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    async def missing(self, segment: Segment) -> list[int]:
        """Return the slots of a segment whose blocks must be sent; raises BadBlockError."""
        return await self._database.run(lambda tx: segments.missing(tx, segment), writes=False)

    async def bring(self, blocks: Sequence[Block]) -> None:
        """Store blocks, so that a segment may refer to them; at most `BATCH` at once.

        Raises BadBlockError for one whose content does not match its digest, BlockStoreError.
        """
        named = {block.digest: (BlockName.new(block.digest), block) for block in blocks}
        await self._in_thread(lambda: self._put(list(named.values())))
        sizes = {name: len(encode(block)) for name, block in named.values()}
        late = await self._database.run(lambda tx: stored_blocks.add(tx, sizes, self._clock()))
        if late:
            await self._remove(late)

    async def bring_contents(self, contents: Sequence[bytes], *, compress: bool = True) -> list[bytes]:
        """Store whole blocks that are not in the store yet; return the digest of each. Raises BlockStoreError."""
        packed = await self._in_thread(lambda: [pack(content, compress=compress) for content in contents])
        digests = [block.digest for block in packed]
        absent = await self._database.run(lambda tx: stored_blocks.absent(tx, digests), writes=False)
        new = [block for block in packed if block.digest in absent]
        if new:
            await self.bring(new)
        return digests

    async def place(self, snapshot_id: str, segment: Segment) -> list[int]:
        """Add a segment to a snapshot; returns the slots that must be sent first, and then changes nothing.

        Raises BadBlockError, NotFound for a snapshot that is not pending.
        """
        try:
            await self._database.run(lambda tx: segments.place(tx, snapshot_id, segment))
        except MissingBlocksError as error:
            return error.slots
        return []

    async def read(self, digest: bytes) -> Block:
        """Return a block, checked; raises MissingBlockError, BadBlockError, BlockStoreError.

        A damaged block is marked as such, with the snapshots that need it, and one that is sound again as sound.
        """
        try:
            return await self.check(digest)
        except (MissingBlockError, BadBlockError):
            name = await self.name_of(digest)
            if name is not None and name not in self._noted:
                await self.note_needing([digest])
            raise

    async def check(self, digest: bytes) -> Block:
        """Do as `read`, but let the caller mark the snapshots (`note_needing`), for many blocks at once."""
        name: BlockName | None = None
        for _ in range(_READ_TRIES):
            there = await self._database.run(lambda tx: stored_blocks.state_of(tx, digest), writes=False)
            if there is None:
                raise MissingBlockError(f"block {digest.hex()} is not in the store")
            name, was_damaged = there
            if not was_damaged:  # it was repaired since it was marked, perhaps by another controller
                self._noted.discard(name)
            try:
                block = await self._in_thread(partial(self._files.get, name))
            except MissingBlockError:
                continue  # collected and stored again since its name was read: it has another name now
            except BadBlockError:
                await self._mark(stored_blocks.mark_damaged, name)
                raise
            if was_damaged:
                await self._mark(stored_blocks.mark_sound, name)
            return block
        if name is not None:
            await self._mark(stored_blocks.mark_damaged, name)
        raise MissingBlockError(f"block {digest.hex()} is not in the store")

    async def note_needing(self, digests: Sequence[bytes]) -> dict[bytes, set[str]]:
        """Mark the snapshots that need damaged blocks, and return them; reads all segments, outside of any lock."""
        needing = await self._database.run(lambda tx: segments.needing(tx, digests), writes=False)
        await self._database.run(lambda tx: snapshot_damage.note(tx, needing, self._clock()))
        names = await self._database.run(lambda tx: stored_blocks.copies(tx, digests), writes=False)
        self._noted.update(names.values())
        return needing

    async def _mark(self, mark: Callable[[Transaction, BlockName], None], name: BlockName) -> None:
        await self._database.run(lambda tx: mark(tx, name))

    async def name_of(self, digest: bytes) -> BlockName | None:
        """Return the name of a block that is in the store according to its row, whether or not its file is sound."""
        there = await self._database.run(lambda tx: stored_blocks.copies(tx, [digest]), writes=False)
        return there.get(digest)

    async def answer(self, question: BlockQuestion) -> HostAnswer:
        """Answer what a request asks of the store; raises WrongState for a block that is damaged, BlockStoreError."""
        if isinstance(question, ReadBlock):
            try:
                block = await self.read(question.digest)
            except (MissingBlockError, BadBlockError) as error:
                raise WrongState("snapshot", snapshot_damage.MESSAGE) from error
            return HostAnswer(await self._in_thread(lambda: unpack(block)), self._clock())
        (digest,) = await self.bring_contents([question.content])
        return HostAnswer(digest, self._clock())

    async def collect(self) -> bool:
        """Remove some unreferenced blocks; tells whether there may be more. Raises BlockStoreError."""
        now = self._clock()
        if not await self._database.run(lambda tx: self._unused.is_met(tx, now), writes=False):
            return False  # as nearly always, for which no transaction that writes should wait
        found = await self._database.run(lambda tx: self._give_up(tx, now))
        names = await self._database.run(lambda tx: stored_blocks.condemned(tx, _COLLECTED_AT_ONCE), writes=False)
        if names:
            await self._remove(names)
            _log.info("blocks_collected", extra={"blocks": len(names)})
        return bool(found or names)

    async def compose(self) -> bool:
        """Make a segment of blocks that clients wrote to a snapshot; tells whether there may be more."""
        return await self._database.run(lambda tx: written_snapshots.compose_one(tx, self._clock()))

    def _give_up(self, tx: Transaction, now: datetime) -> int:
        removed = int(snapshot_life.drop_some(tx, now)) + int(snapshot_tier_life.release_some(tx))
        removed += segments.remove_unused(tx, _SEGMENTS_AT_ONCE, now)
        return removed + stored_blocks.condemn_unused(tx, now - self._grace, _COLLECTED_AT_ONCE)

    async def _remove(self, names: Sequence[BlockName]) -> None:
        """Remove the files of condemned copies, then their rows; after a kill in between, this is done again."""
        await self._in_thread(lambda: self._files.remove(names))
        await self._database.run(lambda tx: stored_blocks.forget_condemned(tx, names))

    def _put(self, blocks: Sequence[tuple[BlockName, Block]]) -> None:
        check(block for _, block in blocks)
        self._files.put(blocks)

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def check(blocks: Iterable[Block]) -> None:
    """Raise BadBlockError for a block whose content does not match its digest."""
    for block in blocks:
        unpack(block)
