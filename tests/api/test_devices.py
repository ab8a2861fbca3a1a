"""Types with GPUs through boto3: offered where a host has such, given to one instance at a time."""

import pytest

from stead_controller.db.tables import HostDevice

TYPE = "g4dn.xlarge"


@pytest.fixture
def card(api):
    """The world's host has one T4."""
    device = HostDevice(host_id=api.world.host_id, address="0000:01:00.0", model="10de:1eb8", iommu_group=7)
    api.run(lambda tx: tx.session.add(device))


def run(api, **changes):
    params = {"ImageId": api.world.image_id, "InstanceType": TYPE, "MinCount": 1, "MaxCount": 1}
    return api.ec2.run_instances(**params | changes)["Instances"]


def test_a_type_whose_gpus_a_host_has_is_described_with_them(api, card):
    (shown,) = api.ec2.describe_instance_types(InstanceTypes=[TYPE])["InstanceTypes"]
    assert shown["SupportedInRegion"]
    assert shown["GpuInfo"] == {
        "Gpus": [{"Name": "T4", "Manufacturer": "NVIDIA", "Count": 1, "MemoryInfo": {"SizeInMiB": 16384}}],
        "TotalGpuMemoryInMiB": 16384,
    }
    all_types = api.ec2.describe_instance_types(Filters=[{"Name": "instance-type", "Values": ["g4dn.*", "g5.*"]}])
    assert [one["InstanceType"] for one in all_types["InstanceTypes"]] == [
        f"g4dn.{size}" for size in ("16xlarge", "2xlarge", "4xlarge", "8xlarge", "xlarge")
    ]


def test_it_is_offered_in_the_zone_of_that_host(api, card):
    asked = {"Filters": [{"Name": "instance-type", "Values": [TYPE]}]}
    found = api.ec2.describe_instance_type_offerings(LocationType="availability-zone", **asked)
    assert [one["Location"] for one in found["InstanceTypeOfferings"]] == ["us-east-1a"]
    found = api.ec2.describe_instance_type_offerings(**asked)
    assert [one["Location"] for one in found["InstanceTypeOfferings"]] == ["us-east-1"]


def test_who_needs_a_gpu_finds_the_type(api, card):
    asked = {
        "ArchitectureTypes": ["x86_64"],
        "VirtualizationTypes": ["hvm"],
        "InstanceRequirements": {
            "VCpuCount": {"Min": 1},
            "MemoryMiB": {"Min": 1},
            "AcceleratorCount": {"Min": 1},
            "AcceleratorManufacturers": ["nvidia"],
        },
    }
    found = api.ec2.get_instance_types_from_instance_requirements(**asked)["InstanceTypes"]
    assert TYPE in [one["InstanceType"] for one in found]
    assert {one["InstanceType"].split(".")[0] for one in found} == {"g4dn"}


def test_one_gpu_is_given_to_one_instance(api, card):
    (made,) = run(api)
    api.refused("InsufficientInstanceCapacity", run, api=api)
    holder = api.run(lambda tx: tx.session.get_one(HostDevice, (api.world.host_id, "0000:01:00.0")).instance_id)
    assert holder == made["InstanceId"]


def test_in_a_zone_without_it_the_type_is_not_supported(api, card):
    message = api.refused("Unsupported", run, api=api, Placement={"AvailabilityZone": "us-east-1b"})
    assert "Availability Zone (us-east-1b)" in message
