"""`stead type`, and types of the operator's own through boto3: launched, described, limited as they say."""

import json

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from stead_cli.type import type as commands
from tests.support.clients import FAST
from tests.support.cloud import DEVICE


@pytest.fixture
def stead(cloud, monkeypatch):
    """Run `stead type`."""
    monkeypatch.setattr("stead_cli.type.settings.load", lambda: cloud.settings)

    def run(*arguments, fails=""):
        done = CliRunner().invoke(commands, arguments)
        assert (done.exit_code != 0) is bool(fails), done.output
        assert fails in done.output
        return done.stdout

    return run


def described(account, name):
    (shown,) = account.ec2.describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
    return shown


def test_a_type_is_added_launched_and_removed(stead, account, image_id):
    asked = (
        "--vcpus",
        "2",
        "--threads-per-core",
        "2",
        "--memory-mib",
        "256",
        "--interfaces",
        "1",
    )
    (made,) = json.loads(stead("add", "lab.pair", *asked, "--instance-store", "2x1", "--output", "json"))
    assert (made["name"], made["own"], made["offered"]) == ("lab.pair", True, True)
    assert made["network_mbps"] == "1000:5000"
    assert json.loads(stead("list", "--own", "--output", "json")) == [made]
    assert "lab.pair\t2\t2\t256" in stead("list")
    shown = described(account, "lab.pair")
    assert (shown["VCpuInfo"]["DefaultCores"], shown["VCpuInfo"]["DefaultThreadsPerCore"]) == (1, 2)
    assert shown["MemoryInfo"]["SizeInMiB"] == 256
    assert shown["InstanceStorageInfo"]["TotalSizeInGB"] == 2
    filters = [{"Name": "instance-type", "Values": ["lab.*"]}]
    (offered,) = account.ec2.describe_instance_type_offerings(Filters=filters)["InstanceTypeOfferings"]
    assert offered["InstanceType"] == "lab.pair"
    (launched,) = account.ec2.run_instances(ImageId=image_id, InstanceType="lab.pair", MinCount=1, MaxCount=1)[
        "Instances"
    ]
    assert launched["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 2}
    instance = {"InstanceIds": [launched["InstanceId"]]}
    account.ec2.get_waiter("instance_running").wait(**instance, WaiterConfig=FAST)
    subnet = launched["SubnetId"]
    second = account.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    attach = {"NetworkInterfaceId": second, "InstanceId": launched["InstanceId"], "DeviceIndex": 1}
    with pytest.raises(ClientError, match="AttachmentLimitExceeded"):
        account.ec2.attach_network_interface(**attach)
    account.ec2.delete_network_interface(NetworkInterfaceId=second)
    stead("remove", "lab.pair", fails=f"The instance {launched['InstanceId']} has the type lab.pair")
    account.ec2.terminate_instances(**instance)
    account.ec2.get_waiter("instance_terminated").wait(**instance, WaiterConfig=FAST)
    stead("remove", "lab.pair")
    assert json.loads(stead("list", "--own", "--output", "json")) == []
    with pytest.raises(ClientError, match="InvalidInstanceType"):
        described(account, "lab.pair")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "m5.huge", "--vcpus", "2", "--memory-mib", "256"), "The family m5 has the sizes"),
        (("add", "lab.odd", "--vcpus", "3", "--threads-per-core", "2", "--memory-mib", "256"), "no cores of 2 threads"),
        (("add", "lab.odd", "--vcpus", "3", "--memory-mib", "256", "--network-mbps", "fast"), "--network-mbps must be"),
        (("add", "lab.odd", "--vcpus", "3", "--memory-mib", "256", "--network-mbps", "9:1"), "more than burst"),
        (("add", "lab.odd", "--vcpus", "3", "--memory-mib", "256", "--ebs-mbps", "9"), "belong together"),
        (
            ("add", "lab.odd", "--vcpus", "3", "--memory-mib", "256", "--instance-store", "2"),
            "--instance-store must be",
        ),
        (("add", "lab.odd", "--vcpus", "1", "--memory-mib", "256", "--device", "10de:1eb8=0"), "--device must be"),
        (("add", "lab.odd", "--vcpus", "1", "--memory-mib", "256", "--device", "gpu"), "a device is vendor:device"),
        (("remove", "lab.odd"), "does not exist"),
        (("remove", "t3.micro"), "is of Stead's catalogue"),
    ],
)
def test_nonsense_is_refused_in_words(stead, arguments, words):
    stead(*arguments, fails=words)


