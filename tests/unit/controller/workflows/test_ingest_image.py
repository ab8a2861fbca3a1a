"""A file becomes a snapshot, byte for byte, however often the controller is killed."""

import asyncio
import hashlib
import shutil
from datetime import timedelta
from functools import partial

import pytest

from stead_controller.blocks import image_export
from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.image_blocks import ImageBlocks
from stead_controller.blocks.store import BlockStore
from stead_controller.catalog import ids
from stead_controller.db.tables import Image, Snapshot, Workflow
from stead_controller.errors import InvalidParameter, MalformedId, NotFound, WrongState
from stead_controller.resources import workflow_rows
from stead_controller.resources.images import imported_images
from stead_controller.resources.images.imported_images import ImageFile, ImageRequest
from stead_controller.resources.storage import segments, volume_keys
from stead_controller.secrets.sealing import Sealer
from stead_controller.workflows.engine import Engine
from stead_controller.workflows.ingest_image import IngestImage
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, digests_of, unpack
from tests.support import crafted_images
from tests.support.rows import NOW

# Data in the first segment and, after a hole, in the second.
PLACES = (0, 3, 4, SEGMENT_BLOCKS + 1)
SIZE = (SEGMENT_BLOCKS + 2) * BLOCK_BYTES - 512


def content_of(index):
    whole = hashlib.sha256(index.to_bytes(4)).digest() * (BLOCK_BYTES // 32)
    return whole[: SIZE - index * BLOCK_BYTES]


KEY = bytes(range(32))
SEALER = Sealer(bytes(32))


class Killed(BaseException):
    """The controller was killed here."""


@pytest.fixture
def store(database, tmp_path):
    made = BlockStore(database, BlockDirectory(tmp_path / "blocks"), lambda: NOW, grace=timedelta(hours=1))
    yield made
    made.close()


@pytest.fixture
def begun(database, tmp_path):
    """A file in its folder, with the rows of its image; gives the image's id."""

    def begin(image_format="qcow2"):
        folder = tmp_path / "incoming" / "one"
        folder.mkdir(parents=True)
        raw = folder / "raw"
        with raw.open("wb") as file:
            file.truncate(SIZE)
            for index in PLACES:
                file.seek(index * BLOCK_BYTES)
                file.write(content_of(index))
        path = folder / "image"
        if image_format == "raw":
            raw.rename(path)
        else:
            command = ["qemu-img", "convert", "-f", "raw", "-O", image_format, raw, path]
            crafted_images.subprocess.run(command, check=True, timeout=60)
            raw.unlink()
        image_id = ids.new_id("image")
        image = ImageFile(path, image_format, SIZE, path.stat().st_size, "0" * 64)
        request = ImageRequest("an image", tags={"a": "b"})
        database.run_blocking(lambda tx: imported_images.add_image(tx, image_id, request, image, NOW))
        return image_id

    return begin


async def run_once(database, store):
    """Run one step; give whether one was due. The lease of a killed controller has run out."""
    make = partial(IngestImage, database, lambda: NOW, store=store, sealer=SEALER)
    engine = Engine(database, lambda: NOW, {IngestImage.kind: make}, monotonic=NOW.timestamp)
    past = NOW - timedelta(seconds=1)
    due = await database.run(lambda tx: workflow_rows.lease_due(tx, engine.holder, NOW, past, 1))
    for row in due:
        await engine.step(row, NOW)
    return bool(due)


def rows(database, image_id):
    def get(tx):
        image = tx.session.get(Image, image_id)
        return image, tx.session.get(Snapshot, image.snapshot_id), tx.session.query(Workflow).count()

    return database.run_blocking(get, writes=False)


async def content_in(database, store, snapshot_id):
    """Read a snapshot back: its blocks by index."""
    found = {}
    for segment in await database.run(lambda tx: segments.page(tx, snapshot_id, 0, 100), writes=False):
        for slot, digest in digests_of(segment).items():
            found[segment.position * SEGMENT_BLOCKS + slot] = unpack(await store.read(digest))
    return found


EXPECTED = {index: content_of(index).ljust(BLOCK_BYTES, b"\0") for index in PLACES}


async def test_a_file_becomes_an_encrypted_snapshot(database, store, begun):
    image_id = begun()

    def encrypt(tx):
        snapshot = tx.session.get_one(Snapshot, tx.session.get_one(Image, image_id).snapshot_id)
        snapshot.encrypted, snapshot.sealed_key = True, SEALER.seal(KEY, volume_keys.CONTEXT)

    database.run_blocking(encrypt)
    while await run_once(database, store):
        pass
    _image, snapshot, _workflows = rows(database, image_id)
    stored = await content_in(database, store, snapshot.id)
    cipher = BlockCipher(KEY)
    assert {index: cipher.decrypt(index, content) for index, content in stored.items()} == EXPECTED
    assert not set(stored.values()) & set(EXPECTED.values())


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
async def test_a_file_becomes_a_snapshot(database, store, begun, image_format, tmp_path):
    image_id = begun(image_format)
    while await run_once(database, store):
        pass
    image, snapshot, left = rows(database, image_id)
    assert (image.state, snapshot.state, snapshot.progress, left) == ("available", "completed", 100, 0)
    assert snapshot.stored_size == len(PLACES) * BLOCK_BYTES
    assert snapshot.public
    assert await content_in(database, store, snapshot.id) == EXPECTED
    assert list((tmp_path / "incoming").iterdir()) == []


KILLS = [(where, calls) for where in ("bring_contents", "place", "complete", "rmtree") for calls in range(4)]


@pytest.mark.parametrize("kill", KILLS)
async def test_killed_anywhere_it_is_done_again(database, store, begun, kill, monkeypatch):
    where, calls = kill
    image_id = begun("raw")
    after = calls // 2  # so many calls succeed, then one is killed, before its effect or after it
    owner = {"complete": imported_images, "rmtree": shutil}.get(where, store)
    original = getattr(owner, where)
    count = iter(range(100))

    def killed(*args, **kwargs):
        if next(count) == after:
            if calls % 2:
                result = original(*args, **kwargs)
                if asyncio.iscoroutine(result):
                    return _then_killed(result)
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, where, killed)
    for _ in range(20):
        try:
            if not await run_once(database, store):
                break
        except Killed:
            continue  # started again, as a new controller would
    image, snapshot, left = rows(database, image_id)
    assert (image.state, snapshot.state, left) == ("available", "completed", 0)
    assert await content_in(database, store, snapshot.id) == EXPECTED


