"""Packs snapshots into the archive, and brings them back.

Piece by piece into the archive, segment by segment out of it: what is stored is done, so a run after a kill continues
behind it. One piece is in memory at most. What is left of a run that failed is released as of deleted snapshots.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import batched, groupby
from typing import Any, Final

from stead_controller.blocks.archive_format import PIECE_BLOCKS, pack_piece, unpack_piece
from stead_controller.blocks.interface import MissingBlockError
from stead_controller.blocks.store import BATCH, BlockStore
from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.resources.storage import archived_pieces, segments, snapshot_tier_life, stored_blocks
from stead_controller.resources.storage.segments import MissingBlocksError
from stead_controller.resources.storage.snapshot_tier_life import Work
from stead_controller.workflows.engine import Done, GiveUp, Life, Outcome, Wait
from stead_proto.blocks import SEGMENT_BLOCKS, BadBlockError, digests_of, make_segment, unpack

_AGAIN_SECONDS: Final = 1.0
_PIECES: Final = SEGMENT_BLOCKS // PIECE_BLOCKS  # of a segment


class _OverError(Exception):
    """The operation is over: its snapshot was deleted meanwhile."""


class _TierLife(Life):
    """What both directions have in common: its id is the operation's, its only fact the snapshot's."""

    def __init__(
        self, database: Database, clock: Clock, subject_id: str, facts: Mapping[str, Any], store: BlockStore
    ) -> None:
        """Store the dependencies."""
        super().__init__(database, clock, subject_id, facts)
        self.snapshot_id: str = facts["snapshot"]
        self.store = store

    async def fail(self, message: str) -> None:
        """Record that it failed; what is stored of it is released later."""
        await self.database.run(lambda tx: snapshot_tier_life.fail(tx, self.id, self.snapshot_id, message))

    async def report(self, done: int, of: int) -> None:
        """Store how far it is."""
        percent = done * 99 // of
        await self.database.run(lambda tx: snapshot_tier_life.progress(tx, self.id, self.snapshot_id, percent))

    async def read(self, digests: Iterable[bytes]) -> list[bytes]:
        """Return the contents of blocks; raises MissingBlockError, BadBlockError, BlockStoreError."""
        blocks = [await self.store.read(digest) for digest in digests]
        return await asyncio.to_thread(lambda: [unpack(block) for block in blocks])

    async def bring(self, contents: Sequence[bytes], *, compress: bool = True) -> list[bytes]:
        """Store blocks that are not in the store yet, and return their digests; raises BlockStoreError."""
        digests: list[bytes] = []
        for batch in batched(contents, BATCH):
            digests += await self.store.bring_contents(batch, compress=compress)
        return digests


class ArchiveSnapshot(_TierLife):
    """The workflow of a snapshot that is archived: one step."""

    kind = snapshot_tier_life.ARCHIVE

    async def begin(self) -> Outcome:
        """Archive all pieces, then the snapshot."""
        work = await self.database.run(
            lambda tx: snapshot_tier_life.find_archival(tx, self.id, self.snapshot_id), writes=False
        )
        if work is None:
            return Done()
        there = await self.database.run(lambda tx: archived_pieces.positions(tx, self.snapshot_id), writes=False)
        try:
            for done, position in enumerate(work.positions):
                await self._segment(position, set(there))
                await self.report(done + 1, len(work.positions))
        except _OverError:
            return Done()
        except MissingBlocksError as error:
            return Wait(_AGAIN_SECONDS, str(error), failed=True)
        except (MissingBlockError, BadBlockError) as error:
            raise GiveUp(f"Blocks of {self.snapshot_id} are damaged.") from error
        await self.database.run(
            lambda tx: snapshot_tier_life.finish_archival(tx, self.id, self.snapshot_id, self.clock())
        )
        return Done()

    async def _segment(self, position: int, there: set[int]) -> None:
        """Archive the pieces of a segment that are not in the archive yet."""
        segment = await self.database.run(lambda tx: segments.at(tx, self.snapshot_id, position), writes=False)
        if segment is None:
            raise _OverError
        pieces: defaultdict[int, dict[int, bytes]] = defaultdict(dict)
        for slot, digest in digests_of(segment).items():
            pieces[position * _PIECES + slot // PIECE_BLOCKS][slot % PIECE_BLOCKS] = digest
        for piece, digests in pieces.items():
            if piece not in there:
                await self._piece(piece, digests)

    async def _piece(self, position: int, digests: dict[int, bytes]) -> None:
        contents = dict(zip(digests, await self.read(digests.values()), strict=True))
        chunks = await asyncio.to_thread(_packed, self.snapshot_id, position, contents)
        stored = await self.bring(chunks)

        def place(tx: Transaction) -> bool:
            return snapshot_tier_life.place_piece(tx, self.id, self.snapshot_id, position, stored, len(contents))

        if not await self.database.run(place):
            raise _OverError


class RestoreSnapshot(_TierLife):
    """The workflow of a snapshot that is restored from the archive: one step."""

    kind = snapshot_tier_life.RESTORE

    async def begin(self) -> Outcome:
        """Bring all segments back, then the snapshot."""
        work = await self.database.run(
            lambda tx: snapshot_tier_life.find_restore(tx, self.id, self.snapshot_id), writes=False
        )
        if work is None:
            return Done()
        done = 0
        try:
            for position, pieces in groupby(work.positions, lambda piece: piece // _PIECES):
                of_segment = list(pieces)
                await self._segment(work, position, of_segment)
                done += len(of_segment)
                await self.report(done, len(work.positions))
        except _OverError:
            return Done()
        except MissingBlocksError as error:
            return Wait(_AGAIN_SECONDS, str(error), failed=True)
        except (MissingBlockError, BadBlockError) as error:
            raise GiveUp(f"The archive of {self.snapshot_id} is damaged.") from error
        await self.database.run(
            lambda tx: snapshot_tier_life.complete_restore(tx, self.id, self.snapshot_id, self.clock())
        )
        return Done()

    async def _segment(self, work: Work, position: int, pieces: Sequence[int]) -> None:
        """Bring a segment back, unless it is there and sound."""
        if await self.database.run(lambda tx: _is_sound(tx, self.snapshot_id, position), writes=False):
            return
        slots: dict[int, bytes] = {}
        for piece in pieces:
            digests = await self.database.run(
                lambda tx, piece=piece: archived_pieces.chunks(tx, self.snapshot_id, piece),  # type: ignore[misc]  # mypy: a default is no parameter of Callable
                writes=False,
            )
            chunks = await self.read(digests)
            contents = await asyncio.to_thread(unpack_piece, self.snapshot_id, piece, chunks)
            stored = await self.bring(list(contents.values()), compress=not work.encrypted)
            first = piece % _PIECES * PIECE_BLOCKS
            slots |= {first + place: digest for place, digest in zip(contents, stored, strict=True)}
        segment = make_segment(position, slots)

        def put(tx: Transaction) -> bool:
            return snapshot_tier_life.put_segment(tx, self.id, self.snapshot_id, segment)

        if not await self.database.run(put):
            raise _OverError


TIER_LIVES: Final = (ArchiveSnapshot, RestoreSnapshot)
"""Both directions."""


def _packed(snapshot_id: str, position: int, contents: Mapping[int, bytes]) -> list[bytes]:
    """Pack a piece, and see that what was packed can be unpacked: soon there may be nothing else of it."""
    chunks = pack_piece(snapshot_id, position, contents)
    if unpack_piece(snapshot_id, position, chunks) != contents:
        raise BadBlockError(f"piece {position} of {snapshot_id} is another one when it is unpacked")
    return chunks


def _is_sound(tx: Transaction, snapshot_id: str, position: int) -> bool:
    segment = segments.at(tx, snapshot_id, position)
    return segment is not None and not stored_blocks.damaged(tx, digests_of(segment).values())