def test_a_type_limits_all_volumes_of_an_instance_together(stead, account):
    figures = ("--ebs-mbps", "100:400", "--ebs-iops", "500")
    stead("add", "lab.disks", "--vcpus", "1", "--memory-mib", "256", *figures)
    ebs = described(account, "lab.disks")["EbsInfo"]
    assert ebs["EbsOptimizedSupport"] == "default"
    assert ebs["EbsOptimizedInfo"] == {
        "BaselineBandwidthInMbps": 100,
        "BaselineThroughputInMBps": 12.5,
        "BaselineIops": 500,
        "MaximumBandwidthInMbps": 400,
        "MaximumThroughputInMBps": 50.0,
        "MaximumIops": 500,
    }
    (shown,) = json.loads(stead("list", "--own", "--output", "json"))
    assert (shown["ebs_mbps"], shown["ebs_iops"]) == ("100:400", "500")
    stead("remove", "lab.disks")


def test_a_burstable_type_earns_what_its_baseline_costs(stead, account):
    stead("add", "lab.slow", "--vcpus", "2", "--memory-mib", "256", "--baseline-percent", "10")
    assert described(account, "lab.slow")["BurstablePerformanceSupported"]
    (shown,) = json.loads(stead("list", "--own", "--output", "json"))
    assert shown["baseline_percent"] == 10
    stead("remove", "lab.slow")


def test_a_type_with_devices_that_no_host_has_is_not_offered(stead):
    stead("add", "lab.gpu", "--vcpus", "1", "--memory-mib", "256", "--device", "10DE:1eb8=2", "--device", "10de:10f8")
    (shown,) = json.loads(stead("list", "--own", "--output", "json"))
    assert (shown["devices"], shown["offered"]) == ("10de:10f8=1, 10de:1eb8=2", False)
    stead("remove", "lab.gpu")


def test_each_host_gives_its_device_to_one_instance_at_a_time(cloud, stead, account, image_id):
    stead("add", "lab.card", "--vcpus", "1", "--memory-mib", "256", "--device", DEVICE)

    def launch(count=1):
        asked = {"ImageId": image_id, "InstanceType": "lab.card", "MinCount": count, "MaxCount": count}
        return [one["InstanceId"] for one in account.ec2.run_instances(**asked)["Instances"]]

    def holders():
        hosts = [cloud.operator.show_host(host.id) for host in cloud.operator.list_hosts()]
        return sorted(device.instance_id for host in hosts for device in host.devices)

    both = launch(2)
    account.ec2.get_waiter("instance_running").wait(InstanceIds=both, WaiterConfig=FAST)
    assert holders() == sorted(both)
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        launch()
    account.ec2.stop_instances(InstanceIds=both[:1])
    account.ec2.get_waiter("instance_stopped").wait(InstanceIds=both[:1], WaiterConfig=FAST)
    third = launch()
    account.ec2.get_waiter("instance_running").wait(InstanceIds=third, WaiterConfig=FAST)
    assert holders() == sorted([both[1], *third])
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        account.ec2.start_instances(InstanceIds=both[:1])
    account.ec2.terminate_instances(InstanceIds=both + third)
    account.ec2.get_waiter("instance_terminated").wait(InstanceIds=both + third, WaiterConfig=FAST)
    assert holders() == ["", ""]
    stead("remove", "lab.card")


def test_each_host_gives_its_core_to_one_instance_at_a_time(cloud, stead, account, image_id):
    asked = ("--vcpus", "2", "--threads-per-core", "2", "--memory-mib", "256", "--whole-cores")
    (made,) = json.loads(stead("add", "lab.fast", *asked, "--output", "json"))
    assert (made["whole"], made["offered"]) == ("cores", True)
    (made,) = json.loads(stead("add", "lab.huge", *asked, "--huge-pages", "--output", "json"))
    assert (made["whole"], made["offered"]) == ("cores and huge pages", False)
    stead("add", "lab.odd", "--vcpus", "1", "--memory-mib", "256", "--huge-pages", fails="types with whole cores")

    def launch(count):
        asked = {"ImageId": image_id, "InstanceType": "lab.fast", "MinCount": count, "MaxCount": count}
        return [one["InstanceId"] for one in account.ec2.run_instances(**asked)["Instances"]]

    def holders():
        hosts = [cloud.operator.show_host(host.id) for host in cloud.operator.list_hosts()]
        return sorted(core.instance_id for host in hosts for core in host.whole_cores)

    both = launch(2)
    account.ec2.get_waiter("instance_running").wait(InstanceIds=both, WaiterConfig=FAST)
    assert holders() == sorted(both)
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        launch(1)
    account.ec2.terminate_instances(InstanceIds=both)
    account.ec2.get_waiter("instance_terminated").wait(InstanceIds=both, WaiterConfig=FAST)
    assert holders() == ["", ""]
    stead("remove", "lab.fast")
    stead("remove", "lab.huge")
