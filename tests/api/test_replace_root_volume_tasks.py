"""The root volume of a running instance is replaced, with boto3 and the AWS CLI, against simulated hosts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.support.clients import FAST, Account
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for


@pytest.fixture
def launch(account: Account, image_id: str) -> Iterator[Callable[..., str]]:
    """Launch a running instance whose root volume is attached; it is terminated after the test."""
    ec2, made = account.ec2, []

    def run(**params: Any) -> str:
        values: dict[str, Any] = {
            "ImageId": image_id,
            "InstanceType": "stead.tiny",
            "MinCount": 1,
            "MaxCount": 1,
        } | params
        instance_id = ec2.run_instances(**values)["Instances"][0]["InstanceId"]
        made.append(instance_id)
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
        wait_for(lambda: root_of(ec2, instance_id)["Status"] == "attached", "its root volume is attached")
        return instance_id

    yield run
    ec2.terminate_instances(InstanceIds=made)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=made, WaiterConfig=FAST)


def shown(ec2: Any, instance_id: str) -> dict[str, Any]:
    (instance,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return dict(instance)


def root_of(ec2: Any, instance_id: str) -> dict[str, Any]:
    return dict(shown(ec2, instance_id)["BlockDeviceMappings"][0]["Ebs"])


def described(ec2: Any, task_id: str) -> dict[str, Any]:
    (task,) = ec2.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[task_id])["ReplaceRootVolumeTasks"]
    return dict(task)


def succeeded(ec2: Any, task_id: str) -> bool:
    state = described(ec2, task_id)["TaskState"]
    assert state in ("pending", "in-progress", "succeeded"), state
    return bool(state == "succeeded")


def test_a_guest_boots_from_a_new_root_volume_and_stays_the_same_instance(
    cloud: Cloud, account: Account, launch: Callable[..., str]
) -> None:
    ec2 = account.ec2
    instance_id = launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}])
    before = shown(ec2, instance_id)
    old = root_of(ec2, instance_id)["VolumeId"]
    tags: Any = [{"ResourceType": "replace-root-volume-task", "Tags": [{"Key": "a", "Value": "b"}]}]
    begun = ec2.create_replace_root_volume_task(
        InstanceId=instance_id, DeleteReplacedRootVolume=True, TagSpecifications=tags
    )["ReplaceRootVolumeTask"]
    task_id = begun["ReplaceRootVolumeTaskId"]
    assert (begun["TaskState"], begun["InstanceId"], begun["Tags"]) == ("pending", instance_id, tags[0]["Tags"])
    assert begun["DeleteReplacedRootVolume"]
    assert "CompleteTime" not in begun

    def is_done() -> bool:
        assert shown(ec2, instance_id)["State"]["Name"] == "running"
        return succeeded(ec2, task_id)

    wait_for(is_done, "it is replaced")
    assert described(ec2, task_id)["CompleteTime"] >= begun["StartTime"]
    wait_for(
        lambda: not ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [old]}])["Volumes"], "it is gone"
    )
    after = shown(ec2, instance_id)
    new = root_of(ec2, instance_id)
    assert (new["VolumeId"] != old, new["Status"], new["DeleteOnTermination"]) == (True, "attached", True)
    different = {name for name in before if before[name] != after[name]}
    assert different == {"BlockDeviceMappings"}
    assert after["BlockDeviceMappings"][1:] == before["BlockDeviceMappings"][1:]
    assert "start 2, boot 1" in ec2.get_console_output(InstanceId=instance_id, Latest=True)["Output"]
    for host in cloud.operator.list_hosts():
        assert cloud.let_happen(do="remains", host=host.id)["violations"] == []


def test_the_aws_command_restores_a_snapshot_and_finds_its_task(account: Account, launch: Callable[..., str]) -> None:
    ec2 = account.ec2
    instance_id = launch()
    old = root_of(ec2, instance_id)["VolumeId"]
    snapshot_id = ec2.create_snapshot(VolumeId=old)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=FAST)

    begin = ("create-replace-root-volume-task", "--instance-id", instance_id, "--snapshot-id", snapshot_id)
    task_id = account.aws("ec2", *begin)["ReplaceRootVolumeTask"]["ReplaceRootVolumeTaskId"]
    wait_for(lambda: succeeded(ec2, task_id), "it is replaced")
    mine = ("describe-replace-root-volume-tasks", "--filters", f"Name=instance-id,Values={instance_id}")
    (task,) = account.aws("ec2", *mine)["ReplaceRootVolumeTasks"]
    assert (task["TaskState"], task["SnapshotId"]) == ("succeeded", snapshot_id)
    assert not task["DeleteReplacedRootVolume"]
    (volume,) = ec2.describe_volumes(VolumeIds=[root_of(ec2, instance_id)["VolumeId"]])["Volumes"]
    assert volume["SnapshotId"] == snapshot_id
    ec2.get_waiter("volume_available").wait(VolumeIds=[old], WaiterConfig=FAST)
    ec2.delete_volume(VolumeId=old)
    ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_a_start_that_fails_at_first_is_tried_again(cloud: Cloud, account: Account, launch: Callable[..., str]) -> None:
    ec2 = account.ec2
    instance_id = launch()
    hosts = cloud.let_happen(do="hosts")["hosts"]
    (host,) = [host_id for host_id, has in hosts.items() if instance_id in has["running"]]
    cloud.let_happen(do="fail_next", host=host, name="machines.start", error="QEMU said no", times=2)
    begun = ec2.create_replace_root_volume_task(InstanceId=instance_id, DeleteReplacedRootVolume=True)
    wait_for(lambda: succeeded(ec2, begun["ReplaceRootVolumeTask"]["ReplaceRootVolumeTaskId"]), "it is replaced")
    assert shown(ec2, instance_id)["State"]["Name"] == "running"


def test_what_ec2_would_not_do_is_refused_and_changes_nothing(api: Api) -> None:
    instance_id = api.launch()
    create = api.ec2.create_replace_root_volume_task
    rate = {"InstanceId": instance_id, "VolumeInitializationRate": 100}
    assert "VolumeInitializationRate" in api.refused("UnsupportedOperation", create, **rate)
    api.refused("InvalidParameterValue", create, InstanceId=instance_id)  # its snapshot is not there
    api.refused("InvalidInstanceID.NotFound", create, InstanceId="i-00000000000000009")
    api.refused("IncorrectInstanceState", create, InstanceId=api.launch(number=1, state="stopped"))
    both = {"SnapshotId": "snap-00000000000000001", "VolumeId": "vol-00000000000000001"}
    api.refused("InvalidParameterCombination", create, InstanceId=instance_id, **both)
    describe = api.ec2.describe_replace_root_volume_tasks
    api.refused("InvalidReplaceRootVolumeTaskId.Malformed", describe, ReplaceRootVolumeTaskIds=["x"])
    absent = ["replacevol-00000000000000009"]
    api.refused("InvalidReplaceRootVolumeTaskId.NotFound", describe, ReplaceRootVolumeTaskIds=absent)
    api.refused("InvalidParameterValue", describe, MaxResults=51)


def test_pages_and_volumes_that_are_being_made(api: Api) -> None:
    made = []
    for number in range(3):
        instance_id = api.launch(number=number)
        free = api.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        task = api.ec2.create_replace_root_volume_task(InstanceId=instance_id, VolumeId=free, ClientToken=str(number))
        again = api.ec2.create_replace_root_volume_task(InstanceId=instance_id, VolumeId=free, ClientToken=str(number))
        assert again["ReplaceRootVolumeTask"] == task["ReplaceRootVolumeTask"]
        made.append(task["ReplaceRootVolumeTask"]["ReplaceRootVolumeTaskId"])
    pages = api.ec2.get_paginator("describe_replace_root_volume_tasks").paginate(PaginationConfig={"PageSize": 1})
    found = [task["ReplaceRootVolumeTaskId"] for page in pages for task in page["ReplaceRootVolumeTasks"]]
    assert found == sorted(made)
