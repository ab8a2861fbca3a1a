"""A controller's disk is lost: a backup that was made while it ran brings back what it knew, and hosts keep the rest."""

import json
import secrets
import shutil

import pytest

from stead_proto.blocks import BLOCK_BYTES
from tests.api.test_ebs_direct import written
from tests.support import loaded_programs
from tests.support.clients import FAST
from tests.support.processes import BIN, clean_environment
from tests.support.waiting import wait_for

pytestmark = pytest.mark.story

PASSPHRASE = "correct horse battery"


def run(cloud, *arguments, status=0):
    """Run `stead-controller backup` with the passphrase, and return its last line."""
    said, passphrase = cloud.folder / "backup.out", cloud.folder / "passphrase"
    said.write_bytes(b"")
    passphrase.write_text(f"{PASSPHRASE}\n")
    command = [str(word) for word in (BIN / "stead-controller", "backup", *arguments)]
    program = loaded_programs.start(command, clean_environment(), said, reads=passphrase)
    assert program is not None
    assert program.wait(120) == status, said.read_text()
    passphrase.unlink()
    assert PASSPHRASE not in said.read_text()
    return json.loads(said.read_text().splitlines()[-1])


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
    assert not cloud.operator.end_return()  # no host has joined again
    (listed,) = run(cloud, "list", folder)["backups"]
    assert listed == made


def test_what_was_made_after_a_backup_is_adopted_with_all_that_it_has(own_cloud):
    """An instance with two volumes and an Elastic IP address, in a group of its own; another one is removed."""
    cloud = own_cloud(hosts=2, options=("--heartbeat-seconds=1", "--host-timeout-seconds=4"))
    account, image_id = cloud.first_account, cloud.add_image()
    ec2 = account.ec2
    folder, state = cloud.folder / "backups", f"--state-dir={cloud.settings.controller_dir}"
    run(cloud, "create", folder, state, "--passphrase-file=-")

    group_id = ec2.create_security_group(GroupName="web", Description="of a test")["GroupId"]
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission])

    def launch(**more):
        request = {
            "ImageId": image_id,
            "InstanceType": "t3.micro",
            "MinCount": 1,
            "MaxCount": 1,
            "UserData": "#!/bin/sh",
        }
        instance_id = ec2.run_instances(**request | more)["Instances"][0]["InstanceId"]
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
        return instance_id

    named = {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "wanted"}]}
    wanted, unwanted = launch(SecurityGroupIds=[group_id], TagSpecifications=[named]), launch()
    zone = ec2.describe_instances(InstanceIds=[wanted])["Reservations"][0]["Instances"][0]["Placement"]
    made = ec2.create_volume(AvailabilityZone=zone["AvailabilityZone"], Size=2, VolumeType="gp3")["VolumeId"]
    ec2.attach_volume(VolumeId=made, InstanceId=wanted, Device="/dev/sdf")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[made], WaiterConfig=FAST)
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(InstanceId=wanted, AllocationId=address["AllocationId"])
    wait_for(lambda: described(ec2, wanted)["attached"] == {"/dev/sda1", "/dev/sdf"}, "both volumes are attached", 30)
    before = described(ec2, wanted)

    cloud.controller.kill()
    shutil.rmtree(cloud.settings.controller_dir)
    run(cloud, "restore", folder, state, "--passphrase-file=-")
    cloud.start_controller()
    operator = cloud.operator
    keeps = {wanted, unwanted, *before["volumes"], *before["interfaces"]}
    wait_for(lambda: keeps <= {one.id for one in operator.list_unclaimed()}, "hosts say what they keep", 60)
    found = {one.id: one for one in operator.list_unclaimed()}
    assert (found[wanted].account_id, found[wanted].instance_type) == (account.account_id, "t3.micro")
    assert {found[each].part_of for each in (*before["volumes"], *before["interfaces"])} == {wanted}

    notes = operator.adopt_unclaimed(wanted, dry_run=True)
    assert ec2.describe_instances()["Reservations"] == []
    assert operator.adopt_unclaimed(wanted) == notes
    assert notes == [f"the security group {group_id} (web) was made again"]
    assert described(ec2, wanted) == before
    assert unwanted in {one.id for one in operator.remove_unclaimed([unwanted])}
    wait_for(lambda: operator.list_unclaimed() == [], "nothing is unclaimed any more", 60)
    assert described(ec2, wanted) == before

    require_usable(ec2, wanted, before)
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.delete_volume(VolumeId=made)
    ec2.delete_security_group(GroupId=group_id)
    for host in operator.list_hosts():
        wait_for(lambda host=host: operator.show_host(host.id).cpus_reserved == 0, "its room is free", 30)


def require_usable(ec2, instance_id, before):
    """Stop, start and terminate an instance that was adopted."""
    ec2.stop_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
    ec2.start_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
    assert described(ec2, instance_id) | {"launched": before["launched"]} == before
    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig=FAST)


def described(ec2, instance_id):
    """What DescribeInstances and others show of an instance that must not change."""
    [instance] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    volumes = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
    interfaces = instance["NetworkInterfaces"]
    addresses = ec2.describe_addresses(Filters=[{"Name": "instance-id", "Values": [instance_id]}])["Addresses"]
    return {
        "state": instance["State"]["Name"],
        "tags": instance["Tags"],
        "type": instance["InstanceType"],
        "image": instance["ImageId"],
        "launched": instance["LaunchTime"].replace(microsecond=0),
        "private": instance["PrivateIpAddress"],
        "public": instance.get("PublicIpAddress"),
        "groups": instance["SecurityGroups"],
        "interfaces": [one["NetworkInterfaceId"] for one in interfaces],
        "macs": [one["MacAddress"] for one in interfaces],
        "volumes": sorted(one["VolumeId"] for one in volumes),
        "sizes": sorted((one["VolumeId"], one["Size"], one["VolumeType"]) for one in volumes),
        "attached": {
            one["DeviceName"] for one in instance["BlockDeviceMappings"] if one["Ebs"]["Status"] == "attached"
        },
        "ends": {one["DeviceName"]: one["Ebs"]["DeleteOnTermination"] for one in instance["BlockDeviceMappings"]},
        "allocations": [(one["PublicIp"], one["AllocationId"], one["NetworkInterfaceId"]) for one in addresses],
        "user_data": ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"],
        "rules": [
            (rule["SecurityGroupRuleId"], rule.get("CidrIpv4"), rule["IsEgress"])
            for rule in ec2.describe_security_group_rules(
                Filters=[{"Name": "group-id", "Values": [one["GroupId"] for one in instance["SecurityGroups"]]}]
            )["SecurityGroupRules"]
        ],
    }
