"""Snapshots of disks that no guest has in use: right, gone on with after a kill, begun anew when the disk changed."""

import os
import random
import signal
import subprocess
import threading
from dataclasses import replace

import pytest

from stead_agent.disks.disk_backups import NotPluggedError
from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_sources import FileSource, Layer, NbdSource
from stead_agent.disks.qcow2 import render_empty
from stead_agent.disks.snapshots import quiet_disk
from stead_agent.disks.snapshots.interface import QuietDisk, SnapshotError, SnapshotGroup, SnapshotSpec
from stead_agent.disks.snapshots.local_snapshots import LocalSnapshots
from stead_agent.disks.snapshots.notes import GroupNote, Notes, SnapshotNote
from stead_agent.disks.snapshots.quiet_disk import QuietDisks
from stead_agent.named_locks import NamedLocks
from stead_agent.programs import processes
from stead_agent.programs.run import start_daemon
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES
from stead_proto.v1.blocks_pb2 import COMPRESSION_UNSPECIFIED
from tests.host.snapshots.conftest import content_of, qemu_io
from tests.support.waiting import wait_for

VOL = "vol-0123456789abcdef0"
OTHER_VOL = "vol-0123456789abcdef1"
SNAP = "snap-0123456789abcdef0"
NEXT = "snap-0123456789abcdef1"
SIZE = 24 * BLOCK_BYTES + 65536


class NoGuests:
    """No guest runs here."""

    def begin(self, machine_id, name, disks):
        raise NotPluggedError(f"{machine_id} does not run")

    def current(self, machine_id):
        return None

    def end(self, machine_id, name):
        pass

    def forget(self, machine_id, volume_id, *, keep):
        pass


@pytest.fixture
def snapshots(place, store):
    """A host's snapshots, ended in the end."""
    made = LocalSnapshots(place / "state", place / "run", store, NoGuests())
    yield made
    made.close()
    assert list((place / "run" / "quiet").iterdir()) == []
    assert made._quiet._readers == {}


def make_disk(place, seed, volume_id=VOL, blocks=range(0, 24, 2)):
    image = place / f"{volume_id}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(SIZE)], check=True)
    source = random.Random(seed)
    qemu_io(image, *(f"write -P {source.randrange(1, 255)} {each * BLOCK_BYTES} 512k" for each in blocks))
    qemu_io(image, f"write -P 77 {24 * BLOCK_BYTES} 64k")
    return image


def group(image, *specs, name=SNAP):
    disk = QuietDisk(Layer(FileSource(image), "qcow2"), None)
    specs = specs or (SnapshotSpec(SNAP, VOL),)
    return SnapshotGroup(name, specs, quiet=tuple((each.volume_id, disk) for each in specs))


def taken(snapshots, wanted):
    """Ask until it is complete; gives the last progress of each snapshot."""

    def found():
        progress = snapshots.ensure(wanted)
        return progress if all(each.complete for each in progress.values()) else None

    return wait_for(found, "the snapshot is complete", poll=0.02)


def test_a_quiet_disk_is_brought_to_the_store(snapshots, place, fake):
    image = make_disk(place, 1)
    content = content_of(image)
    done = taken(snapshots, group(image))[SNAP]
    assert fake.content(SNAP, SIZE) == content
    assert done.blocks == done.blocks_done == 13
    assert not done.incremental
    assert done.taken_at > 1_600_000_000_000
    assert snapshots.present() == {SNAP}
    assert taken(snapshots, group(image))[SNAP] == done
    assert len(fake.offered) == 1
    snapshots.remove(SNAP)
    assert snapshots.present() == frozenset()


def test_only_blocks_that_the_store_lacks_travel(snapshots, place, fake):
    image = make_disk(place, 2)
    taken(snapshots, group(image))
    fake.received.clear()
    qemu_io(image, f"write -P 250 {BLOCK_BYTES} 4k")
    taken(snapshots, group(image, SnapshotSpec(NEXT, VOL, SNAP), name=NEXT))
    assert fake.content(NEXT, SIZE) == content_of(image)
    assert len(fake.received) == 1


