"""A real guest writes on while snapshots are taken: each is what the disk held at one instant, and is restored so."""

import re
import secrets
from functools import partial

import pytest

from stead_agent.disks.bases.interface import BaseSpec
from stead_agent.disks.bases.local_bases import LocalBases
from stead_agent.disks.snapshots.interface import SnapshotGroup, SnapshotSpec
from stead_agent.disks.snapshots.local_snapshots import LocalSnapshots
from stead_agent.machines.backups import LibvirtBackups
from tests.host.machines.conftest import wait_for
from tests.support import micro
from tests.support.serial_shell import SerialShell, with_shell

SIZE = 64 << 20
RECORD = 4096
# Each record is written whole and is on the disk before the next one begins: what an instant holds is a beginning.
WRITER = (
    "i=0; while [ $i -lt 16000 ]; do printf '%04095d\\n' $i | "
    "dd of=/dev/vdb bs=4096 seek=$i conv=notrunc,fsync 2>/dev/null; i=$((i+1)); done &"
)


@pytest.mark.guest
def test_what_an_instant_holds_is_a_beginning_of_what_was_written(world, store, fake, tmp_path):
    image = with_shell(micro.build(), world.root / "disks" / "shell.raw")
    image.chmod(0o444)
    root = world.disk(base=image, base_format="raw")
    spec = world.spec(disks=(root, world.disk()))
    shell = world.boot(spec, lambda: SerialShell(world.machines, spec.id, partial(world.check, spec.id)))
    snapshots = LocalSnapshots(
        world.root / "state", world.root / "run", store, LibvirtBackups(world.machines, world.root / "backups")
    )
    shell.begin(WRITER)
    volume_id, parent, reached = spec.disks[1].id, "", 0
    bases = LocalBases(tmp_path / "disks", store)
    for _ in range(2):
        wait_for(partial(_has_written, spec, reached), "the guest writes on", 60)
        snapshot_id = f"snap-0{secrets.token_hex(8)}"
        group = SnapshotGroup(snapshot_id, (SnapshotSpec(snapshot_id, volume_id, parent),), spec.id)
        done = _taken(snapshots, group)
        bases.ensure(BaseSpec(snapshot_id, SIZE, SIZE // 2))
        restored = bases.source(snapshot_id).source.path.read_bytes()
        count = _records(restored)
        assert count > reached, "the later snapshot has what was written since"
        assert restored == fake.content(snapshot_id, SIZE)
        assert done.incremental == bool(parent)
        parent, reached = snapshot_id, count
    shell.close()
    snapshots.close()


def _has_written(spec, reached):
    """Tell by the size of the disk's file whether the guest has written some more records."""
    return spec.disks[1].source.path.stat().st_blocks * 512 > (reached + 64) * RECORD


def _taken(snapshots, group):
    found = {}

    def complete():
        found.update(snapshots.ensure(group))
        return all(each.complete for each in found.values())

    wait_for(complete, "the snapshot is complete", 60)
    return found[group.name]


def _records(disk):
    """Count the records; after the first that is not whole, which the instant may have cut, there is nothing."""
    count = 0
    while re.fullmatch(rb"0*%d\n" % count, disk[count * RECORD : (count + 1) * RECORD]):
        count += 1
    rest = disk[(count + 1) * RECORD :]
    assert not rest.strip(b"\0"), f"after record {count} comes more"
    return count
