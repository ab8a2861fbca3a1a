"""Fills a snapshot with another one's blocks, decrypted if encrypted, and encrypted with the snapshot's own key.

Segment by segment: a stored one is done, so a run after a kill continues behind it. At most a few blocks are in memory.
"""

import asyncio
from collections.abc import Mapping
from itertools import batched
from typing import Any, Final

from stead_controller.blocks.interface import MissingBlockError
from stead_controller.blocks.store import BATCH, BlockStore
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.errors import NotFound
from stead_controller.resources.storage import recoded_snapshots, volume_keys
from stead_controller.resources.storage.recoded_snapshots import Recoding
from stead_controller.secrets.sealing import Sealer
from stead_controller.workflows.engine import Done, GiveUp, Life, Outcome, Wait
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, BadBlockError, digests_of, make_segment, unpack
from stead_proto.v1.blocks_pb2 import Block, Segment

_AGAIN_SECONDS: Final = 1.0


class RecodeSnapshot(Life):
    """The workflow of a pending snapshot that is encrypted again: one step."""

    kind = recoded_snapshots.RECODE

    def __init__(  # noqa: PLR0917 - the parameters of all workflows, and two more
        self,
        database: Database,
        clock: Clock,
        subject_id: str,
        facts: Mapping[str, Any],
        store: BlockStore,
        sealer: Sealer,
    ) -> None:
        """Store the dependencies; there are no facts."""
        super().__init__(database, clock, subject_id, facts)
        self._store = store
        self._sealer = sealer

    async def begin(self) -> Outcome:
        """Encrypt all segments, then complete the snapshot."""
        what = await self.database.run(lambda tx: recoded_snapshots.find(tx, self.id), writes=False)
        if what is None:
            return Done()
        before, after = (None if key is None else self._open(key) for key in (what.source_key, what.key))
        if before == after:  # not visible in the rows: the master key has been changed in between
            await self.database.run(lambda tx: recoded_snapshots.inherit(tx, self.id, self.clock()))
            return Done()
        try:
            if not await self._all(what, *(None if key is None else BlockCipher(key) for key in (before, after))):
                return Wait(_AGAIN_SECONDS, "Blocks that were there are gone.", failed=True)
        except NotFound:
            return Done()  # it was deleted meanwhile
        except (MissingBlockError, BadBlockError) as error:
            raise GiveUp(f"Blocks of {what.source_id} are damaged.") from error
        await self.database.run(lambda tx: recoded_snapshots.complete(tx, self.id, self.clock()))
        return Done()

    async def fail(self, message: str) -> None:
        """Mark the snapshot as failed."""
        await self.database.run(lambda tx: recoded_snapshots.fail(tx, self.id, message))

    async def _all(self, what: Recoding, before: BlockCipher | None, after: BlockCipher | None) -> bool:
        """Encrypt one segment after the other; tells whether all are stored."""
        first = 0
        while (segment := await self._next(what.source_id, first)) is not None:
            if not await self._one(segment, before, after):
                return False
            first = segment.position + 1
            percent = min(99, first * SEGMENT_BLOCKS * BLOCK_BYTES * 100 // what.size)
            await self._report(percent)
        return True

    async def _next(self, source_id: str, first: int) -> Segment | None:
        def find(tx: Any) -> Segment | None:
            return recoded_snapshots.next_segment(tx, self.id, source_id, first)

        return await self.database.run(find, writes=False)

    async def _report(self, percent: int) -> None:
        await self.database.run(lambda tx: recoded_snapshots.progress(tx, self.id, percent))

    async def _one(self, segment: Segment, before: BlockCipher | None, after: BlockCipher | None) -> bool:
        """Encrypt a segment; tells whether it is stored: not so where one of its new blocks was collected meanwhile."""
        slots: dict[int, bytes] = {}
        for batch in batched(digests_of(segment).items(), BATCH):
            blocks = [await self._store.read(digest) for _slot, digest in batch]
            indexes = [segment.position * SEGMENT_BLOCKS + slot for slot, _digest in batch]
            contents = await asyncio.to_thread(_recoded, indexes, blocks, before, after)
            digests = await self._store.bring_contents(contents, compress=after is None)
            slots.update({slot: digest for (slot, _old), digest in zip(batch, digests, strict=True)})
        return not await self._store.place(self.id, make_segment(segment.position, slots))

    def _open(self, sealed: bytes) -> bytes:
        return self._sealer.open(sealed, volume_keys.CONTEXT)


def _recoded(
    indexes: list[int], blocks: list[Block], before: BlockCipher | None, after: BlockCipher | None
) -> list[bytes]:
    """Decrypt and encrypt blocks by their offsets on the disk."""
    contents = []
    for index, block in zip(indexes, blocks, strict=True):
        content = unpack(block)
        if before is not None:
            content = before.decrypt(index, content)
        contents.append(content if after is None else after.encrypt(index, content))
    return contents
