"""Images of a running guest: its files are there in the next one, which is interrupted at last; and forged files are refused unread."""

import filecmp
import json
from datetime import datetime
from pathlib import Path

import pytest

from stead_cli import ssh
from tests.support import crafted_images
from tests.support.real_cloud import HEARS_THE_POWER_BUTTON, RealCloud, User
from tests.support.waiting import wait_for

DATA_DISK = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False}}]
# The data disk is the one that is larger than nothing and not the root's; it has no file system.
DATA_DEVICE = "/dev/vdb"
# What no two machines may have in common, a line each: host key, address, name, what is random.
OF_ONE_MACHINE = """
sudo dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep ^ssh- | cut -d' ' -f2
cat /sys/class/net/*/address | grep -v ^00:00:00:00:00:00
hostname
od -An -N16 -tx1 /dev/urandom
"""


def test_an_image_of_a_running_guest_has_its_files(guest_owner: User, guest: str, real_cloud: RealCloud) -> None:
    """The guest of the image is a Spot Instance, which reads of its end.

    The shared guest is in the end as it was, but for one more boot.
    """
    user, before = guest_owner, {volume["VolumeId"] for volume in _volumes(guest_owner)}
    data_id = _is_kept_when_its_instance_ends(user)
    _attach(user, guest, data_id, "/dev/sdf")
    login = user.connect(guest)
    login.run("echo 'kept by the image' >/var/tmp/kept-by-the-image")
    its_own = login.run(OF_ONE_MACHINE).splitlines()
    login.run(f"until [ -b {DATA_DEVICE} ]; do usleep 100000; done")
    login.run(f"echo 'on the data disk' | sudo dd of={DATA_DEVICE} bs=512 conv=sync,fsync 2>/dev/null")
    # No sync of the root's file: the reboot that comes first writes it down.
    login.run(HEARS_THE_POWER_BUTTON, timeout=60)
    image_id = user.ec2.create_image(InstanceId=guest, Name="of a running guest")["ImageId"]
    assert _image(user, image_id)["State"] == "pending"
    wait_for(lambda: _image(user, image_id)["State"] != "pending", "the image is made", 180, poll=0.5)
    image = _image(user, image_id)
    assert image["State"] == "available", image.get("StateReason")
    assert [device["DeviceName"] for device in image["BlockDeviceMappings"]] == ["/dev/sda1", "/dev/sdf"]

    (copy,) = user.run(ImageId=image_id, InstanceMarketOptions={"MarketType": "spot"})
    login = user.connect(copy)
    assert login.run("cat /var/tmp/kept-by-the-image").strip() == "kept by the image"
    of_the_copy = login.run(OF_ONE_MACHINE).splitlines()
    assert (len(its_own), len(of_the_copy)) == (4, 4), (its_own, of_the_copy)
    assert not set(its_own) & set(of_the_copy)
    assert login.run(f"sudo dd if={DATA_DEVICE} bs=16 count=1 2>/dev/null").strip() == "on the data disk"
    _leaves(user, guest, data_id)
    _reads_what_the_other_wrote(user, copy, login, data_id)
    _reads_of_its_end(real_cloud, copy, login)
    user.terminate([copy])

    def added() -> set[str]:
        return {volume["VolumeId"] for volume in _volumes(user)} - before

    wait_for(lambda: len(added()) == 2, "its root volume is deleted, and both data disks remain", 30)
    for volume_id in added():
        user.ec2.delete_volume(VolumeId=volume_id)
    results = user.ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"]
    assert [result["ReturnCode"] for result in results] == ["success", "success"]
    assert user.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    user.login(guest).run("rm /var/tmp/kept-by-the-image")


def _is_kept_when_its_instance_ends(user: User) -> str:
    """A data disk of an instance that ends, for which no guest is waited; gives it."""
    before = {volume["VolumeId"] for volume in _volumes(user)}
    (instance_id,) = user.run(BlockDeviceMappings=DATA_DISK)
    added = [volume for volume in _volumes(user) if volume["VolumeId"] not in before]
    assert len(added) == 2
    user.terminate([instance_id])

    # What it must delete is gone, what it must keep is there.
    def remaining() -> set[str]:
        return {volume["VolumeId"] for volume in _volumes(user)} - before

    wait_for(lambda: len(remaining()) == 1, "the root volume is deleted", 30)
    [volume_id] = remaining()
    (volume,) = _volumes(user, volume_id)
    assert (volume["State"], volume["Size"]) == ("available", 1)
    return volume_id


