"""Disks of a running guest, as the guest sees them: plugged in, limited, grown and pulled out."""

import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.disks.bases.interface import BaseSpec
from stead_agent.disks.bases.local_bases import LocalBases
from stead_agent.disks.disk_backups import DiskToFreeze
from stead_agent.disks.disk_sources import FileSource
from stead_agent.disks.snapshots.interface import SnapshotGroup, SnapshotSpec
from stead_agent.disks.snapshots.local_snapshots import LocalSnapshots
from stead_agent.machines import lost_backups
from stead_agent.machines.backups import LibvirtBackups
from stead_agent.machines.interface import Power
from stead_agent.machines.monitor import execute
from stead_agent.programs.run import run
from stead_proto.nbd.client import NbdClient
from tests.host.machines.conftest import World, wait_for

pytestmark = pytest.mark.guest
MIB = 1 << 20
RECORD = 4096
# Each record is written whole and is on the disk before the next one begins: what an instant holds is a beginning. It
# rests between two: a guest that writes as fast as it can would have a processor of the host alone.
WRITER = (
    "i=0; while [ ! -e /tmp/enough ]; do printf '%04095d\\n' $i | "
    "dd of={disk} bs=4096 seek=$i conv=notrunc,fsync; i=$((i+1)); usleep 20000; done; rm /tmp/enough"
)


@pytest.fixture
def host_address(one_world: World) -> Iterator[str]:
    """An address of the host in the guests' bridge."""
    change = ("192.0.2.1/24", "dev", one_world.bridge)
    run(["ip", "address", "add", *change], timeout=60)
    yield "192.0.2.1"
    run(["ip", "address", "delete", *change], timeout=60)


def test_a_tap_that_was_deleted_is_made_anew_under_a_running_guest(guest, host_address):
    """The guest has its nic as before, and QEMU, which would end at the next use of what is gone, does not."""
    machines, machine_id, (nic,) = guest.world.machines, guest.spec.id, guest.spec.nics
    process = guest.world.process_of(machine_id)
    link = Path(guest.shell.run(f"grep -l {nic.mac_address} /sys/class/net/*/address").strip()).parent.name
    answers = f"until ping -c 1 -W 1 {host_address}; do :; done"  # the first packets through a new link may be lost
    ready = f"ip address add 192.0.2.2/24 dev {link}; ip link set {link} up; {answers}"
    guest.shell.run(ready, 30)
    made = json.loads(run(["ip", "-j", "-d", "link", "show", nic.tap], timeout=60).stdout)[0]
    assert machines.status(machine_id).dead_nics == frozenset()

    run(["ip", "link", "delete", nic.tap], timeout=60)
    assert machines.status(machine_id).dead_nics == {nic.mac_address}
    assert machines.update(guest.spec) == frozenset()
    assert machines.status(machine_id).dead_nics == frozenset()
    for change in (("master", nic.bridge), ("mtu", str(nic.mtu)), ("up",)):  # as the network does
        run(["ip", "link", "set", nic.tap, *change], timeout=60)
    anew = json.loads(run(["ip", "-j", "-d", "link", "show", nic.tap], timeout=60).stdout)[0]
    assert (anew["address"], anew["linkinfo"]["info_data"]) == (made["address"], made["linkinfo"]["info_data"])
    guest.shell.run(answers, 30)
    device = guest.shell.run(f"basename $(readlink /sys/class/net/{link}/device)").strip()
    drivers = "/sys/bus/virtio/drivers/virtio_net"
    guest.shell.run(f"echo {device} >{drivers}/unbind; echo {device} >{drivers}/bind")
    guest.shell.run(ready, 30)
    assert guest.world.process_of(machine_id) == process


