"""The block store's disk is full: a clean refusal, nothing half written, and it goes on when there is room again."""

import asyncio
import errno
import secrets
import subprocess
from datetime import timedelta

import pytest

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.image_files import IncomingImage
from stead_controller.blocks.interface import BlockStoreError
from stead_controller.blocks.store import BlockStore
from stead_controller.db.session import Database
from stead_controller.resources.storage import segments
from stead_proto.blocks import BLOCK_BYTES, make_segment, pack, unpack
from tests.support import empty_database, rows

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "stead-test", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{empty_database.write(tmp_path / 'stead.sqlite')}")
    yield database
    database.close()


def test_a_full_disk_refuses_cleanly(small_disk, database):
    files = BlockDirectory(small_disk / "blocks")
    moment = [rows.NOW]
    store = BlockStore(database, files, lambda: moment[0], grace=timedelta(hours=1))
    snapshot = rows.snapshot("111111111111", state="pending")
    snapshot_id = snapshot.id
    database.run_blocking(lambda tx: tx.session.add(snapshot))

    async def fill():
        stored = pack(secrets.token_bytes(BLOCK_BYTES))
        await store.bring([stored])
        assert await store.place(snapshot_id, make_segment(0, {0: stored.digest})) == []
        refused = None
        while refused is None:
            blocks = [pack(secrets.token_bytes(BLOCK_BYTES)) for _ in range(4)]
            try:
                await store.bring(blocks)
            except BlockStoreError as error:
                refused = (str(error), blocks)
        assert "No space left on device" in refused[0]
        # Nothing of what was refused counts, and what was there before can be read.
        segment = make_segment(1, {slot: block.digest for slot, block in enumerate(refused[1])})
        assert await store.place(snapshot_id, segment) == [0, 1, 2, 3]
        assert unpack(await store.read(stored.digest)) == unpack(stored)
        assert list((small_disk / "blocks" / "incoming").iterdir()) == []
        # The disk has room again when what nobody uses is collected: without help by hand.
        moment[0] += timedelta(hours=2)
        while await store.collect():
            pass
        await store.bring(refused[1])
        assert await store.place(snapshot_id, segment) == []
        return stored

    try:
        asyncio.run(fill())
        listed = database.run_blocking(lambda tx: segments.page(tx, snapshot_id, 0, 10), writes=False)
        assert [len(one.slots) for one in listed] == [1, 4]
    finally:
        store.close()


def test_an_upload_for_which_there_is_no_room_leaves_nothing(small_disk):
    """The last bytes are written when the file is closed, for which there is no room either."""
    folder = small_disk / "incoming" / "image"

    def upload():
        with IncomingImage(folder, "raw", 64 * MIB) as incoming:
            while True:
                incoming.write(secrets.token_bytes(1000))

    for _ in range(2):
        with pytest.raises(OSError) as refusal:
            upload()
        assert refusal.value.errno == errno.ENOSPC
        assert list((small_disk / "incoming").iterdir()) == []
