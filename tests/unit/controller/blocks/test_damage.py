"""What a damaged block makes of all that needs it, and that all of it is as before when the block is."""

import errno
import os
import secrets
from pathlib import Path

import pytest

from stead_controller.blocks.interface import MissingBlockError
from stead_controller.blocks.scheduled_scrub import ScheduledScrub
from stead_controller.blocks.scrub import scrub
from stead_controller.db.tables import HostError, Image, ImageBlockDevice, Snapshot, SnapshotDamage, Volume
from stead_controller.desired import host_errors
from stead_controller.errors import WrongState
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.images import image_life, images
from stead_controller.resources.images.images import ImageSelection
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.storage import (
    segments,
    snapshot_damage,
    snapshot_life,
    snapshots,
    stored_blocks,
    volume_life,
    volume_status,
)
from stead_controller.resources.storage.snapshots import SnapshotSelection
from stead_controller.resources.storage.volume_life import CreateRequest
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.blocks import BLOCK_BYTES, BadBlockError, make_segment, pack
from tests.support import rows
from tests.support.rows import CLOUD, NOW


def noise():
    return pack(secrets.token_bytes(BLOCK_BYTES))


@pytest.fixture
async def blocks(store):
    made = [noise() for _ in range(3)]
    await store.bring(made)
    return made


@pytest.fixture
def add(run, world, blocks):
    """Add a snapshot of some of the blocks, by their numbers, and give its id."""

    def make(*numbers, state="completed", **changes):
        row = rows.snapshot(world.one.caller.account_id, state="pending", **changes)
        snapshot_id = row.id
        run(lambda tx: tx.session.add(row))
        segment = make_segment(0, {number: blocks[number].digest for number in numbers})
        run(segments.place, snapshot_id, segment)
        if state == "completed":
            run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, snapshot_id), NOW))
        return snapshot_id

    return make


@pytest.fixture
def path_of(run, files):
    def find(block):
        return files._folder / run(stored_blocks.copies, [block.digest])[block.digest].path

    return find


@pytest.fixture
def flip(path_of):
    """Flip the last byte of a block's file; again, and it is as it was."""

    def change(block):
        path = path_of(block)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    return change


@pytest.fixture
def check(database, store, files, time):
    async def run_it():
        last = None
        async for found in scrub(database, store, files, time):
            last = found
        return last

    return run_it


@pytest.fixture
def state(run, world):
    """How the caller sees a snapshot."""

    def look(snapshot_id):
        asked = SnapshotSelection(Selection(ids=(snapshot_id,)))
        (known,) = run(snapshots.describe, world.one.caller, asked)
        return known.state, known.snapshot.state_message

    return look


ERROR = ("error", snapshot_damage.MESSAGE)
WHOLE = ("completed", "")


async def test_a_scrub_puts_all_snapshots_in_error_that_need_a_block(add, blocks, flip, check, state):
    first, second, third = add(0, 1), add(1, 2), add(0)
    flip(blocks[1])
    await check()
    assert [state(each) for each in (first, second, third)] == [ERROR, ERROR, WHOLE]


@pytest.mark.parametrize("harm", ["flipped", "gone", "unreadable"])
async def test_who_reads_a_block_notes_its_damage(add, blocks, flip, path_of, *, store, state, run, harm):
    snapshot_id = add(0, 1)
    path = path_of(blocks[0])
    match harm:
        case "flipped":
            flip(blocks[0])
        case "gone":
            path.unlink()
        case "unreadable":  # a place of a disk that gives an error: here the kernel gives one for a folder
            path.unlink()
            path.mkdir()
    with pytest.raises((BadBlockError, MissingBlockError)):
        await store.read(blocks[0].digest)
    assert state(snapshot_id) == ERROR
    assert run(stored_blocks.damaged, [blocks[0].digest]) == {blocks[0].digest}


async def test_it_is_noted_once(add, blocks, flip, store, monkeypatch):
    add(0)
    flip(blocks[0])
    scans = []
    real = segments.needing
    monkeypatch.setattr(segments, "needing", lambda tx, digests: scans.append(digests) or real(tx, digests))
    for _ in range(3):
        with pytest.raises(BadBlockError):
            await store.read(blocks[0].digest)
    assert len(scans) == 1


