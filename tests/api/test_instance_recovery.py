"""Automatic recovery in a whole cloud with simulated hosts, as a user sees it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.clients import FAST, Account
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for


def shown(ec2: Any, instance_id: str) -> dict[str, Any]:
    (instance,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return instance


def health(ec2: Any, instance_id: str) -> tuple[str, str, str]:
    """The instance's state, its instance status and its system status."""
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id], IncludeAllInstances=True)["InstanceStatuses"]
    return status["InstanceState"]["Name"], status["InstanceStatus"]["Status"], status["SystemStatus"]["Status"]


def starts(ec2: Any, instance_id: str) -> str:
    """What a simulated guest says of its starts."""
    return ec2.get_console_output(InstanceId=instance_id, Latest=True)["Output"]


@pytest.fixture
def launch(account: Account, image_id: str) -> Iterator[Callable[..., str]]:
    """Launch a running instance, which is terminated after the test."""
    ec2, made = account.ec2, []

    def run(**params: Any) -> str:
        values = {"ImageId": image_id, "InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 1} | params
        instance_id = ec2.run_instances(**values)["Instances"][0]["InstanceId"]
        made.append(instance_id)
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
        return instance_id

    yield run
    ec2.terminate_instances(InstanceIds=made)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=made, WaiterConfig=FAST)


def test_an_instance_is_recovered_three_times_and_stopped_at_the_fourth(
    cloud: Cloud, account: Account, launch: Callable[..., str]
) -> None:
    ec2 = account.ec2
    instance_id = launch()
    before = shown(ec2, instance_id)
    assert before["MaintenanceOptions"]["AutoRecovery"] == "default"
    for number in (2, 3, 4):
        cloud.let_happen(do="crash_guest", machine=instance_id)
        wait_for(lambda: f"start {number}, boot 1" in starts(ec2, instance_id), "it was started again")  # noqa: B023 - called now
        wait_for(lambda: health(ec2, instance_id) == ("running", "ok", "ok"), "it is well again")
        assert shown(ec2, instance_id) == before
    cloud.let_happen(do="crash_guest", machine=instance_id)
    wait_for(lambda: health(ec2, instance_id)[0] == "stopped", "it is stopped")
    assert shown(ec2, instance_id)["StateReason"]["Code"] == "Server.InternalError"
    assert "start 4" in starts(ec2, instance_id)
    for host in cloud.operator.list_hosts():
        assert cloud.let_happen(do="remains", host=host.id)["violations"] == []


def test_its_system_status_is_impaired_until_it_runs_again(
    cloud: Cloud, account: Account, launch: Callable[..., str]
) -> None:
    ec2 = account.ec2
    instance_id = launch()
    hosts = cloud.let_happen(do="hosts")["hosts"]
    (host,) = [host_id for host_id, has in hosts.items() if instance_id in has["running"]]
    cloud.let_happen(do="fail_next", host=host, name="machines.start", error="QEMU said no", times=2)
    cloud.let_happen(do="crash_guest", machine=instance_id)
    wait_for(lambda: health(ec2, instance_id) == ("running", "initializing", "impaired"), "it is seen to have failed")
    impaired = [{"Name": "system-status.status", "Values": ["impaired"]}]
    found = ec2.describe_instance_status(Filters=impaired)["InstanceStatuses"]
    assert [each["InstanceId"] for each in found] == [instance_id]
    wait_for(lambda: health(ec2, instance_id) == ("running", "ok", "ok"), "it runs again")
    assert "start 2, boot 1" in starts(ec2, instance_id)


def test_an_instance_without_recovery_is_stopped(cloud: Cloud, account: Account, launch: Callable[..., str]) -> None:
    ec2 = account.ec2
    instance_id = launch(MaintenanceOptions={"AutoRecovery": "disabled"})
    assert shown(ec2, instance_id)["MaintenanceOptions"]["AutoRecovery"] == "disabled"
    cloud.let_happen(do="crash_guest", machine=instance_id)
    wait_for(lambda: shown(ec2, instance_id)["State"]["Name"] == "stopped", "it is stopped")
    assert shown(ec2, instance_id)["StateReason"]["Code"] == "Server.InternalError"
    assert "start 1" in starts(ec2, instance_id)


