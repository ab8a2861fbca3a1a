"""FAULTS 27: what a real guest writes to an encrypted volume is in no file in the open, and the key is nowhere it may not be.

Its snapshot, an image, hibernation; then the guest is stopped, and starts as a larger one at another public address.
"""

import gzip
import hashlib
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libvirt
import pytest

from stead_agent.disks.disk_sources import passphrase_of
from stead_cli import ssh
from stead_cli.ssh import Login
from stead_controller.resources.storage import volume_keys
from stead_controller.secrets.master_key import KeyFile, MasterKey
from tests.support.holes import parts_of
from tests.support.real_cloud import RealCloud, User, qemu_process_of, registers_of
from tests.support.waiting import wait_for

WORD = b"nobody shall read this sentence on the disk of the host; "
MIB = 1 << 20
LARGER = "t3.micro"  # 2 vCPUs and 1 GiB, of twice of what the guest has first


@pytest.fixture
def volume_id(user: User) -> Iterator[str]:
    zone = user.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    made = user.ec2.create_volume(AvailabilityZone=zone, Size=1, Encrypted=True)["VolumeId"]
    yield made
    user.ec2.delete_volume(VolumeId=made)


def key_of(cloud: RealCloud, volume_id: str) -> bytes:
    """The volume's key, as only who has the master key can know it."""
    folder = cloud.settings.controller_dir
    with closing(sqlite3.connect(f"file:{folder / 'stead.sqlite'}?mode=ro", uri=True)) as database:
        ((sealed,),) = database.execute("SELECT sealed_key FROM volumes WHERE id = ?", (volume_id,)).fetchall()
    return MasterKey(KeyFile(folder / "master.key")).sealer.open(sealed, volume_keys.CONTEXT)


