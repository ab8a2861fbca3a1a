"""Snapshots of disks that guests write to, and volumes of them for guests of other hosts: the bytes of one instant."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.rig import RigUser, TestRig
from tests.support.town import Inhabitant, default_vpc
from tests.support.waiting import wait_for

RECORD = 4096
# Each record is on the disk before the next one begins, so what an instant holds is a beginning of them.
WRITER = (
    'sudo sh -c \'i=0; while [ $i -lt 100000 ]; do printf "%04095d\\n" $i |'
    " dd of={disk} bs=4096 seek=$((i + 16384)) conv=notrunc,fsync 2>/dev/null; i=$((i+1)); done' >/dev/null 2>&1 &"
)


@dataclass
class Street:
    """A guest on each of two hosts."""

    rig: TestRig
    user: RigUser
    west: Inhabitant
    east: Inhabitant

    def volume(self, guest: Inhabitant, snapshot_id: str = "") -> str:
        """A new volume, of a snapshot or blank, attached to a guest that sees it."""
        zone = self.user.describe(guest.id)["Placement"]["AvailabilityZone"]
        if snapshot_id:
            made = self.user.ec2.create_volume(AvailabilityZone=zone, SnapshotId=snapshot_id)["VolumeId"]
        else:
            made = self.user.ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
        self.user.ec2.attach_volume(VolumeId=made, InstanceId=guest.id, Device=f"/dev/sd{'g' if snapshot_id else 'f'}")
        wait_for(lambda: guest.tries(f"test -b {disk(made)}"), f"{guest.id} sees {made}", 90, poll=0.5)
        return made

    def snapshot(self, volume_id: str) -> str:
        """A snapshot that is being taken."""
        return self.user.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]

    def complete(self, snapshot_id: str) -> None:
        """Wait until a snapshot is complete."""
        wait_for(lambda: self.told(snapshot_id) == ("completed", "100%"), f"{snapshot_id} is completed", 120, poll=0.5)

    def told(self, snapshot_id: str) -> tuple[str, str]:
        found = self.user.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
        return found["State"], found["Progress"]

    def drop(self, volume_id: str) -> None:
        """Detach a volume and delete it."""
        self.user.ec2.detach_volume(VolumeId=volume_id)
        wait_for(lambda: self.state(volume_id) == "available", f"{volume_id} is available", 60, poll=0.5)
        self.user.ec2.delete_volume(VolumeId=volume_id)

    def state(self, volume_id: str) -> str:
        return self.user.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"]


@pytest.fixture(scope="module")
def street(session_rig: TestRig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Two guests on two hosts, booted."""
    user = RigUser(session_rig, session_rig.new_account(), tmp_path_factory.mktemp("snapshots"), rig=session_rig)
    try:
        one, two, _ = session_rig.hosts
        vpc, subnet = default_vpc(user)
        west, east = vpc.launch(one, subnet, "172.31.0.10"), vpc.launch(two, subnet, "172.31.0.11")
        yield Street(session_rig, user, west.booted(), east.booted())
    finally:
        user.terminate_all()
        for volume in user.ec2.describe_volumes()["Volumes"]:
            if volume["State"] == "available":
                user.ec2.delete_volume(VolumeId=volume["VolumeId"])
        for snapshot in user.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
            user.ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])


def disk(volume_id: str) -> str:
    return f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')}"


def total(guest: Inhabitant, volume_id: str) -> str:
    """The sum of the first 8 MiB of a disk."""
    return guest.run(f"sudo dd if={disk(volume_id)} bs=1M count=8 iflag=fullblock 2>/dev/null | sha256sum", 120)


def records(guest: Inhabitant, volume_id: str) -> list[str]:
    """The numbers that the writer wrote to a disk, in the order in which they are there."""
    said = guest.run(
        f"sudo dd if={disk(volume_id)} bs=1M skip=64 count=16 2>/dev/null | tr -d '\\0' | cut -c4080-", 120
    )
    return re.findall(r"0*([0-9]+)\n", said + "\n")


def test_a_disk_that_is_written_to_is_the_same_on_another_host_as_at_the_instant(street: Street) -> None:
    written = street.volume(street.west)
    street.west.run(
        f"dd if=/dev/urandom of=/tmp/words bs=1M count=8 2>/dev/null; sudo dd if=/tmp/words of={disk(written)} bs=1M"
        " conv=fsync 2>/dev/null; rm /tmp/words",
        120,
    )
    before = total(street.west, written)
    street.west.run(WRITER.replace("{disk}", disk(written)))
    wait_for(lambda: len(records(street.west, written)) > 20, "the guest writes", 60, poll=0.5)
    first = street.snapshot(written)
    assert street.told(first)[0] == "pending"
    # What is written from here on is in no first snapshot; the second one reads only that.
    street.complete(first)
    second = street.snapshot(written)
    street.complete(second)
    counts = []
    for snapshot_id in (first, second):
        restored = street.volume(street.east, snapshot_id)
        assert total(street.east, restored) == before
        found = records(street.east, restored)
        assert found == [str(number) for number in range(len(found))], "no record is missing and none is torn"
        counts.append(len(found))
        street.east.run(f"echo mine | sudo dd of={disk(restored)} conv=notrunc,fsync 2>/dev/null")
        assert total(street.east, restored) != before
        street.drop(restored)
    assert 20 < counts[0] < counts[1] < len(records(street.west, written)) + 1
    street.west.run("sudo pkill -f of=/dev/disk || true")
    street.drop(written)