def test_a_disk_over_a_base_is_taken_whole(snapshots, place, fake):
    base = place / "base.raw"
    base.write_bytes(random.Random(3).randbytes(3 * BLOCK_BYTES))
    image = place / f"{VOL}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, image, str(SIZE)], check=True)
    qemu_io(image, f"write -P 9 {BLOCK_BYTES} 4k", f"write -z {2 * BLOCK_BYTES} 512k")
    base.chmod(0o444)
    expected = content_of(image)
    # What is passed is its base, whatever the disk's own header names, which a guest that broke out could write.
    other = place / "other.raw"
    other.write_bytes(b"\xca" * 3 * BLOCK_BYTES)
    other.chmod(0o444)
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", other, image], check=True)
    disk = QuietDisk(Layer(FileSource(image), "qcow2"), Layer(FileSource(base), "raw"))
    taken(snapshots, SnapshotGroup(SNAP, (SnapshotSpec(SNAP, VOL),), quiet=((VOL, disk),)))
    content = fake.content(SNAP, SIZE)
    assert content[:BLOCK_BYTES] == base.read_bytes()[:BLOCK_BYTES]
    assert content == expected
    assert set(fake.snapshots[SNAP].segments[0].slots) == {0, 1}


def test_of_an_encrypted_disk_the_store_sees_what_its_key_opens(snapshots, place, fake):
    key, other = bytes(range(32)), bytes(range(1, 33))
    plain = make_disk(place, 5)
    image = place / f"{VOL}-sealed.qcow2"
    image.touch()
    write_disk(image, render_empty(SIZE, encryption_key=key))
    secret = ["--object", f"secret,id=key,data={key.hex()}"]
    target = f"driver=qcow2,file.filename={image},encrypt.key-secret=key"
    subprocess.run(
        ["qemu-img", "convert", "-n", *secret, "-f", "qcow2", plain, "--target-image-opts", target], check=True
    )
    disk = QuietDisk(Layer(FileSource(image), "qcow2"), None, key)
    wanted = SnapshotGroup(SNAP, (SnapshotSpec(SNAP, VOL, encryption_key=key),), quiet=((VOL, disk),))
    taken(snapshots, wanted)
    stored, content = fake.content(SNAP, 25 * BLOCK_BYTES), content_of(plain)
    cipher = BlockCipher(key)
    for number, start in enumerate(range(0, len(content), BLOCK_BYTES)):
        block = stored[start : start + BLOCK_BYTES]
        expected = content[start : start + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0")
        assert block == (expected if expected == bytes(BLOCK_BYTES) else cipher.encrypt(number, expected))
    assert all(each.compression == COMPRESSION_UNSPECIFIED for each in fake.blocks.values())

    wrong = QuietDisk(Layer(FileSource(image), "qcow2"), None, other)
    group = SnapshotGroup(NEXT, (SnapshotSpec(NEXT, VOL, encryption_key=other),), quiet=((VOL, wrong),))
    with pytest.raises(SnapshotError, match="cannot be read"):
        taken(snapshots, group)


def test_a_broken_connection_to_the_store_is_reported_and_resumed(snapshots, place, fake):
    image = make_disk(place, 4)
    fake.break_after_received = 3
    with pytest.raises(SnapshotError, match="on purpose"):
        taken(snapshots, group(image))
    at = snapshots._notes.load(SNAP).taken_at
    done = taken(snapshots, group(image))[SNAP]
    assert done.taken_at == at, "an unchanged disk is still of the same instant"
    assert fake.content(SNAP, SIZE) == content_of(image)
    assert len(fake.received) == len(set(fake.received))


def test_a_new_process_goes_on(place, store, fake):
    image = make_disk(place, 5)
    first = LocalSnapshots(place / "state", place / "run", store, NoGuests())
    fake.stop()
    first.ensure(group(image))
    wait_for(lambda: not first._jobs[SNAP].is_running, "the first try has failed")
    fake.start()
    second = LocalSnapshots(place / "state", place / "run", store, NoGuests())
    assert second.present() == {SNAP}
    assert second.being_read([VOL, OTHER_VOL]) == {VOL}
    taken(second, group(image))
    assert fake.content(SNAP, SIZE) == content_of(image)
    second.close()
    first.close()


def test_a_disk_that_changed_meanwhile_is_of_a_later_instant(snapshots, place, fake):
    image = make_disk(place, 6)
    fake.break_after_received = 5
    with pytest.raises(SnapshotError):
        taken(snapshots, group(image))
    at = snapshots._notes.load(SNAP).taken_at
    # What the first try stored of a segment must not survive where the disk is now empty.
    qemu_io(image, "write -z 0 4M", f"write -P 3 {20 * BLOCK_BYTES} 512k")
    done = taken(snapshots, group(image))[SNAP]
    assert done.taken_at > at
    assert fake.content(SNAP, SIZE) == content_of(image)


def test_a_segment_that_became_empty_is_said_anew(snapshots, place, fake):
    image = make_disk(place, 7)
    fake.snapshots.clear()
    taken(snapshots, group(image))
    wait_for(lambda: not snapshots._jobs[SNAP].is_running, "the instant is given up")
    fake.snapshots[SNAP].finished = False
    note = snapshots._notes.load(SNAP)
    note.snapshots[SNAP].complete = False
    snapshots._notes.save(note)
    qemu_io(image, f"write -z 0 {SIZE}")
    taken(snapshots, group(image))
    assert fake.content(SNAP, SIZE) == bytes(SIZE)


def test_reading_ends_for_a_guest_that_is_about_to_run(snapshots, place, fake, monkeypatch):
    image = make_disk(place, 8)
    reached, go_on = threading.Event(), threading.Event()
    original = type(fake).StoreSnapshot

    def held_up(self, requests, context):
        reached.set()
        go_on.wait(60)
        yield from original(self, requests, context)

    monkeypatch.setattr(type(fake), "StoreSnapshot", held_up)
    fake.stop()
    fake.start()
    snapshots.ensure(group(image))
    assert reached.wait(60)
    assert snapshots.being_read([VOL]) == {VOL}
    releasing = threading.Thread(target=snapshots.release, args=([VOL],))
    releasing.start()
    go_on.set()
    releasing.join(60)
    assert not releasing.is_alive()
    assert list((place / "run" / "quiet").iterdir()) == []
    assert snapshots.being_read([VOL]) == frozenset()
    qemu_io(image, "write -P 99 0 64k")  # nobody has it open
    taken(snapshots, group(image))
    assert fake.content(SNAP, SIZE) == content_of(image)


def test_a_disk_is_being_read_as_long_as_a_snapshot_needs_it_as_it_is(snapshots, place):
    notes, prints = Notes(place / "state" / "snapshots"), {VOL: [1, 2, 3]}
    over = {SNAP: SnapshotNote(VOL, complete=True), NEXT: SnapshotNote(VOL, removed=True)}
    notes.save(GroupNote("over", over, prints=prints))
    notes.save(GroupNote("lost", {SNAP: SnapshotNote(VOL)}, prints=prints, lost=True))
    notes.save(GroupNote("released", {SNAP: SnapshotNote(VOL)}, prints={VOL: []}))
    notes.save(GroupNote("guest", {SNAP: SnapshotNote(VOL), NEXT: SnapshotNote(OTHER_VOL)}, "i-1", {OTHER_VOL: [1]}))
    assert snapshots.being_read([VOL]) == frozenset()
    assert snapshots.being_read([VOL, OTHER_VOL]) == {OTHER_VOL}
    notes.save(GroupNote("one", {SNAP: SnapshotNote(VOL), NEXT: SnapshotNote(VOL, complete=True)}, prints=prints))
    assert snapshots.being_read([VOL]) == {VOL}


def test_a_note_that_is_removed_meanwhile_is_none(place):
    notes = Notes(place / "notes")
    notes.save(GroupNote("first", {}))
    notes.save(GroupNote("second", {}))
    found = notes.all()
    assert next(found).name == "first"
    notes.remove("second")
    assert list(found) == []


def test_several_disks_of_one_instant(snapshots, place, fake):
    images = [make_disk(place, seed, volume_id) for seed, volume_id in ((9, VOL), (10, OTHER_VOL))]
    specs = (SnapshotSpec(SNAP, VOL), SnapshotSpec(NEXT, OTHER_VOL))
    quiet = tuple(
        (spec.volume_id, QuietDisk(Layer(FileSource(image), "qcow2"), None))
        for spec, image in zip(specs, images, strict=True)
    )
    done = taken(snapshots, SnapshotGroup("set-1", specs, quiet=quiet))
    assert done[SNAP].taken_at == done[NEXT].taken_at
    assert fake.content(SNAP, SIZE) == content_of(images[0])
    assert fake.content(NEXT, SIZE) == content_of(images[1])
    snapshots.remove(SNAP)
    assert snapshots.present() == {NEXT}
    snapshots.remove(NEXT)
    assert snapshots.present() == frozenset()


class NotingLocks(NamedLocks):
    """Locks that note who comes to them."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def at(self, name, stop=None):
        self.asked.append(name)
        return super().at(name, stop)


def two_of(image, snapshots, fake):
    """Have two snapshots of a disk taken; the first is held while it is read, until the event, and the second waits."""
    first, second = group(image), group(image, SnapshotSpec(NEXT, VOL), name=NEXT)
    snapshots._quiet._volumes = locks = NotingLocks()
    go_on = threading.Event()
    fake.hold_after_received = (3, go_on)
    snapshots.ensure(first)
    wait_for(lambda: len(fake.received) == 3, "the first is read")
    snapshots.ensure(second)
    wait_for(lambda: locks.asked == [VOL, VOL], "the second has come")
    return first, second, go_on


def test_two_snapshots_of_one_disk_are_read_one_after_the_other(snapshots, place, fake):
    """As when an image is made of a stopped instance of whose volume a snapshot is being taken."""
    image = make_disk(place, 15)
    first, second, go_on = two_of(image, snapshots, fake)
    go_on.set()
    taken(snapshots, first)
    taken(snapshots, second)
    assert fake.content(SNAP, SIZE) == fake.content(NEXT, SIZE) == content_of(image)
    qemu_io(image, "write -P 99 0 64k")  # nobody has it open


def test_one_that_is_removed_leaves_who_else_reads_its_disk_alone(snapshots, place, fake):
    """As when the controller wants the first of two no more, which is in the store, while the second is read."""
    image = make_disk(place, 17)
    first, _, go_on = two_of(image, snapshots, fake)
    removing = threading.Thread(target=snapshots.remove, args=(NEXT,))
    removing.start()
    removing.join(10)
    is_waiting, is_read_on = removing.is_alive(), (place / "run" / "quiet" / VOL / "pid").exists()
    go_on.set()
    assert (is_waiting, is_read_on) == (False, True)
    taken(snapshots, first)
    assert snapshots.present() == {SNAP}


def test_who_waits_for_a_turn_is_stopped_at_once(snapshots, place, monkeypatch):
    turns = threading.Semaphore(0)
    monkeypatch.setattr(snapshots, "_readers", turns)
    wanted = group(make_disk(place, 18))
    snapshots.ensure(wanted)
    releasing = threading.Thread(target=snapshots.release, args=([VOL],))
    releasing.start()
    releasing.join(10)
    is_waiting = releasing.is_alive()
    turns.release()
    assert not is_waiting
    taken(snapshots, wanted)
    assert turns.acquire(timeout=10), "its turn is over"


def test_a_reader_whose_disk_does_not_answer_is_stopped_with_its_export(snapshots, place, monkeypatch):
    begin, hangs = snapshots._quiet._start, threading.Event()

    def begin_and_hang(*words):
        listens = begin(*words)
        os.kill(int((listens.parent / "pid").read_text()), signal.SIGSTOP)
        hangs.set()
        return listens

    monkeypatch.setattr(snapshots._quiet, "_start", begin_and_hang)
    snapshots.ensure(group(make_disk(place, 19)))
    assert hangs.wait(60)
    removing = threading.Thread(target=snapshots.remove, args=(SNAP,))
    removing.start()
    removing.join(10)
    is_waiting = removing.is_alive()
    snapshots._quiet.end(VOL)
    assert not is_waiting


def test_an_export_that_is_ended_as_it_begins_leaves_no_process(place, monkeypatch):
    """As when a guest is about to have the disk: who ends the export does not know its process yet."""
    quiet, begun = QuietDisks(place / "quiet"), []

    def begin(*words, **more):
        begun.append(start_daemon(*words, **more))
        wait_for((place / "quiet" / VOL / "nbd").exists, "it listens")
        quiet.end(VOL)
        return begun[0]

    monkeypatch.setattr(quiet_disk, "start_daemon", begin)
    disk, stop = dict(group(make_disk(place, 16)).quiet)[VOL], threading.Event()
    with pytest.raises(SnapshotError, match=VOL), quiet.exported(VOL, disk, stop):
        pass
    with processes.held(begun[0]) as process:
        assert process is None or processes.ends(process, 10)
    assert list((place / "quiet").iterdir()) == []


@pytest.mark.parametrize("ended", ["complete", "removed"])
def test_a_set_of_which_one_is_complete_gets_no_second_instant(snapshots, place, fake, ended):
    images = [make_disk(place, seed, volume_id) for seed, volume_id in ((11, VOL), (12, OTHER_VOL))]
    specs = (SnapshotSpec(SNAP, VOL), SnapshotSpec(NEXT, OTHER_VOL))
    quiet = tuple(
        (spec.volume_id, QuietDisk(Layer(FileSource(image), "qcow2"), None))
        for spec, image in zip(specs, images, strict=True)
    )
    wanted = SnapshotGroup("set-1", specs, quiet=quiet)
    taken(snapshots, wanted)
    wait_for(lambda: not snapshots._jobs["set-1"].is_running, "the instant is given up")
    fake.snapshots[NEXT].finished = False
    note = snapshots._notes.load("set-1")
    note.snapshots[NEXT].complete = False
    note.snapshots[SNAP].complete, note.snapshots[SNAP].removed = ended == "complete", ended == "removed"
    snapshots._notes.save(note)
    offered = len(fake.offered)
    qemu_io(images[1], "write -P 3 0 64k")  # its content is of no earlier instant any more
    again = LocalSnapshots(place / "state", place / "run", snapshots._store, NoGuests())
    for agent in (snapshots, snapshots, again):
        found = agent.ensure(wanted)
        assert (found[NEXT].lost, found[SNAP].lost) == (True, ended == "removed")
    again.close()
    assert len(fake.offered) == offered
    snapshots.remove(NEXT)
    snapshots.remove(SNAP)
    assert snapshots.present() == frozenset()


@pytest.fixture
def brought(place):
    """A disk of another host as it is here: an export of a proxy, whose file nobody looks at."""
    image, listens = place / "home.raw", place / "home.sock"
    image.write_bytes(random.Random(13).randbytes(4 * BLOCK_BYTES))
    image.chmod(0o644)
    command = ("qemu-nbd", "--read-only", "--persistent", "--shared=8", f"--socket={listens}", "-f", "raw", image)
    with subprocess.Popen(command) as home:
        wait_for(listens.exists, "the home serves")
        listens.chmod(0o777)
        yield QuietDisk(Layer(NbdSource(listens), "raw"), None, generation=4)
        home.kill()


def of_two(place, brought):
    """A set of a disk of this host and one of another."""
    own = QuietDisk(Layer(FileSource(make_disk(place, 14)), "qcow2"), None)
    specs = (SnapshotSpec(SNAP, VOL), SnapshotSpec(NEXT, OTHER_VOL))
    return SnapshotGroup("set-1", specs, quiet=((VOL, own), (OTHER_VOL, brought)))


def fail_the_second(snapshots, fake, wanted):
    """Let the first snapshot of a set be complete, and the second fail on its way."""
    total = 13  # blocks of the first
    fake.break_after_received = total
    with pytest.raises(SnapshotError, match="on purpose"):
        taken(snapshots, wanted)
    note = snapshots._notes.load("set-1")
    assert [each.complete for each in note.snapshots.values()] == [True, False]


def test_a_set_with_a_disk_of_another_host_goes_on_after_a_failure(snapshots, place, fake, brought):
    """Nobody has used the disk since, so it is as it was at the instant of those that are complete."""
    wanted = of_two(place, brought)
    fail_the_second(snapshots, fake, wanted)
    done = taken(snapshots, wanted)
    assert done[SNAP].taken_at == done[NEXT].taken_at
    assert fake.content(NEXT, 4 * BLOCK_BYTES) == (place / "home.raw").read_bytes()


def test_the_others_of_a_set_are_read_on_when_a_complete_one_is_wanted_no_more(snapshots, place, fake, brought):
    """As the controller wants no snapshot of a host any more that is in the store."""
    wanted = of_two(place, brought)
    fail_the_second(snapshots, fake, wanted)
    snapshots.remove(SNAP)
    rest = replace(wanted, snapshots=wanted.snapshots[1:], quiet=wanted.quiet[1:])
    done = taken(snapshots, rest)
    assert (done[NEXT].complete, done[NEXT].lost) == (True, False)
    snapshots.remove(NEXT)
    assert snapshots.present() == frozenset()


def test_a_complete_one_that_is_removed_stops_no_other(snapshots, place, fake, brought):
    wanted = of_two(place, brought)
    stored = threading.Event()
    fake.hold_after_received = (13, stored)
    snapshots.ensure(wanted)
    wait_for(lambda: snapshots._jobs["set-1"].note.snapshots[SNAP].complete, "the first is complete")
    thread = snapshots._jobs["set-1"].thread
    snapshots.remove(SNAP)
    assert thread.is_alive()
    stored.set()
    thread.join(60)
    note = snapshots._notes.load("set-1")
    assert (note.snapshots[SNAP].removed, note.snapshots[NEXT].complete) == (True, True)


@pytest.mark.parametrize("how", ["released", "released by an earlier agent", "attached anew"])
def test_a_disk_of_another_host_that_was_used_since_is_lost(snapshots, place, fake, brought, how):
    wanted = of_two(place, brought)
    fail_the_second(snapshots, fake, wanted)
    later = snapshots
    if how == "attached anew":
        again = ((VOL, dict(wanted.quiet)[VOL]), (OTHER_VOL, replace(brought, generation=5)))
        wanted = replace(wanted, quiet=again)
    else:
        snapshots.release([OTHER_VOL])
    if how == "released by an earlier agent":
        snapshots.close()
        later = LocalSnapshots(place / "state", place / "run", snapshots._store, NoGuests())
    found = later.ensure(wanted)
    assert (found[SNAP].complete, found[SNAP].lost) == (True, False)
    assert (found[NEXT].complete, found[NEXT].lost) == (False, True)


def test_a_disk_that_cannot_be_read_says_why(snapshots, place):
    image = place / f"{VOL}.qcow2"
    image.write_bytes(b"no qcow2 at all" * 100)
    with pytest.raises(SnapshotError, match="qcow2"):
        taken(snapshots, group(image))
