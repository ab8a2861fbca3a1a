"""Volumes in a real guest: attached while it runs, grown while mounted, a root volume replaced.

`test_images.py` has one that is read by another guest.
"""

from typing import Any

from tests.support.clients import FAST
from tests.support.real_cloud import HEARS_THE_POWER_BUTTON, User
from tests.support.waiting import wait_for

GIB = 1 << 30


def test_a_volume_grows_under_a_guest(guest_owner: User, guest: str) -> None:
    """The shared guest has no volume more than before in the end."""
    user, writer = guest_owner, guest
    zone = user.describe(writer)["Placement"]["AvailabilityZone"]
    volume_id = user.ec2.create_volume(AvailabilityZone=zone, Size=1, VolumeType="gp3")["VolumeId"]
    user.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    path = f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')}"

    user.ec2.attach_volume(VolumeId=volume_id, InstanceId=writer, Device="/dev/sdf")
    one = user.connect(writer)
    one.run(f"until [ -b {path} ]; do usleep 100000; done")
    known = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"
    one.run(f"until [ -b {known} ] && [ -b /dev/sdf ]; do usleep 100000; done")
    assert len(set(one.run(f"for n in {path} {known} /dev/sdf; do readlink -f $n; done").split())) == 1
    root = user.describe(writer)["RootDeviceName"]
    assert one.run(f"readlink -f {root}") == one.run("readlink -f /dev/vda")
    one.run(f"sudo mkfs.ext4 -q {path}; sudo mount {path} /mnt; seq 50000 | sudo tee /mnt/numbers >/dev/null; sync")
    assert one.run("imds get meta-data/block-device-mapping").split() == ["ami", "root"]  # as at its start

    user.ec2.modify_volume(VolumeId=volume_id, Size=2)
    wait_for(lambda: int(one.run(f"sudo blockdev --getsize64 {path}")) == 2 * GIB, "the guest sees it grown", 30)
    one.run(f"sudo resize2fs {path}")
    assert int(one.run("df -k /mnt | tail -1 | tr -s ' ' | cut -d' ' -f2")) > 1_500_000
    one.run(f"sudo umount /mnt; sudo mount -o ro {path} /mnt")
    assert one.run("md5sum </mnt/numbers") == one.run("seq 50000 | md5sum")

    one.run("sudo umount /mnt")
    user.ec2.detach_volume(VolumeId=volume_id)
    user.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    one.run(f"until ! [ -e {path} ] && ! [ -L {known} ] && ! [ -L /dev/sdf ]; do usleep 100000; done")
    volume = user.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
    assert (volume["State"], volume["Size"], volume["Attachments"]) == ("available", 2, [])
    user.ec2.delete_volume(VolumeId=volume_id)


def test_a_guest_boots_again_from_an_earlier_state_of_its_root_volume(guest_owner: User, guest: str) -> None:
    """The shared guest is in the end as it was, but for one more boot and a file."""
    user = guest_owner
    before = user.describe(guest)
    old = before["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    login = user.connect(guest)
    login.run("echo before >/var/tmp/before; sync")
    snapshot_id = user.ec2.create_snapshot(VolumeId=old)["SnapshotId"]
    user.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=FAST)
    login.run("echo later >/var/tmp/later; sync")
    login.run(HEARS_THE_POWER_BUTTON, timeout=60)
    begun = user.ec2.create_replace_root_volume_task(
        InstanceId=guest, SnapshotId=snapshot_id, DeleteReplacedRootVolume=True
    )["ReplaceRootVolumeTask"]

    def state() -> str:
        assert user.describe(guest)["State"]["Name"] == "running"
        ids = [begun["ReplaceRootVolumeTaskId"]]
        (task,) = user.ec2.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=ids)["ReplaceRootVolumeTasks"]
        return task["TaskState"]

    wait_for(lambda: state() not in ("pending", "in-progress"), "the root volume is replaced", 60, poll=0.5)
    assert state() == "succeeded"
    login = user.connect(guest)
    assert login.run("cat /var/tmp/before; ls /var/tmp/later 2>/dev/null || echo gone").split() == ["before", "gone"]
    after = user.describe(guest)
    assert after["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] != old
    for name in ("PrivateIpAddress", "PublicIpAddress", "LaunchTime", "ImageId"):
        assert after[name] == before[name]
    user.ec2.delete_snapshot(SnapshotId=snapshot_id)
    mine: Any = [{"Name": "volume-id", "Values": [old]}]
    wait_for(lambda: user.ec2.describe_volumes(Filters=mine)["Volumes"] == [], "the replaced volume is deleted", 30)