async def test_nothing_new_is_made_of_it(add, blocks, flip, check, run, *, world):
    snapshot_id = add(0)
    flip(blocks[0])
    await check()
    request = CreateRequest(Repeatable("CreateVolume", "", ""), zone="us-east-1a", snapshot_id=snapshot_id)
    with pytest.raises(WrongState):
        run(volume_life.create, world.one.caller, CLOUD, request, NOW)


async def test_its_images_are_in_error_too(add, blocks, flip, check, run, *, world, store):
    snapshot_id, other_id = add(0), add(1)
    image = rows.image(account_id=world.one.caller.account_id, snapshot_id=other_id, public=False)
    image_id = image.id

    def write(tx):
        tx.session.add(image)
        tx.session.flush()
        tx.session.add(rows.image_device(image))
        tx.session.add(ImageBlockDevice(image_id=image_id, device_name="/dev/sdf", snapshot_id=snapshot_id))

    def shown():
        (one,) = run(images.describe, world.one.caller, ImageSelection(Selection(ids=(image_id,))), NOW)
        return one.image.state, one.image.state_reason

    run(write)
    flip(blocks[0])
    flip(blocks[1])
    await check()
    why = snapshot_damage.OF_IMAGE
    assert shown() == ("error", why)
    with pytest.raises(WrongState):
        run(images.find_launchable, world.one.caller, image_id)
    assert run(images.find_launchable, world.one.caller, world.image_id).id == world.image_id
    flip(blocks[1])
    await store.read(blocks[1].digest)
    assert shown() == ("error", why)
    run(lambda tx: setattr(tx.session.get_one(Image, image_id), "state", "disabled"))
    run(image_life.enable, world.one.caller, image_id)
    assert shown() == ("error", why)
    flip(blocks[0])
    await check()
    assert shown() == ("available", "")
    assert run(images.find_launchable, world.one.caller, image_id).id == image_id


async def test_others_learn_why_a_public_image_cannot_be_launched(add, blocks, flip, check, run, *, world):
    snapshot_id = add(0)
    moved = {"snapshot_id": snapshot_id}
    run(lambda tx: tx.session.query(ImageBlockDevice).filter_by(image_id=world.image_id).update(moved))
    flip(blocks[0])
    await check()
    with pytest.raises(WrongState):
        run(images.find_launchable, world.other.caller, world.image_id)


async def test_it_is_whole_again_with_its_last_block(add, blocks, flip, check, store, *, state):
    snapshot_id = add(0, 1)
    flip(blocks[0])
    flip(blocks[1])
    await check()
    flip(blocks[0])
    await store.read(blocks[0].digest)
    assert state(snapshot_id) == ERROR
    flip(blocks[1])
    await store.read(blocks[1].digest)
    assert state(snapshot_id) == WHOLE


async def test_a_read_that_succeeds_mends(add, blocks, flip, check, *, store, state):
    snapshot_id = add(0)
    flip(blocks[0])
    await check()
    flip(blocks[0])
    await store.read(blocks[0].digest)
    assert state(snapshot_id) == WHOLE
    flip(blocks[0])
    with pytest.raises(BadBlockError):
        await store.read(blocks[0].digest)
    assert state(snapshot_id) == ERROR


async def test_who_brings_the_block_mends(add, blocks, flip, check, *, store, state):
    snapshot_id = add(0)
    flip(blocks[0])
    await check()
    await store.bring([blocks[0]])
    assert state(snapshot_id) == WHOLE


async def test_what_was_put_back_is_soon_in_use_again(add, blocks, flip, check, state, *, database, store, files, time):
    snapshot_id = add(0)
    flip(blocks[0])
    await check()
    runs = ScheduledScrub(database, store, files, time, days=0)
    await runs.run()
    assert state(snapshot_id) == ERROR
    flip(blocks[0])
    await runs.run()
    await runs.run()  # the first may have been after it
    assert state(snapshot_id) == WHOLE


async def test_nothing_is_lost_of_it_meanwhile(add, blocks, flip, check, store, *, state, time, run):
    snapshot_id = add(0, 1, 2)
    stands = run(segments.page, snapshot_id, 0, 10)
    flip(blocks[0])
    await check()
    for _ in range(2):
        time.later(days=2)
        while await store.collect():
            pass
    flip(blocks[0])
    await check()
    assert state(snapshot_id) == WHOLE
    assert run(segments.page, snapshot_id, 0, 10) == stands
    for block in blocks:
        assert await store.read(block.digest) == block