def test_a_guest_whose_disk_is_full_waits_and_loses_nothing(small, guest):
    filler = small / "filler"
    disk = replace(guest.world.disk(), source=FileSource(small / "disk.qcow2"))
    run(["qemu-img", "create", "-q", "-f", "qcow2", disk.source.path, "64M"], timeout=60)
    guest.has((disk,))
    space = os.statvfs(small)
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - MIB))
    path = guest.path(disk)
    # A long line: of short ones an emulated guest writes less than 1 MiB in a second.
    words = f"yes {' '.join(['all-of-it'] * 50)} | head -c {3 * MIB}"
    guest.shell.run(
        f"({words} | dd of={path} bs=64k iflag=fullblock oflag=direct; echo $? >/tmp/done) >/dev/null 2>&1 & true"
    )

    def waits():
        status = guest.world.machines.status(guest.spec.id)
        return status.power is Power.PAUSED and status.full == {disk.id}

    wait_for(waits, "the guest waits for room", 60)
    guest.world.machines.resume(guest.spec.id)
    wait_for(waits, "it waits again, since there is no more room", 20)
    filler.unlink()
    guest.world.machines.resume(guest.spec.id)
    guest.shell.run(
        "for n in $(seq 300); do [ -s /tmp/done ] && break; usleep 100000; done; [ $(cat /tmp/done) = 0 ]", 60
    )
    assert guest.world.machines.status(guest.spec.id).full == frozenset()
    there = guest.shell.run(f"dd if={path} bs=1M count=3 iflag=direct 2>/dev/null | sha256sum", 60)
    assert there == guest.shell.run(f"{words} | sha256sum", 60)
    guest.has(())
    run(["qemu-img", "check", "-q", "-f", "qcow2", disk.source.path], timeout=60)


def test_what_an_instant_holds_is_a_beginning_of_what_was_written(guest, store, fake, tmp_path):
    """The guest writes on while snapshots are taken: each is what the disk held at one instant, and is restored so."""
    world, disk = guest.world, guest.world.disk()
    guest.has((disk,))
    snapshots = LocalSnapshots(
        world.root / "state", world.root / "run", store, LibvirtBackups(world.machines, world.root / "backups")
    )
    guest.shell.run(f"({WRITER.replace('{disk}', guest.path(disk))}) >/dev/null 2>&1 & true")
    parent, reached = "", 0
    bases = LocalBases(tmp_path / "disks", store)
    for _ in range(2):
        # The disk's file grows with the records.
        wait_for(
            lambda least=(reached + 64) * RECORD: disk.source.path.stat().st_blocks * 512 > least, "it writes on", 60
        )
        snapshot_id = f"snap-0{secrets.token_hex(8)}"
        group = SnapshotGroup(snapshot_id, (SnapshotSpec(snapshot_id, disk.id, parent),), guest.spec.id)
        done = taken(snapshots, group)
        bases.ensure(BaseSpec(snapshot_id, 64 * MIB, 32 * MIB))
        restored = bases.source(snapshot_id).source.path.read_bytes()
        count = records(restored)
        assert count > reached, "the later snapshot has what was written since"
        assert restored == fake.content(snapshot_id, 64 * MIB)
        assert done.incremental == bool(parent)
        parent, reached = snapshot_id, count
    guest.shell.run("touch /tmp/enough; while [ -e /tmp/enough ]; do usleep 100000; done", 60)
    snapshots.close()


def taken(snapshots, group):
    """Wait until a snapshot is complete."""
    found = {}

    def complete():
        found.update(snapshots.ensure(group))
        return all(each.complete for each in found.values())

    wait_for(complete, "the snapshot is complete", 60)
    return found[group.name]


def records(content):
    """Count the records; after the first that is not whole, which the instant may have cut, there is nothing."""
    count = 0
    while re.fullmatch(rb"0*%d\n" % count, content[count * RECORD : (count + 1) * RECORD]):
        count += 1
    rest = content[(count + 1) * RECORD :]
    assert not rest.strip(b"\0"), f"after record {count} comes more"
    return count


