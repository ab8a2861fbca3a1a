"""Snapshots of disks that guests write to, and volumes of them for guests of other hosts: the bytes of one instant."""

import re

from tests.support.street import Street, disk
from tests.support.town import Inhabitant
from tests.support.waiting import wait_for

# Each record is on the disk before the next one begins, so what an instant holds is a beginning of them. It rests between
# them: a guest that writes as fast as it can would have a processor of the host alone.
WRITER = (
    'sudo sh -c \'i=0; while [ ! -e /tmp/enough ]; do printf "%04095d\\n" $i |'
    " dd of={disk} bs=4096 seek=$((i + 16384)) conv=notrunc,fsync 2>/dev/null; i=$((i+1)); usleep 50000; done; rm /tmp/enough' >/dev/null 2>&1 &"
)


PATIENCE = 120


def total(guest: Inhabitant, volume_id: str) -> str:
    """The sum of the first MiB of a disk, which is two blocks of a snapshot."""
    return guest.run(f"sudo dd if={disk(volume_id)} bs=1M count=1 iflag=fullblock 2>/dev/null | sha256sum", 120)


def records(guest: Inhabitant, volume_id: str, most: int = 8) -> list[str]:
    """The numbers that the writer wrote to its place on a disk, in the order in which they are there.

    It is read to the first MiB that has none, and no more of them than `most`.
    """
    found: list[str] = []
    for mib in range(64, 64 + most):
        reads = f"sudo dd if={disk(volume_id)} bs=64k skip={mib * 16} count=16 2>/dev/null"
        said = guest.run(f"{reads} | tr -d '\\0' | cut -c4080-", 120)
        if not (more := re.findall(r"0*([0-9]+)\n", said + "\n")):
            break
        found += more
    return found


def test_a_disk_that_is_written_to_is_the_same_on_another_host_as_at_the_instant(street: Street) -> None:
    written = street.at_west()
    street.west.run(
        f"dd if=/dev/urandom of=/tmp/words bs=1M count=1 2>/dev/null; sudo dd if=/tmp/words of={disk(written)} bs=1M"
        " conv=fsync 2>/dev/null; rm /tmp/words",
        120,
    )
    before = total(street.west, written)
    street.west.run(WRITER.replace("{disk}", disk(written)))
    wait_for(lambda: len(records(street.west, written, 1)) > 20, "the guest writes", 60, poll=0.5)
    first = street.user.ec2.create_snapshot(VolumeId=written)["SnapshotId"]
    assert not street.is_complete(first)
    # What is written from here on is in no first snapshot; the second one reads only that.
    street.complete(first)
    second = street.user.ec2.create_snapshot(VolumeId=written)["SnapshotId"]
    street.complete(second)
    counts = []
    for snapshot_id in (first, second):
        restored = street.at_east(snapshot_id)
        assert total(street.east, restored) == before
        found = records(street.east, restored)
        assert found == [str(number) for number in range(len(found))], "no record is missing and none is torn"
        counts.append(len(found))
        street.east.run(f"echo mine | sudo dd of={disk(restored)} conv=notrunc,fsync 2>/dev/null")
        assert total(street.east, restored) != before
        street.drop(restored)
    assert 20 < counts[0] < counts[1] < len(records(street.west, written)) + 1
    street.west.run("touch /tmp/enough")
    wait_for(lambda: street.west.tries("test ! -e /tmp/enough"), "the writer has ended", 30, poll=0.5)
    street.drop(written)


def test_a_disk_is_the_same_out_of_the_archive(street: Street) -> None:
    """Its snapshot is archived and restored, and a guest of another host gets a volume of it."""
    written = street.at_west()
    street.west.run(f"sudo dd if=/dev/urandom of={disk(written)} bs=1M count=1 conv=fsync 2>/dev/null", 120)
    before = total(street.west, written)
    snapshot_id = street.user.ec2.create_snapshot(VolumeId=written)["SnapshotId"]
    street.complete(snapshot_id)

    def tier() -> str:
        [found] = street.user.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        return str(found["StorageTier"])

    street.user.ec2.modify_snapshot_tier(SnapshotId=snapshot_id, StorageTier="archive")
    wait_for(lambda: tier() == "archive", "it is archived", PATIENCE)
    street.user.ec2.restore_snapshot_tier(SnapshotId=snapshot_id, PermanentRestore=True)
    wait_for(lambda: tier() == "standard", "it is restored", PATIENCE)
    restored = street.at_east(snapshot_id)
    assert total(street.east, restored) == before
    street.drop(restored)
    street.drop(written)