async def test_one_that_failed_is_never_whole(add, blocks, flip, check, *, state, run):
    snapshot_id = add(0, state="pending")
    run(lambda tx: snapshot_life.fail(tx, tx.session.get_one(Snapshot, snapshot_id), "it failed"))
    flip(blocks[0])
    await check()
    assert state(snapshot_id) == ("error", "it failed")
    flip(blocks[0])
    await check()
    assert state(snapshot_id) == ("error", "it failed")


async def test_one_that_inherits_damage_is_in_error(add, blocks, flip, check, *, state, run, world):
    parent_id = add(0)
    child = rows.snapshot(world.one.caller.account_id, state="pending", parent_id=parent_id)
    child_id = child.id
    run(lambda tx: tx.session.add(child))
    flip(blocks[0])
    await check()
    run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, child_id), NOW, inherits=True))
    assert state(child_id) == ERROR
    flip(blocks[0])
    await check()
    assert (state(parent_id), state(child_id)) == (WHOLE, WHOLE)


async def test_one_in_error_can_be_deleted(add, blocks, flip, check, run, *, store, time):
    snapshot_id = add(0)
    flip(blocks[0])
    await check()
    run(lambda tx: snapshot_life.delete_snapshot(tx, tx.session.get_one(Snapshot, snapshot_id)))
    flip(blocks[0])
    await check()
    assert run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).state) == "deleting"
    time.later(days=2)
    while await store.collect():
        pass
    assert run(lambda tx: tx.session.get(Snapshot, snapshot_id)) is None
    assert run(lambda tx: tx.session.query(SnapshotDamage).count()) == 0


class TestUnreadable:
    """A disk that gives EIO for a block."""

    @pytest.fixture
    def broken(self, monkeypatch):
        """Let the kernel refuse to open some files with an error number."""
        refused: dict[Path, int] = {}
        real = Path.open

        def opening(path, *args, **kwargs):
            if path in refused:
                raise OSError(refused[path], os.strerror(refused[path]))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(Path, "open", opening)
        return refused

    async def test_it_is_noted_and_passed(self, add, blocks, path_of, broken, check, *, state):
        snapshot_id, other_id = add(0), add(1)
        broken[path_of(blocks[0])] = errno.EIO
        found = await check()
        assert (found.blocks_done, found.bad_blocks) == (3, 1)
        assert found.damaged[0].snapshot_ids == [snapshot_id]
        assert "Input/output error" in found.damaged[0].error
        assert (state(snapshot_id), state(other_id)) == (ERROR, WHOLE)
        broken.clear()
        assert (await check()).bad_blocks == 0
        assert state(snapshot_id) == WHOLE

    async def test_what_only_this_process_cannot_read_is_passed_and_not_damaged(
        self, add, blocks, path_of, broken, check, *, state
    ):
        snapshot_id = add(0)
        broken[path_of(blocks[0])] = errno.EMFILE
        found = await check()
        assert (found.blocks_done, found.bad_blocks) == (3, 1)
        assert state(snapshot_id) == WHOLE

    async def test_scheduled_scrubbing_goes_on(
        self, add, blocks, path_of, broken, state, *, database, store, files, time
    ):
        snapshot_id = add(0)
        broken[path_of(blocks[0])] = errno.EIO
        runs = ScheduledScrub(database, store, files, time, days=30)
        for _ in range(3):
            await runs.run()
        assert state(snapshot_id) == ERROR
        time.later(days=29)
        await runs.run()
        time.later(days=1)
        broken.clear()
        for _ in range(3):
            await runs.run()
        assert state(snapshot_id) == WHOLE


