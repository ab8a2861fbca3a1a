"""A controller's disk is lost: a backup that was made while it ran brings back what it knew, and hosts keep the rest."""

import json
import secrets
import shutil
import subprocess

from stead_proto.blocks import BLOCK_BYTES
from tests.api.test_ebs_direct import written
from tests.support.clients import FAST
from tests.support.processes import BIN, clean_environment
from tests.support.waiting import wait_for

PASSPHRASE = "correct horse battery"


def run(cloud, *arguments):
    """Run `stead-controller backup` with the passphrase, and return its last line."""
    command = [BIN / "stead-controller", "backup", *arguments]
    done = subprocess.run(
        command,
        input=f"{PASSPHRASE}\n",
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSPHRASE not in done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_that_a_lost_controller_knew_comes_back_and_hosts_keep_what_is_newer(own_cloud):
    cloud = own_cloud(hosts=1, options=("--heartbeat-seconds=1", "--host-timeout-seconds=4"))
    account, image_id = cloud.first_account, cloud.add_image()
    ec2, ebs = account.ec2, account.client("ebs")
    content = secrets.token_bytes(BLOCK_BYTES)

    def snapshot(description):
        snapshot_id = ebs.start_snapshot(VolumeSize=1, Description=description)["SnapshotId"]
        ebs.put_snapshot_block(SnapshotId=snapshot_id, **written(0, content))
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=FAST)
        return snapshot_id

    def launch():
        request = {"ImageId": image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
        instance_id = ec2.run_instances(**request)["Instances"][0]["InstanceId"]
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
        return instance_id

    def instances():
        found = ec2.describe_instances()["Reservations"]
        return {one["InstanceId"]: one["State"]["Name"] for each in found for one in each["Instances"]}

    older, known = snapshot("older"), launch()
    folder = cloud.folder / "backups"
    state = f"--state-dir={cloud.settings.controller_dir}"
    made = run(cloud, "create", folder, state, "--passphrase-file=-")["backup"]
    newer, unknown = snapshot("newer"), launch()
    (host,) = cloud.operator.list_hosts()

    cloud.controller.kill()
    shutil.rmtree(cloud.settings.controller_dir)
    assert run(cloud, "verify", folder, "--passphrase-file=-")["faults"] == []
    assert run(cloud, "restore", folder, state, "--passphrase-file=-")["restored"]["missing"] == []
    cloud.start_controller()

    assert instances() == {known: "running"}
    assert [one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]] == [older] != [newer]
    token = ebs.list_snapshot_blocks(SnapshotId=older)["Blocks"][0]["BlockToken"]
    block = ebs.get_snapshot_block(SnapshotId=older, BlockIndex=0, BlockToken=token)
    assert block["BlockData"].read() == content
    wait_for(
        lambda: unknown in {one.id for one in cloud.operator.show_host(host.id).unclaimed},
        "the host says what it keeps",
        60,
    )
    ec2.terminate_instances(InstanceIds=[known])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[known], WaiterConfig=FAST)
    assert unknown in {one.id for one in cloud.operator.show_host(host.id).unclaimed}
    (listed,) = run(cloud, "list", folder)["backups"]
    assert listed == made
