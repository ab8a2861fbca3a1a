"""Snapshots of running guests: of one instant while the guest writes on, reading only what changed, whatever is killed."""

import json
import os
import secrets
import signal

import libvirt_qemu
import pytest

from stead_agent.disks.disk_backups import BackupBusyError, DiskToFreeze, NotPluggedError
from stead_agent.disks.disk_sources import Layer
from stead_agent.disks.snapshots.interface import QuietDisk, SnapshotError, SnapshotGroup, SnapshotSpec
from stead_agent.disks.snapshots.local_snapshots import LocalSnapshots
from stead_agent.machines.backups import LibvirtBackups
from stead_agent.machines.host_access import remove_private
from stead_agent.machines.interface import Power
from stead_proto.block_cipher import BlockCipher
from stead_proto.blocks import BLOCK_BYTES
from stead_proto.nbd import wire
from stead_proto.nbd.client import NbdClient
from tests.host.machines.conftest import wait_for

MIB = 1 << 20
SIZE = 64 * MIB


class Guest:
    """A machine that runs, whose disks are written as its processor would: through its virtio devices."""

    def __init__(self, world, disks=1, encryption_key=b""):
        self.world = world
        made = world.encrypted_disk(encryption_key) if encryption_key else None
        self.spec = world.spec(disks=(made,) if made else tuple(world.disk() for _ in range(disks)))
        self.id = self.spec.id
        self.volumes = [disk.id for disk in self.spec.disks]
        self.starts = 0
        self.start()

    def start(self):
        self.starts += 1
        self.world.machines.start(self.spec, self.starts)

    def io(self, command, disk=0):
        """Have QEMU do a command of qemu-io on a disk's device."""
        with self.world.machines.domain(self.id) as domain:
            device = f"/machine/peripheral/virtio-disk{disk}/virtio-backend"
            reported = libvirt_qemu.qemuMonitorCommand(
                domain, f'qemu-io -d {device} "{command}"', libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            )
        assert "rror" not in reported, reported

    def jobs(self):
        """List QEMU's block jobs and NBD servers."""
        with self.world.machines.domain(self.id) as domain:
            exports = libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-block-exports"}', 0)
            jobs = libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-jobs"}', 0)
        return json.loads(exports)["return"] + json.loads(jobs)["return"]

    def checkpoints(self):
        with self.world.machines.domain(self.id) as domain:
            return [each.getName() for each in domain.listAllCheckpoints(0)]

    def group(self, *pairs, name=""):
        """Snapshots (id, parent's id) of its first disks, in order."""
        specs = tuple(
            SnapshotSpec(snapshot_id, self.volumes[at], parent) for at, (snapshot_id, parent) in enumerate(pairs)
        )
        return SnapshotGroup(name or pairs[0][0], specs, self.id)

    def quiet(self, snapshot_id, parent=""):
        disk = self.spec.disks[0]
        layers = ((disk.id, QuietDisk(Layer(disk.source, disk.format), disk.base)),)
        return SnapshotGroup(snapshot_id, (SnapshotSpec(snapshot_id, disk.id, parent),), quiet=layers)


def new_id():
    return f"snap-0{secrets.token_hex(8)}"


@pytest.fixture
def backups(world):
    """The backups of the world's machines."""
    return LibvirtBackups(world.machines, world.root / "backups")


@pytest.fixture
def snapshots(world, store, backups):
    """A host's snapshots, ended in the end."""
    made = LocalSnapshots(world.root / "state", world.root / "run", store, backups)
    yield made
    made.close()


def taken(snapshots, group):
    found = {}

    def complete():
        found.update(snapshots.ensure(group))
        return all(each.complete for each in found.values())

    wait_for(complete, "the snapshot is complete")
    return found


def pattern(*pieces):
    content = bytearray(SIZE)
    for offset, length, byte in pieces:
        content[offset : offset + length] = bytes([byte]) * length
    return bytes(content)


def test_an_instant_is_held_while_the_guest_writes(world, backups):
    guest = Guest(world)
    guest.io("write -P 1 0 1M")
    first = new_id()
    backup = backups.begin(guest.id, first, {guest.volumes[0]: DiskToFreeze(first)})
    guest.io("write -P 2 512k 1M")
    assert (
        backups.begin(guest.id, first, {guest.volumes[0]: DiskToFreeze(first)}) == backup == backups.current(guest.id)
    )
    with pytest.raises(BackupBusyError):
        backups.begin(guest.id, new_id(), {guest.volumes[0]: DiskToFreeze(first)})
    export = backup.exports[guest.volumes[0]]
    assert export.bitmap == ""
    with NbdClient(backup.socket, export.name, contexts=(wire.ALLOCATION,)) as client:
        assert client.read(0, 2 * MIB) == b"\1" * MIB + bytes(MIB)
    backups.end(guest.id, new_id())
    assert backups.current(guest.id) == backup
    backups.end(guest.id, first)
    wait_for(lambda: backups.current(guest.id) is None, "the backup has ended")
    assert guest.jobs() == []
    assert list((world.root / "backups").iterdir()) == []
    second = new_id()
    backup = backups.begin(guest.id, second, {guest.volumes[0]: DiskToFreeze(second, first)})
    export = backup.exports[guest.volumes[0]]
    with NbdClient(backup.socket, export.name, contexts=(export.bitmap,)) as client:
        dirty = [each[:2] for each in client.status(0, SIZE)[export.bitmap] if each.flags & wire.IS_DIRTY]
        assert dirty == [(512 * 1024, MIB)]
    backups.forget(guest.id, guest.volumes[0], keep=second)
    assert guest.checkpoints() == [second]
    backups.end(guest.id, second)