def test_the_life_of_a_disk_in_a_running_guest(guest):
    first, second = guest.world.disk(), guest.world.disk()
    guest.has((first, second))
    paths = [guest.path(disk) for disk in (first, second)]
    assert guest.shell.run(f"readlink -f {paths[0]}") != guest.shell.run(f"readlink -f {paths[1]}")
    assert guest.shell.run(f"blockdev --getsize64 {paths[0]}") == str(64 * MIB)
    guest.shell.run(f"mkdir -p /mnt; mkfs.ext4 -q {paths[0]}; mount {paths[0]} /mnt; seq 20000 >/mnt/numbers; sync")

    guest.world.machines.resize_disk(guest.spec.id, first.id, 128 * MIB)
    guest.shell.run(f"resize2fs {paths[0]}")
    assert int(guest.shell.run("df -k /mnt | tail -1 | tr -s ' ' | cut -d' ' -f2")) > 100 * 1024

    # A guest that has a disk mounted releases it all the same; what was synced is there when it comes back.
    guest.has((second,))
    guest.shell.run(
        f"umount /mnt; for n in $(seq 600); do [ -e {paths[0]} ] || break; usleep 100000; done; ! [ -e {paths[0]} ]",
        120,
    )
    guest.has((second, first))
    guest.shell.run(f"mount {guest.path(first)} /mnt")
    assert guest.shell.run("tail -1 /mnt/numbers") == "20000"
    assert guest.shell.run("wc -l </mnt/numbers") == "20000"
    guest.shell.run("umount /mnt")


def test_a_disk_that_is_released_while_it_is_backed_up_can_be_had_again(guest):
    """Libvirt forgets the backup's job in QEMU then, which would hold the disk until the guest ends."""
    world, disk, name = guest.world, guest.world.disk(), f"snap-0{secrets.token_hex(8)}"
    backups = LibvirtBackups(world.machines, world.root / "backups")
    guest.has((disk,))
    guest.path(disk)
    with world.machines.domain(guest.spec.id) as domain:
        domain.suspend()  # it is asked before the backup begins, and releases the disk after that
    guest.spec = replace(guest.spec, disks=guest.spec.disks[:1])
    assert world.machines.update(guest.spec) == {disk.id}
    begun = backups.begin(guest.spec.id, name, {disk.id: DiskToFreeze(name)})
    with world.machines.domain(guest.spec.id) as domain:
        domain.resume()
    wait_for(lambda: disk.id not in guest.plugged(), "the guest has released it", 30)
    with NbdClient(begun.socket, disk.id) as client:
        assert client.read(0, 4096) == bytes(4096), "it is read to its end all the same"
    backups.end(guest.spec.id, name)
    with world.machines.domain(guest.spec.id) as domain:
        assert execute(domain, "query-jobs") == []
        nodes = [each["node-name"] for each in execute(domain, "query-named-block-nodes", {"flat": True})]
        assert (
            lost_backups.unknown_nodes([{"node-name": each} for each in nodes], lost_backups.numbers(domain.XMLDesc(0)))
            == []
        )
    guest.has((disk,))
    guest.path(disk)
    again = f"snap-0{secrets.token_hex(8)}"
    assert backups.begin(guest.spec.id, again, {disk.id: DiskToFreeze(again)}).name == again
    backups.end(guest.spec.id, again)


def test_limits_are_changed_under_a_running_guest(guest):
    disk = guest.world.disk()
    guest.has((disk,))
    path = guest.path(disk)
    read = f"read a b </proc/uptime; dd if={path} of=/dev/null bs=1M count=8 iflag=direct 2>/dev/null; read c b </proc/uptime; echo $a $c"

    def seconds():
        begun, ended = guest.shell.run(read, 60).split()
        return float(ended) - float(begun)

    guest.has((replace(disk, throughput=2 * MIB),))
    seconds()  # what was saved up is spent
    assert seconds() > 2.5
    guest.has((replace(disk, iops=8),))  # operations of 256 KiB at most: 32 of them
    seconds()
    assert seconds() > 2.5
    guest.has((disk,))
    wait_for(lambda: seconds() < 2.0, "it reads without limits, in a moment when the machine has time for it", 60)


def test_as_many_disks_as_ec2_allows(guest):
    disks = tuple(guest.world.disk() for _ in range(28 - len(guest.spec.nics) - 1))
    guest.has(disks)
    last = guest.path(disks[-1])
    guest.shell.run(f"echo here >{last}; sync")
    assert guest.shell.run("ls /sys/class/block | grep -c '^vd[a-z]*$'") == str(len(disks) + 1)
    guest.has(disks[:1])