def test_one_that_stops_while_its_host_cannot_start_it_again_is_stopped(
    cloud: Cloud, account: Account, launch: Callable[..., str]
) -> None:
    ec2 = account.ec2
    instance_id = launch()
    hosts = cloud.let_happen(do="hosts")["hosts"]
    (host,) = [host_id for host_id, has in hosts.items() if instance_id in has["running"]]
    cloud.let_happen(do="fail_next", host=host, name="machines.start", error="QEMU said no", times=2)
    cloud.let_happen(do="crash_guest", machine=instance_id)
    wait_for(lambda: health(ec2, instance_id)[2] == "impaired", "it is seen to have failed")
    ec2.stop_instances(InstanceIds=[instance_id])
    wait_for(lambda: health(ec2, instance_id)[0] == "stopped", "it is stopped")
    assert shown(ec2, instance_id)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_a_guest_that_waits_for_room_is_impaired_until_there_is_some(
    cloud: Cloud, account: Account, launch: Callable[..., str]
) -> None:
    ec2 = account.ec2
    instance_id = launch()
    values = {"do": "fill_volume", "machine": instance_id, "volume": root_of(ec2, instance_id)}

    def found(name: str, value: str) -> bool:
        asked = [{"Name": f"{name}.status", "Values": [value]}]
        return bool(ec2.describe_instance_status(InstanceIds=[instance_id], Filters=asked)["InstanceStatuses"])

    def all_are(value: str) -> bool:
        return all(found(name, value) for name in ("instance-status", "attached-ebs-status"))

    cloud.let_happen(**values, full=True)
    wait_for(lambda: all_are("impaired"), "the instance and its volume are impaired", 30)
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert status["SystemStatus"]["Status"] == "ok"
    assert "ImpairedSince" in status["AttachedEbsStatus"]["Details"][0]
    cloud.let_happen(**values, full=False)
    wait_for(lambda: all_are("ok"), "they are well again", 30)
    stall = {**values, "do": "stall_volume"}
    cloud.let_happen(**stall, stalled=True)
    wait_for(lambda: found("attached-ebs-status", "impaired"), "its volume does no requests", 30)
    assert found("instance-status", "ok")
    volumes = [{"Name": "volume-status.status", "Values": ["impaired"]}]
    assert ec2.describe_volume_status(VolumeIds=[values["volume"]], Filters=volumes)["VolumeStatuses"]
    cloud.let_happen(**stall, stalled=False)
    wait_for(lambda: all_are("ok"), "it does them", 30)


def root_of(ec2: Any, instance_id: str) -> str:
    """The id of an instance's root volume."""
    (root,) = shown(ec2, instance_id)["BlockDeviceMappings"]
    volume_id: str = root["Ebs"]["VolumeId"]
    return volume_id


def test_a_guest_that_is_silent_is_impaired_until_it_answers(
    cloud: Cloud, account: Account, launch: Callable[..., str]
) -> None:
    """Its host's agent finds it out, and says so; nobody else does anything about it."""
    ec2 = account.ec2
    instance_id = launch()
    cloud.let_happen(do="silence_guest", machine=instance_id, silent=True)
    wait_for(lambda: health(ec2, instance_id) == ("running", "impaired", "ok"), "the guest is impaired")
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert "ImpairedSince" in status["InstanceStatus"]["Details"][0]
    cloud.let_happen(do="silence_guest", machine=instance_id, silent=False)
    wait_for(lambda: health(ec2, instance_id) == ("running", "ok", "ok"), "it is well again")
    assert "start 1" in starts(ec2, instance_id)