def test_a_backup_whose_files_are_gone_is_ended_and_the_next_snapshot_taken(world, backups, snapshots, fake):
    """libvirt shows a backup for some moments after its end, when its name is no longer known."""
    guest = Guest(world)
    guest.io("write -P 1 0 1M")
    first, second = new_id(), new_id()
    backups.begin(guest.id, first, {guest.volumes[0]: DiskToFreeze(first)})
    remove_private(world.root / "backups" / guest.id)
    current = backups.current(guest.id)
    assert (current is not None, current and current.name) == (True, "")
    guest.io("write -P 2 2M 1M")
    taken(snapshots, guest.group((second, "")))
    assert fake.content(second, SIZE) == pattern((0, MIB, 1), (2 * MIB, MIB, 2))
    assert backups.current(guest.id) is None


def test_a_backup_that_ends_by_itself_meanwhile_is_ended(world, backups, monkeypatch):
    guest = Guest(world)
    first = new_id()
    seen = backups.begin(guest.id, first, {guest.volumes[0]: DiskToFreeze(first)})
    backups.end(guest.id, first)
    wait_for(lambda: backups.current(guest.id) is None, "the backup has ended")
    monkeypatch.setattr(backups, "_current", lambda *_: seen)
    backups.end(guest.id, first)


def test_overwritten_blocks_of_an_encrypted_disk_stay_encrypted(world, snapshots, backups, fake):
    """The guest's canary is in no scratch file, no block of the store, and libvirt keeps no key."""
    key, word = secrets.token_bytes(32), b"\x5a" * 4096
    guest = Guest(world, encryption_key=key)
    volume, first, second = guest.volumes[0], new_id(), new_id()
    guest.io("write -P 0x5a 0 1M")
    backup = backups.begin(guest.id, first, {volume: DiskToFreeze(first, hidden=True)})
    guest.io("write -P 0x5a 2M 1M")
    guest.io("write -P 0x11 0 1M")  # over what is frozen
    (scratch,) = (world.root / "backups" / guest.id).glob("*.scratch")
    assert scratch.stat().st_blocks * 512 >= MIB
    assert scratch.stat().st_mode & 0o777 == 0o600
    for path in (scratch, guest.spec.disks[0].source.path):
        assert word not in path.read_bytes()
    with NbdClient(backup.socket, volume, contexts=(wire.ALLOCATION,)) as client:
        assert client.read(0, 3 * MIB) == b"\x5a" * MIB + bytes(2 * MIB)
    with world.machines.domain(guest.id) as domain:
        assert domain.connect().listAllSecrets() == []
    backups.end(guest.id, first)

    def group(snapshot_id, parent_id=""):
        spec = SnapshotSpec(snapshot_id, volume, parent_id, encryption_key=key)
        return SnapshotGroup(snapshot_id, (spec,), guest.id)

    taken(snapshots, group(first))
    count = len(fake.received)
    guest.io("write -P 0x5a 8M 512k")
    assert taken(snapshots, group(second, first))[second].incremental
    assert len(fake.received) == count + 1
    assert not any(word in block.content for block in fake.blocks.values())
    cipher = BlockCipher(key)
    stored = fake.content(second, SIZE)
    blocks = (stored[start : start + BLOCK_BYTES] for start in range(0, SIZE, BLOCK_BYTES))
    opened = b"".join(cipher.decrypt(at, block) if any(block) else block for at, block in enumerate(blocks))
    assert opened == pattern((0, MIB, 0x11), (2 * MIB, MIB, 0x5A), (8 * MIB, BLOCK_BYTES, 0x5A))


def test_a_guest_that_is_off_has_no_backup(world, backups):
    guest = Guest(world)
    with pytest.raises(NotPluggedError):
        backups.begin(guest.id, "snap-1", {"vol-0123456789abcdef0": ("snap-1", "")})
    world.machines.stop(guest.id, force=True)
    with pytest.raises(NotPluggedError):
        backups.begin(guest.id, "snap-1", {guest.volumes[0]: ("snap-1", "")})
    assert backups.current(guest.id) is None
    backups.end(guest.id, "snap-1")