class TestVolumes:
    """Volumes of a snapshot that is damaged."""

    @pytest.fixture
    def volume(self, add, run, world):
        """A volume of a snapshot that is being attached to a running instance, which its home makes; their ids."""
        snapshot_id = add(0)

        def write(tx):
            instance = rows.launch(tx, world, world.one)
            made = rows.volume(
                instance, world, snapshot_id=snapshot_id, device_name="/dev/sdf", attachment_state="attaching"
            )
            made.delete_on_termination = False
            tx.session.add(made)
            tx.session.flush()
            return made.id, instance.id, snapshot_id

        return run(write)

    @pytest.fixture
    def fails(self, run, world):
        """Let the volume's home say that it cannot fetch the base."""
        return lambda base_id: run(host_errors.note_base, world.host_id, base_id, "DATA_LOSS", NOW)

    @pytest.fixture
    def status(self, run, world):
        def look(volume_id, *filters):
            asked = Selection(ids=(volume_id,), filters=tuple(Filter(name, (value,)) for name, value in filters))
            return run(volume_status.describe, world.one.caller, CLOUD, asked)

        return look

    async def test_it_is_impaired_while_its_home_lacks_data(
        self, volume, blocks, flip, check, fails, *, status, run, world
    ):
        volume_id, instance_id, snapshot_id = volume
        flip(blocks[0])
        await check()
        (known,) = status(volume_id)
        assert known.status == "ok"  # its home may have fetched all of it
        fails(snapshot_id)
        (known,) = status(volume_id, ("event.event-type", "potential-data-inconsistency"))
        assert (known.status, known.io_enabled) == ("impaired", "failed")
        (event,) = known.events
        assert event.since == NOW
        assert known.volume.instance_id == instance_id
        for name, value in (
            ("event.event-id", event.id),
            ("event.not-before", NOW.isoformat()),
            ("event.description", event.description),
            ("volume-status.status", "impaired"),
        ):
            assert [one.events for one in status(volume_id, (name, value))] == [[event]]
        with pytest.raises(WrongState):
            run(volume_status.enable_io, world.one.caller, volume_id)
        flip(blocks[0])
        await check()
        (known,) = status(volume_id)
        assert (known.status, known.events) == ("ok", [])
        run(volume_status.enable_io, world.one.caller, volume_id)

    async def test_what_fails_for_another_reason_is_not_impaired(self, volume, fails, status):
        volume_id, _, snapshot_id = volume
        fails(snapshot_id)
        (known,) = status(volume_id)
        assert known.status == "ok"

    async def test_its_attachment_fails_and_it_can_be_deleted(self, volume, blocks, flip, check, fails, *, run, world):
        volume_id, instance_id, snapshot_id = volume

        def attachment():
            return run(lambda tx: tx.session.get_one(Volume, volume_id).attachment_state)

        fails(snapshot_id)
        run(clean_up, Settings(Path()), NOW)
        assert attachment() == "attaching"  # it only waits
        flip(blocks[0])
        await check()
        run(clean_up, Settings(Path()), NOW)
        assert attachment() == "detaching"
        run(volume_attachments.settle_machine, instance_id, [], NOW)
        assert run(lambda tx: tx.session.get_one(Volume, volume_id).state) == "available"
        with pytest.raises(WrongState) as refusal:
            run(volume_attachments.attach, world.one.caller, CLOUD, volume_id, instance_id, "/dev/sdf", NOW)
        assert refusal.value.code == "IncorrectState"
        assert snapshot_id in refusal.value.message
        flip(blocks[0])
        await check()
        run(volume_attachments.attach, world.one.caller, CLOUD, volume_id, instance_id, "/dev/sdf", NOW)
        assert attachment() == "attaching"
        run(volume_attachments.detach, world.one.caller, volume_id)
        run(volume_attachments.settle_machine, instance_id, [], NOW)
        run(volume_life.delete, world.one.caller, volume_id, NOW)

    async def test_what_is_attached_stays(self, volume, blocks, flip, check, fails, *, run):
        volume_id, _, snapshot_id = volume
        run(lambda tx: setattr(tx.session.get_one(Volume, volume_id), "attachment_state", "attached"))
        fails(snapshot_id)
        flip(blocks[0])
        await check()
        run(clean_up, Settings(Path()), NOW)
        assert run(lambda tx: tx.session.get_one(Volume, volume_id).attachment_state) == "attached"

    async def test_one_without_a_home_is_impaired_at_once(self, add, blocks, flip, check, run, *, world, status):
        snapshot_id = add(0)
        request = CreateRequest(Repeatable("CreateVolume", "", ""), zone="us-east-1a", snapshot_id=snapshot_id)
        volume_id = run(volume_life.create, world.one.caller, CLOUD, request, NOW)
        flip(blocks[0])
        await check()
        (known,) = status(volume_id)
        assert known.status == "impaired"
        run(volume_life.delete, world.one.caller, volume_id, NOW)
        assert run(lambda tx: tx.session.query(HostError).count()) == 0