async def _then_killed(result):
    await result
    raise Killed


async def test_a_forged_file_fails_the_image_and_leaves_nothing(database, store, begun, tmp_path):
    image_id = begun("qcow2")
    crafted_images.patch(tmp_path / "incoming" / "one" / "image", (8, b"\0\0\0\0\0\0\0\x70\0\0\0\x09"))
    while await run_once(database, store):
        pass
    image, snapshot, left = rows(database, image_id)
    assert (image.state, snapshot.state, left) == ("failed", "error", 0)
    assert "backing file" in image.state_reason
    assert list((tmp_path / "incoming").iterdir()) == []
    database.run_blocking(lambda tx: imported_images.remove_image(tx, image_id, NOW))
    assert database.run_blocking(lambda tx: tx.session.get(Image, image_id), writes=False) is None


async def test_a_snapshot_that_was_deleted_meanwhile_stays_deleted(database, store, begun, tmp_path):
    image_id = begun("raw")
    database.run_blocking(lambda tx: imported_images.remove_image(tx, image_id, NOW))
    while await run_once(database, store):
        pass
    assert database.run_blocking(lambda tx: tx.session.query(Workflow).count(), writes=False) == 0
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("image_format", image_export.FORMATS)
async def test_an_image_goes_out_as_it_came_in(database, store, begun, image_format, tmp_path):
    image_id = begun("raw")
    while await run_once(database, store):
        pass
    disk = await database.run(lambda tx: imported_images.find_disk(tx, image_id, ""), writes=False)

    async def more(first):
        return await database.run(lambda tx: segments.page(tx, disk.snapshot_id, first, 1), writes=False)

    percents = []
    path = tmp_path / "export" / "disk"
    path.parent.mkdir()
    await image_export.write_disk(store, more, path, disk.size, percents.append)
    assert percents == sorted(percents)
    assert percents[-1] == 100
    made = image_export.convert(path, image_format)
    assert path.exists() == (image_format == "raw")
    assert made.stat().st_blocks * 512 < 2 * len(PLACES) * BLOCK_BYTES
    image = ImageBlocks(made, image_format)
    try:
        assert image.size == SIZE
        assert {block.index: block.content for block in image.blocks()} == EXPECTED
    finally:
        image.close()


def test_what_is_no_disk_of_an_image_is_not_exported(database, begun):
    image_id = begun("raw")
    for wrong, kind in (
        ((image_id, "/dev/sdz"), InvalidParameter),
        ((image_id, ""), WrongState),  # it is still being read
        (("ami-00000000000000000", ""), NotFound),
        (("ami-x", ""), MalformedId),
    ):
        with pytest.raises(kind):
            database.run_blocking(lambda tx, wrong=wrong: imported_images.find_disk(tx, *wrong), writes=False)
