"""Volumes in real guests of one host: attached while they run, grown while mounted, and what was written stays."""

from tests.support.clients import FAST
from tests.support.real_cloud import User
from tests.support.waiting import wait_for

GIB = 1 << 30


def test_a_volume_grows_under_one_guest_and_is_read_by_another(guest_owner: User, guest: str) -> None:
    """The shared guest writes, and has no volume more than before in the end."""
    user, writer = guest_owner, guest
    [reader] = user.run(wait=False)
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
    assert one.run("tail -1 /mnt/numbers").strip() == "50000"

    one.run("sudo umount /mnt")
    user.ec2.detach_volume(VolumeId=volume_id)
    user.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    one.run(f"until ! [ -e {path} ] && ! [ -L {known} ] && ! [ -L /dev/sdf ]; do usleep 100000; done")
    user.wait("instance_running", [reader])
    user.ec2.attach_volume(VolumeId=volume_id, InstanceId=reader, Device="/dev/sdg")
    other = user.connect(reader)
    other.run(f"until [ -b {path} ]; do usleep 100000; done")
    other.run(f"sudo mount -o ro {path} /mnt")
    assert other.run("md5sum </mnt/numbers") == other.run("seq 50000 | md5sum")

    user.terminate([reader])
    volume = user.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
    assert (volume["State"], volume["Size"], volume["Attachments"]) == ("available", 2, [])
    user.ec2.delete_volume(VolumeId=volume_id)
