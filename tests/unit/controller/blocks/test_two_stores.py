"""Two controllers over one store: what one of them mends the other notes anew when it is damaged again."""

import secrets
from datetime import timedelta

import pytest

from stead_controller.blocks.store import BlockStore
from stead_controller.db.tables import Snapshot
from stead_controller.resources.storage import segments, snapshot_life, stored_blocks
from stead_proto.blocks import BLOCK_BYTES, BadBlockError, make_segment, pack
from tests.support import rows


async def test_what_another_controller_has_mended_is_noted_again(store, database, files, time, run, *, world):
    block = pack(secrets.token_bytes(BLOCK_BYTES))
    await store.bring([block])
    row = rows.snapshot(world.one.caller.account_id, state="pending")
    snapshot_id = row.id
    run(lambda tx: tx.session.add(row))
    run(segments.place, snapshot_id, make_segment(0, {0: block.digest}))
    run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, snapshot_id), rows.NOW))
    path = files._folder / run(stored_blocks.copies, [block.digest])[block.digest].path
    other = BlockStore(database, files, time, grace=timedelta(hours=1))
    content = path.read_bytes()

    def state():
        return run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).state)

    for _ in range(2):
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BadBlockError):
            await store.read(block.digest)
        assert state() == "error"
        path.write_bytes(content)
        await other.read(block.digest)
        assert state() == "completed"
    other.close()
