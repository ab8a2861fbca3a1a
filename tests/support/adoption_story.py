"""A controller's disk is lost, a backup is put back: real guests that were made after it are adopted, and notice nothing.

`e2e/test_recover.py` tells it, before the disk is lost without one.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from stead_cli.ssh import Login
from tests.support import halting_image
from tests.support.clients import FAST
from tests.support.lost_state import lose
from tests.support.processes import BIN
from tests.support.real_cloud import RealCloud, User, qemu_process_of
from tests.support.waiting import wait_for

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
DISK = "/dev/sdf"


def tell(cloud: RealCloud, folder: Path) -> None:
    """Tell it of a cloud, which has no guest and no volume of the story in the end; `folder` is empty."""
    user = User(cloud, cloud.new_account(), folder)
    halts = halting_image.add(cloud.operator, folder)
    [known] = user.run(ImageId=halts)
    [group] = user.describe(known)["SecurityGroups"]  # of the newer one, too: what is allowed later is lost
    user.ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("correct horse battery\n", encoding="utf-8")
    backups = [str(folder / "backups"), "--passphrase-file", str(passphrase)]
    cloud.stead_well("backup", "create", *backups)

    [newer] = user.run()
    address = user.ec2.allocate_address(Domain="vpc")
    user.ec2.associate_address(InstanceId=newer, AllocationId=address["AllocationId"])
    shell = user.login(newer)
    volume_id, written = _with_another_volume(user, newer, shell)
    [unwanted] = user.run(ImageId=halts)
    before = _seen(user, shell, newer, known)

    _lose_and_restore(cloud, backups)
    _wait_until_unclaimed(cloud, {newer, unwanted, volume_id})
    assert "InvalidInstanceID" in _refusal(user, newer)
    _adopt_while_the_controller_dies(cloud, newer)
    cloud.stead_well("unclaimed", "remove", unwanted)
    wait_for(lambda: _unclaimed(cloud) == [], "nothing is unclaimed any more", 60, explain=cloud.log_ends)
    assert _seen(user, shell, newer, known) == before
    assert qemu_process_of(unwanted) is None
    assert _left(cloud, unwanted) == []

    assert shell.run(f"sudo head -c 4096 {DISK} | md5sum").split()[0] == written
    user.ec2.stop_instances(InstanceIds=[newer])
    user.wait("instance_stopped", [newer])
    user.ec2.start_instances(InstanceIds=[newer])
    user.wait("instance_running", [newer])
    login = user.login(newer)
    assert login.run(f"sudo head -c 4096 {DISK} | md5sum").split()[0] == written
    assert login.address == address["PublicIp"]
    user.terminate([newer, known])
    user.ec2.delete_volume(VolumeId=volume_id)
    wait_for(lambda: not _left(cloud, volume_id), "its disk is gone", 60, explain=lambda: f"{_left(cloud, volume_id)}")
    assert qemu_process_of(newer) is None


def _left(cloud: RealCloud, resource_id: str) -> list[Path]:
    """List the files of a resource, but for a disk in the trash, for a while, and the note that it was removed."""
    found = cloud.state_dir.rglob(f"*{resource_id}*")
    return [path for path in found if not {"trash", "made"} & set(path.parts)]


def _with_another_volume(user: User, instance_id: str, login: Login) -> tuple[str, str]:
    """Attach a volume and write to it; return its id and the digest of what was written."""
    zone = user.describe(instance_id)["Placement"]["AvailabilityZone"]
    volume_id = user.ec2.create_volume(AvailabilityZone=zone, Size=1, VolumeType="gp3")["VolumeId"]
    user.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=DISK)
    user.ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    waits = f"until [ -b {DISK} ]; do usleep 100000; done"
    writes = f"sudo dd if=/dev/urandom of={DISK} bs=4096 count=1 conv=fsync 2>/dev/null"
    # By one connection: each costs an emulated guest half a second of a processor.
    return volume_id, login.run(f"{waits}; {writes} && sudo head -c 4096 {DISK} | md5sum", 120).split()[0]


def _seen(user: User, shell: Login, instance_id: str, known: str) -> dict[str, Any]:
    """What must not change: a guest's boot and what EC2 shows of it, and the processes of both."""
    shown = user.describe(instance_id)
    return {
        "boot": shell.run(BOOT_ID),
        "processes": [qemu_process_of(each) for each in (instance_id, known)],
        "addresses": (shown["PrivateIpAddress"], shown["PublicIpAddress"]),
        "disks": [(each["DeviceName"], each["Ebs"]["VolumeId"]) for each in shown["BlockDeviceMappings"]],
        "groups": shown["SecurityGroups"],
        "macs": [each["MacAddress"] for each in shown["NetworkInterfaces"]],
        "key": shown["KeyName"],
        "state": shown["State"]["Name"],
    }


def _lose_and_restore(cloud: RealCloud, backups: list[str]) -> None:
    cloud.kill(cloud.controller)
    lose(cloud.settings.controller_dir)
    cloud.stead_well("backup", "restore", *backups)
    cloud.up()


def _unclaimed(cloud: RealCloud) -> list[str]:
    return [each.id for each in cloud.operator.list_unclaimed()]


def _wait_until_unclaimed(cloud: RealCloud, ids: set[str]) -> None:
    wait_for(lambda: ids <= set(_unclaimed(cloud)), "the host says what it keeps", 60, explain=cloud.log_ends)


def _refusal(user: User, instance_id: str) -> str:
    with pytest.raises(user.ec2.exceptions.ClientError) as refused:
        user.describe(instance_id)
    return str(refused.value)


def _adopt_while_the_controller_dies(cloud: RealCloud, instance_id: str) -> None:
    """Kill the controller in the middle: either all of it is adopted then, or nothing, and it can be adopted again."""
    words = [str(BIN / "stead"), "unclaimed", "adopt", instance_id]
    with subprocess.Popen(words, env=cloud.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as asked:
        cloud.kill(cloud.controller)
        asked.wait(60)
    cloud.up()
    done = cloud.stead("unclaimed", "adopt", instance_id)
    if done.returncode != 0:
        assert "No host has an unclaimed" in done.stderr, done.stderr