def test_the_second_snapshot_reads_only_what_changed(world, snapshots, fake):
    guest = Guest(world)
    guest.io("write -P 1 0 8M")
    first, second, third = new_id(), new_id(), new_id()
    done = taken(snapshots, guest.group((first, "")))[first]
    assert (done.incremental, done.blocks) == (False, 16)
    guest.io("write -P 2 3M 4k")
    guest.io("write -z 5M 512k")
    fake.received.clear()
    done = taken(snapshots, guest.group((second, first)))[second]
    assert (done.incremental, done.blocks) == (True, 1)
    assert len(fake.received) == 1
    assert fake.content(second, SIZE) == pattern((0, 8 * MIB, 1), (3 * MIB, 4096, 2), (5 * MIB, BLOCK_BYTES, 0))
    assert fake.content(first, SIZE) == pattern((0, 8 * MIB, 1))
    wait_for(lambda: guest.checkpoints() == [second], "the first checkpoint is forgotten")
    world.machines.stop(guest.id, force=True)
    guest.start()
    guest.io("write -P 3 20M 512k")
    done = taken(snapshots, guest.group((third, second)))[third]
    assert (done.incremental, done.blocks) == (True, 1)
    assert fake.content(third, SIZE)[20 * MIB :] == pattern((20 * MIB, BLOCK_BYTES, 3))[20 * MIB :]
    for each in (first, second, third):
        snapshots.remove(each)
    assert snapshots.present() == frozenset()


def test_all_disks_of_a_set_are_of_one_instant(world, snapshots, fake):
    guest = Guest(world, disks=2)
    guest.io("write -P 1 0 1M", 0)
    guest.io("write -P 2 0 1M", 1)
    one, two = new_id(), new_id()
    done = taken(snapshots, guest.group((one, ""), (two, ""), name="set-1"))
    assert done[one].taken_at == done[two].taken_at
    assert fake.content(one, SIZE) == pattern((0, MIB, 1))
    assert fake.content(two, SIZE) == pattern((0, MIB, 2))
    guest.io("write -P 3 1M 512k", 1)
    after = new_id()
    spec = SnapshotSpec(after, guest.volumes[1], two)
    found = taken(snapshots, SnapshotGroup(after, (spec,), guest.id))[after]
    assert (found.incremental, found.blocks) == (True, 1)


def test_a_killed_qemu_means_a_full_read(world, snapshots, fake):
    guest = Guest(world)
    guest.io("write -P 1 0 2M")
    first, second = new_id(), new_id()
    taken(snapshots, guest.group((first, "")))
    wait_for(lambda: guest.jobs() == [], "the backup has ended")
    guest.io("write -P 2 1M 512k")
    guest.io("flush")
    os.kill(world.process_of(guest.id), signal.SIGKILL)
    world.wait_for_power(guest.id, Power.OFF)
    guest.start()
    done = taken(snapshots, guest.group((second, first)))[second]
    assert (done.incremental, done.blocks) == (False, 4)
    assert fake.content(second, SIZE) == pattern((0, 2 * MIB, 1), (MIB, BLOCK_BYTES, 2))


def test_a_new_agent_goes_on_with_the_backup(world, store, snapshots, backups, fake):
    guest = Guest(world)
    guest.io("write -P 1 0 2M")
    fake.break_after_received = 0
    name = new_id()
    with pytest.raises(SnapshotError, match="on purpose"):
        taken(snapshots, guest.group((name, "")))
    guest.io("write -P 2 0 2M")
    later = LocalSnapshots(world.root / "state", world.root / "run", store, backups)
    done = taken(later, guest.group((name, "")))[name]
    assert fake.content(name, SIZE) == pattern((0, 2 * MIB, 1))
    assert done.blocks == 4
    later.close()


def test_a_guest_that_ends_meanwhile_is_taken_when_it_is_quiet(world, snapshots, backups, fake):
    guest = Guest(world)
    guest.io("write -P 1 0 2M")
    fake.break_after_received = 0
    name = new_id()
    with pytest.raises(SnapshotError, match="on purpose"):
        taken(snapshots, guest.group((name, "")))
    guest.io("write -P 2 1M 1M")
    world.machines.stop(guest.id, force=True)
    taken(snapshots, guest.quiet(name))
    assert fake.content(name, SIZE) == pattern((0, MIB, 1), (MIB, MIB, 2))
    wait_for(lambda: list((world.root / "backups").iterdir()) == [], "nothing is left of the backup")
    assert not list((world.root / "disks").glob("*.scratch"))


def test_a_snapshot_that_is_no_longer_desired_ends(world, snapshots, backups, fake):
    guest = Guest(world)
    guest.io("write -P 1 0 2M")
    fake.break_after_received = 0
    name = new_id()
    with pytest.raises(SnapshotError, match="on purpose"):
        taken(snapshots, guest.group((name, "")))
    assert backups.current(guest.id) is not None
    snapshots.remove(name)
    wait_for(lambda: guest.jobs() == [], "the backup has ended")
    assert list((world.root / "backups").iterdir()) == []
    assert snapshots.present() == frozenset()
