"""Checks all blocks once in so many days, a few in each run; the progress survives the process.

A run checks its share of all blocks, so that disks and networks are never busy with it; a manual scrub (`scrub.py`,
whose functions are used here) checks all at once. Damage is stored in the database, and logged with the snapshots that
need the block; some damaged blocks are checked again in each run, so that restored ones are soon in use again.
"""

import json
import logging
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from stead_controller.blocks import scrub
from stead_controller.blocks.interface import BlockFiles
from stead_controller.blocks.store import BlockStore, Transactions
from stead_controller.clock import Clock
from stead_controller.db.tables import CloudFact
from stead_controller.request.transaction import Transaction

_log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 60.0

_FACT: Final = "scrub"
_FEWEST: Final = 16  # blocks of a run
_MOST: Final = 4096
_RECHECKED: Final = 64  # damaged blocks of a run


@dataclass(frozen=True, slots=True)
class _Progress:
    """The progress of a scrub: times are Unix seconds."""

    began: float = 0.0
    cursor: str = ""  # digest, hex; empty: at the beginning
    share: int = 0  # blocks of each run
    bad_blocks: int = 0
    ended: bool = True  # then the next scrub begins when the days have passed


class ScheduledScrub:
    """Checks all blocks every `days` days, 0 is never; damaged blocks are checked again continually."""

    def __init__(self, database: Transactions, store: BlockStore, files: BlockFiles, clock: Clock, days: int) -> None:
        """Store the dependencies."""
        self._database = database
        self._store = store
        self._files = files
        self._clock = clock
        self._period = timedelta(days=days)
        self._rechecked = b""  # digest

    async def run(self) -> None:
        """Check the share of one run; raises BlockStoreError, after which the next run checks the same again."""
        self._rechecked = await scrub.recheck_page(self._database, self._store, self._rechecked, _RECHECKED)
        if not self._period:
            return
        progress = await self._database.run(_read, writes=False)
        if progress.ended:
            if self._clock() < datetime.fromtimestamp(progress.began, UTC) + self._period:
                return
            progress = await self._begin()
        page = await scrub.check_page(self._database, self._store, bytes.fromhex(progress.cursor), limit=progress.share)
        if page.damaged:
            await scrub.name_needing(self._store, page.damaged)
        for damage in page.damaged:
            about = {"digest": damage.digest.hex(), "error": damage.error, "snapshots": damage.snapshot_ids}
            _log.error("block_damaged", extra=about)
        bad = progress.bad_blocks + len(page.damaged)
        ended = page.blocks < progress.share
        if ended:
            removed = 0
            async for some in scrub.remove_orphans(self._database, self._files, self._clock):
                removed += some
            _log.info("blocks_scrubbed", extra={"bad": bad, "orphans_removed": removed})
        cursor = "" if ended else page.last.hex()
        await self._write(_Progress(progress.began, cursor, progress.share, bad, ended))

    async def _begin(self) -> _Progress:
        """Begin a scrub that takes half of the days: the other half is for blocks added meanwhile, and for pauses."""
        blocks = await self._database.run(scrub.count, writes=False)
        runs = self._period.total_seconds() / INTERVAL_SECONDS / 2
        share = min(_MOST, max(_FEWEST, math.ceil(blocks / runs)))
        begun = _Progress(self._clock().timestamp(), "", share, 0, ended=False)
        await self._write(begun)
        return begun

    async def _write(self, progress: _Progress) -> None:
        fact = CloudFact(name=_FACT, value=json.dumps(asdict(progress)))
        await self._database.run(lambda tx: tx.session.merge(fact))


def _read(tx: Transaction) -> _Progress:
    fact = tx.session.get(CloudFact, _FACT)
    return _Progress(**json.loads(fact.value)) if fact is not None else _Progress()
