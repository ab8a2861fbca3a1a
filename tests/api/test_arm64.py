"""Instances of another architecture than most hosts have, through boto3: where they are offered, and what is refused."""

import pytest
from sqlalchemy import update

from stead_controller.catalog import instance_types
from stead_controller.db.tables import Host, Instance
from tests.support import rows

T4G = sorted(name for name, kind in instance_types.ALL.items() if kind.family == "t4g")
ARM = [{"Name": "processor-info.supported-architecture", "Values": ["arm64"]}]


@pytest.fixture
def arm_image(api):
    """An image of the architecture arm64, which says nothing of its boot mode."""

    def add(tx):
        row = rows.snapshot(api.world.one.caller.account_id)
        tx.session.add(row)
        return row.id

    devices = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": api.run(add)}}]
    params = {"Name": "arm", "BlockDeviceMappings": devices, "RootDeviceName": "/dev/sda1", "Architecture": "arm64"}
    return api.ec2.register_image(**params)["ImageId"]


@pytest.fixture
def emulating(api):
    """Let the host of the world run arm64 instances."""
    api.run(lambda tx: tx.session.execute(update(Host).where(Host.id == api.world.host_id).values(emulates="arm64")))


def launch(api, image_id, instance_type, **changes):
    params = {"ImageId": image_id, "InstanceType": instance_type, "MinCount": 1, "MaxCount": 1}
    return api.ec2.run_instances(**params | changes)["Instances"][0]


def offered(api):
    return [one["InstanceType"] for one in api.ec2.describe_instance_types(Filters=ARM)["InstanceTypes"]]


def zones_of(api, name):
    asked = {"LocationType": "availability-zone", "Filters": [{"Name": "instance-type", "Values": [name]}]}
    return [one["Location"] for one in api.ec2.describe_instance_type_offerings(**asked)["InstanceTypeOfferings"]]


def test_without_a_host_that_runs_them_nothing_of_them_is_offered(api, arm_image):
    assert offered(api) == []
    assert zones_of(api, "t4g.nano") == []
    api.refused("Unsupported", launch, api=api, image_id=arm_image, instance_type="t4g.nano")


def test_types_are_offered_where_a_host_emulates_them_and_instances_are_placed_there(api, arm_image, emulating):
    assert offered(api) == T4G
    assert zones_of(api, "t4g.nano") == ["us-east-1a"]
    assert zones_of(api, "t3.nano") == ["us-east-1a", "us-east-1b"]
    made = launch(api, arm_image, "t4g.nano")
    assert (made["Architecture"], made["BootMode"], made["CurrentInstanceBootMode"]) == ("arm64", "uefi", "uefi")
    assert made["Placement"]["AvailabilityZone"] == "us-east-1a"
    host = api.run(lambda tx: tx.session.get_one(Instance, made["InstanceId"]).host_id)
    assert host == api.world.host_id


def test_image_and_type_must_be_of_one_architecture(api, arm_image, emulating):
    words = api.refused("InvalidParameterValue", launch, api=api, image_id=arm_image, instance_type="t3.nano")
    assert "The architecture 'x86_64' of the specified instance type does not match the architecture 'arm64'" in words
    words = api.refused("InvalidParameterValue", launch, api=api, image_id=api.world.image_id, instance_type="t4g.nano")
    assert "The architecture 'arm64' of the specified instance type does not match the architecture 'x86_64'" in words
    stopped = launch(api, arm_image, "t4g.nano")["InstanceId"]
    api.run(lambda tx: tx.session.execute(update(Instance).where(Instance.id == stopped).values(state="stopped")))
    modify = api.ec2.modify_instance_attribute
    words = api.refused("InvalidParameterValue", modify, InstanceId=stopped, InstanceType={"Value": "t3.nano"})
    assert "'arm64' of the instance" in words
    modify(InstanceId=stopped, InstanceType={"Value": "t4g.micro"})


def test_what_such_an_instance_has_not_is_refused(api, arm_image, emulating):
    hibernates = {"HibernationOptions": {"Configured": True}}
    api.refused(
        "UnsupportedHibernationConfiguration",
        launch, api=api, image_id=arm_image, instance_type="t4g.nano", **hibernates,
    )  # fmt: skip
    made = launch(api, arm_image, "t4g.nano")["InstanceId"]
    api.run(lambda tx: tx.session.execute(update(Instance).where(Instance.id == made).values(state="running")))
    api.refused("UnsupportedOperation", api.ec2.get_console_screenshot, InstanceId=made)
    api.refused("UnsupportedOperation", api.ec2.send_diagnostic_interrupt, InstanceId=made)


def test_such_an_image_boots_by_uefi(api, arm_image):
    (image,) = api.ec2.describe_images(ImageIds=[arm_image])["Images"]
    assert (image["Architecture"], image["BootMode"]) == ("arm64", "uefi")


def test_what_the_aws_command_shows_of_types_and_is_refused(account, image_id):
    """Where no host runs them: they are not offered, and a launch says why; what EBS does for a type is shown."""
    described = ("ec2", "describe-instance-types", "--query", "InstanceTypes[].[InstanceType,EbsInfo.EbsOptimizedInfo]")
    (shown,) = account.aws(*described, "--instance-types", "t3.nano")
    assert shown == ["t3.nano", {
        "BaselineBandwidthInMbps": 43, "BaselineThroughputInMBps": 5.375, "BaselineIops": 250,
        "MaximumBandwidthInMbps": 2085, "MaximumThroughputInMBps": 260.625, "MaximumIops": 11800,
    }]  # fmt: skip
    arm = "Name=processor-info.supported-architecture,Values=arm64"
    assert account.aws(*described, "--filters", arm) == []
    least = "Name=ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps,Values=43"
    assert "t3.nano" in [name for name, _ in account.aws(*described, "--filters", least)]
    run = ("ec2", "run-instances", "--image-id", image_id, "--instance-type", "t4g.nano")
    assert "(Unsupported)" in account.aws_result(*run).stderr