def files_with(folder: Path, words: list[bytes]) -> list[str]:
    """The files below a folder that hold any of these words."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_blocks * 512 < 512 * MIB:
            parts = list(parts_of(path))
            found += [str(path) for word in words if any(word in part for part in parts)]
    return found


def arguments_with(words: list[bytes]) -> list[str]:
    """The processes that have any of these words in their arguments or environment."""
    found = []
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            try:
                content = path.read_bytes()
            except OSError:
                continue  # it has ended
            found += [str(path) for word in words if word in content]
    return found


def shown(user: User, volume_id: str) -> Any:
    return user.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]


def snapshot(user: User, snapshot_id: str) -> Any:
    return user.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]


def image(user: User, image_id: str) -> Any:
    return user.ec2.describe_images(ImageIds=[image_id])["Images"][0]


def attached(user: User, instance_id: str) -> list[str]:
    found = user.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
    return [volume["VolumeId"] for volume in found]


def libvirts_secrets() -> list[str]:
    connection = libvirt.open(None)
    try:
        return [secret.UUIDString() for secret in connection.listAllSecrets()]
    finally:
        connection.close()


def seen(machine: Login, volume_id: str) -> str:
    """The path of a volume in a guest, once it is there."""
    disk = f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')}"
    wait_for(lambda: "yes" in machine.run(f"test -b {disk} && echo yes || echo no"), "the guest sees it", 60, poll=0.5)
    return disk


def total(machine: Login, disk: str) -> str:
    """The sum of the first MiB of a disk."""
    return machine.run(f"sudo dd if={disk} bs=1M count=1 2>/dev/null | sha256sum")


def check_snapshot(cloud: RealCloud, user: User, machine: Login, volume_id: str, before: str) -> str:
    """A volume of a snapshot has the same bytes, and nobody else can read either; gives the snapshot."""
    snapshot_id = str(user.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"])
    wait_for(lambda: snapshot(user, snapshot_id)["State"] == "completed", "it is completed", 60, poll=0.2)
    assert snapshot(user, snapshot_id)["Encrypted"] is True
    volume = shown(user, volume_id)
    zone, instance_id = volume["AvailabilityZone"], volume["Attachments"][0]["InstanceId"]
    copy_id = user.ec2.create_volume(AvailabilityZone=zone, SnapshotId=snapshot_id)["VolumeId"]
    user.ec2.attach_volume(VolumeId=copy_id, InstanceId=instance_id, Device="/dev/sdg")
    copy = seen(machine, copy_id)
    assert total(machine, copy) == before
    machine.run(f"sudo dd if={copy} of={copy} bs=1M count=1 seek=8 conv=fsync 2>/dev/null")
    assert files_with(cloud.settings.state_dir, [WORD]) == []
    user.ec2.detach_volume(VolumeId=copy_id)
    wait_for(lambda: shown(user, copy_id)["State"] == "available", "it is available", 60, poll=0.2)
    user.ec2.delete_volume(VolumeId=copy_id)
    return snapshot_id


def check_image(cloud: RealCloud, user: User, instance_id: str, before: str) -> None:
    """A guest of an image has the disks of the one that it was made of, and nobody else can read them."""
    image_id = user.ec2.create_image(InstanceId=instance_id, Name="secret", NoReboot=True)["ImageId"]
    wait_for(lambda: image(user, image_id)["State"] == "available", "the image is available", 90, poll=0.2)
    assert {each["Ebs"]["Encrypted"] for each in image(user, image_id)["BlockDeviceMappings"]} == {True}
    [launched] = user.run(ImageId=image_id)
    machine = user.connect(launched)
    devices = {shown(user, each)["Attachments"][0]["Device"]: each for each in attached(user, launched)}
    data = devices["/dev/sdf"]
    assert total(machine, seen(machine, data)) == before
    assert machine.run(f"head -c {len(WORD)} /var/tmp/word").strip() == WORD.decode().strip()
    assert files_with(cloud.settings.state_dir, [WORD]) == []
    user.terminate([launched])
    user.ec2.delete_volume(VolumeId=data)
    user.ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)


def check_hibernation(cloud: RealCloud, user: User, machine: Login, instance_id: str) -> Login:
    """The guest goes on without a boot, and what its memory has of the word is on no disk of the host in the open."""
    machine.run("cat /var/tmp/word >/dev/null")
    boot, keys = machine.run("cat /proc/sys/kernel/random/boot_id"), ssh.host_keys(user.console(instance_id))
    user.ec2.stop_instances(InstanceIds=[instance_id], Hibernate=True)
    user.wait("instance_stopped", [instance_id])
    assert user.describe(instance_id)["StateReason"]["Code"] == "Client.UserInitiatedHibernate"
    [memory] = cloud.settings.agent_dir.rglob(f"{instance_id}.qcow2")
    assert memory.stat().st_blocks * 512 > 32 * MIB
    assert files_with(cloud.settings.state_dir, [WORD]) == []
    user.ec2.start_instances(InstanceIds=[instance_id])
    user.wait("instance_running", [instance_id])
    machine = user.connect(instance_id, keys=keys)
    assert machine.run("cat /proc/sys/kernel/random/boot_id") == boot
    wait_for(lambda: not memory.exists(), "its memory is on no disk", 20)
    return machine


def stop_and_start(user: User, instance_id: str) -> Login:
    """Stop and start one: the private address and the disk stay, the public address is another one, as in EC2.

    While it is off it is given a larger type, and other user data, which it reads byte for byte.
    """
    before = user.describe(instance_id)
    aws = user.account.aws
    [stopping] = aws("ec2", "stop-instances", "--instance-ids", instance_id)["StoppingInstances"]
    assert (stopping["PreviousState"]["Name"], stopping["CurrentState"]["Name"]) == ("running", "stopping")
    user.wait("instance_stopped", [instance_id])
    stopped = user.describe(instance_id)
    assert stopped.get("PublicIpAddress", "") == ""
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert re.match(r"Client\.UserInitiatedShutdown", stopped["StateReason"]["Code"])
    assert qemu_process_of(instance_id) is None

    packed = gzip.compress(b"#!/bin/sh\n") + bytes(range(256))
    user.ec2.modify_instance_attribute(InstanceId=instance_id, UserData={"Value": packed})
    user.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": LARGER})
    assert user.describe(instance_id)["InstanceType"] == LARGER
    [starting] = aws("ec2", "start-instances", "--instance-ids", instance_id)["StartingInstances"]
    assert starting["InstanceId"] == instance_id
    user.wait("instance_running", [instance_id])
    after = user.describe(instance_id)
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["PublicIpAddress"] not in {"", before["PublicIpAddress"]}
    machine = user.connect(instance_id)
    assert machine.run(f"head -c {len(WORD)} /var/tmp/word").strip() == WORD.decode().strip()
    assert machine.run("imds get user-data | sha256sum").split()[0] == hashlib.sha256(packed).hexdigest()
    assert machine.run("nproc; cat /sys/class/dmi/id/product_name").split() == ["2", LARGER]
    assert registers_of(instance_id).count(" HLT=") == 2  # what is told of a guest that does not answer
    assert int(machine.run("awk '/^MemTotal:/ {print $2}' /proc/meminfo")) > 768 << 10
    return machine


def test_an_encrypted_volume_shows_nothing_to_the_host(real_cloud: RealCloud, user: User, volume_id: str) -> None:
    cloud = real_cloud
    root_disk = {"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True}}
    [instance_id] = user.run(BlockDeviceMappings=[root_disk], HibernationOptions={"Configured": True})
    machine = user.connect(instance_id)
    key = key_of(cloud, volume_id)
    secrets = [key, key.hex().encode(), passphrase_of(key)]
    user.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    disk = seen(machine, volume_id)
    says = f"yes '{20 * WORD.decode()}'"  # a line that is not short: an emulated guest says those slowly
    machine.run(f"{says} | head -c {MIB} | sudo dd of={disk} bs=1M conv=fsync 2>/dev/null")

    machine.run(f"{says} | head -c {MIB} >/var/tmp/word; sync")  # on the root volume

    folder = cloud.settings.agent_dir / "disks" / "volumes"
    (root,) = (each for each in attached(user, instance_id) if each != volume_id)
    assert shown(user, root)["Encrypted"] is True
    assert WORD not in (folder / f"{root}.qcow2").read_bytes()
    file = folder / f"{volume_id}.qcow2"
    assert file.stat().st_blocks * 512 >= MIB
    assert WORD not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    info = subprocess.run(["qemu-img", "info", "-U", file], capture_output=True, text=True, check=True).stdout
    assert "luks" in info
    assert arguments_with(secrets) == []
    assert libvirts_secrets() == []
    desired = cloud.settings.agent_dir / "desired.sqlite"
    assert desired.stat().st_mode & 0o777 == 0o600
    assert files_with(cloud.settings.log_dir, secrets) == []
    assert files_with(Path("/var/log/libvirt"), secrets) == []
    assert files_with(cloud.settings.controller_dir, secrets) == []

    before = total(machine, disk)
    snapshot_id = check_snapshot(cloud, user, machine, volume_id, before)
    check_image(cloud, user, instance_id, before)
    user.ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert arguments_with(secrets) == []
    assert files_with(cloud.settings.log_dir, secrets) == []

    machine = check_hibernation(cloud, user, machine, instance_id)
    assert total(machine, disk) == before
    machine = stop_and_start(user, instance_id)
    assert total(machine, disk) == before

    user.ec2.detach_volume(VolumeId=volume_id)
    wait_for(lambda: shown(user, volume_id)["State"] == "available", "it is available", 60)
    wait_for(lambda: files_with(cloud.settings.agent_dir, secrets) == [], "the agent has forgotten the key", 20)
    assert arguments_with(secrets) == []
    user.terminate([instance_id])