def _attach(user: User, instance_id: str, volume_id: str, device: str) -> None:
    user.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)


def _leaves(user: User, instance_id: str, volume_id: str) -> None:
    """Detach a volume from a guest when it has booted again: it must release it."""
    user.login(instance_id)
    user.ec2.detach_volume(VolumeId=volume_id)
    wait_for(lambda: _volumes(user, volume_id)[0]["State"] == "available", "the guest has released it", 60, poll=0.2)


def _reads_what_the_other_wrote(user: User, instance_id: str, login: ssh.Login, volume_id: str) -> None:
    """The source's own data disk goes to another guest of its host."""
    _attach(user, instance_id, volume_id, "/dev/sdg")
    path = f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')}"
    login.run(f"until [ -b {path} ]; do usleep 100000; done")
    assert login.run(f"sudo dd if={path} bs=16 count=1 2>/dev/null").strip() == "on the data disk"
    attached = _volumes(user, volume_id)[0]["Attachments"][0]
    assert (attached["InstanceId"], attached["DeleteOnTermination"]) == (instance_id, False)


def _reads_of_its_end(cloud: RealCloud, instance_id: str, login: ssh.Login) -> None:
    """The Spot Instance is interrupted: the guest reads then when it is to end."""
    action = "imds get meta-data/spot/instance-action"
    look = f"{action} >/dev/null && echo yes || echo no"
    assert login.run(f"imds get meta-data/instance-life-cycle; echo; {look}").split() == ["spot", "no"]
    said = cloud.stead_well("instance", "interrupt", instance_id)
    wait_for(lambda: login.run(look).strip() == "yes", "the guest reads of its end", poll=0.5)
    read = json.loads(login.run(action))
    end = datetime.fromisoformat(read["time"])
    assert (read["action"], f"{end:%Y-%m-%d %H:%M:%S} UTC" in said) == ("terminate", True)
    assert login.run("imds get meta-data/spot/termination-time").strip() == read["time"]


@pytest.mark.parametrize("name", ["qcow2-backing-absolute", "vmdk-flat", "raw-qcow2-header"])
def test_a_forged_file_is_refused_with_a_reason(real_cloud: RealCloud, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    canary.write_text("a secret of the host")
    crafted = next(one for one in crafted_images.corpus() if one.name == name)
    path = tmp_path / "image"
    crafted.make(path, canary)
    before = {image.id for image in real_cloud.operator.list_images()}
    done = real_cloud.stead("image", "import", str(path), "--name", "forged", "--format", crafted.image_format)
    assert done.returncode == 1
    assert crafted.refusal in done.stderr or "say its format" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert {image.id for image in real_cloud.operator.list_images()} == before


def test_an_image_goes_out_and_comes_in_again(real_cloud: RealCloud, tmp_path: Path) -> None:
    micro = next(image for image in real_cloud.operator.list_images() if image.name.startswith("stead-micro-"))
    path = tmp_path / "micro.vmdk"
    real_cloud.stead_well("image", "export", micro.id, str(path), "--format", "vmdk")
    said = real_cloud.stead_well("image", "import", str(path), "--name", "micro again", "--format", "vmdk", "--private")
    image_id = said.split()[0]
    first, second = (tmp_path / name for name in ("first.raw", "second.raw"))
    for found, raw in ((micro.id, first), (image_id, second)):
        real_cloud.stead_well("image", "export", found, str(raw), "--format", "raw")
    assert filecmp.cmp(first, second, shallow=False)
    assert first.stat().st_blocks * 512 < first.stat().st_size
    real_cloud.stead_well("image", "remove", image_id)
    refused = real_cloud.stead("image", "export", image_id, str(tmp_path / "gone.raw"))
    assert refused.returncode == 1
    assert not (tmp_path / "gone.raw").exists()


def _image(user: User, image_id: str):  # type: ignore[no-untyped-def]  # the type is as long as botocore's model
    (image,) = user.ec2.describe_images(ImageIds=[image_id])["Images"]
    return image


def _volumes(user: User, *ids: str):  # type: ignore[no-untyped-def]  # the type is as long as botocore's model
    return user.ec2.describe_volumes(VolumeIds=ids)["Volumes"]
