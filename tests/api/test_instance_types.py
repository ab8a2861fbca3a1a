"""Instance types and their offerings through boto3."""

import pytest

from stead_controller.catalog import instance_types

OFFERED = sorted(name for name, kind in instance_types.ALL.items() if kind.offered)


def names(api, **asked):
    pages = api.ec2.get_paginator("describe_instance_types").paginate(**asked)
    return [one["InstanceType"] for page in pages for one in page["InstanceTypes"]]


def by(api, name, *values):
    return names(api, Filters=[{"Name": name, "Values": list(values)}])


def test_all_types_in_pages(api):
    first = api.ec2.describe_instance_types()
    assert len(first["InstanceTypes"]) == 100
    assert names(api) == OFFERED
    assert names(api, PaginationConfig={"PageSize": 7}) == OFFERED


def test_types_that_are_not_offered_are_listed_if_asked_for(api):
    assert names(api, IncludeUnsupportedInRegion=True) == sorted(instance_types.ALL)
    asked = {"InstanceTypes": ["t3.micro", "t4g.micro", "g5.xlarge"]}
    shown = api.ec2.describe_instance_types(**asked, IncludeUnsupportedInRegion=True)["InstanceTypes"]
    assert [(one["InstanceType"], one["SupportedInRegion"]) for one in shown] == [
        ("g5.xlarge", False),
        ("t3.micro", True),
        ("t4g.micro", False),
    ]
    api.refused("InvalidInstanceType", api.ec2.describe_instance_types, **asked)


@pytest.mark.parametrize("name", ["t4g.micro", "g4dn.xlarge"])
def test_a_type_that_is_not_offered_cannot_be_had(api, name):
    params = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1}
    api.refused("Unsupported", api.ec2.run_instances, **params, InstanceType=name)
    (made,) = api.ec2.run_instances(**params, InstanceType="t3.micro")["Instances"]
    modify = api.ec2.modify_instance_attribute
    api.refused("Unsupported", modify, InstanceId=made["InstanceId"], InstanceType={"Value": name})


def test_one_type(api):
    (shown,) = api.ec2.describe_instance_types(InstanceTypes=["stead.tiny"])["InstanceTypes"]
    assert shown["VCpuInfo"]["DefaultVCpus"] == 1
    assert shown["MemoryInfo"] == {"SizeInMiB": 128}
    assert shown["Hypervisor"] == "nitro"
    assert "InstanceStorageInfo" not in shown
    assert shown["AutoRecoverySupported"]
    (shown,) = api.ec2.describe_instance_types(InstanceTypes=["m5d.xlarge"])["InstanceTypes"]
    assert shown["InstanceStorageInfo"]["TotalSizeInGB"] == 150
    assert not shown["AutoRecoverySupported"]
    assert shown["NetworkInfo"]["MaximumNetworkInterfaces"] == 4
    assert (shown["NetworkInfo"]["Ipv6Supported"], shown["NetworkInfo"]["Ipv6AddressesPerInterface"]) == (True, 15)
    assert shown["EbsInfo"]["EncryptionSupport"] == "supported"


def test_filters(api):
    assert by(api, "instance-type", "t3.*", "t2.micro") == sorted(
        name for name in OFFERED if name.startswith("t3.") or name == "t2.micro"
    )
    assert by(api, "vcpu-info.default-vcpus", "192") == ["c7i.48xlarge", "m7i.48xlarge", "r7i.48xlarge"]
    assert by(api, "memory-info.size-in-mib", "512") == ["stead.small", "t2.nano", "t3.nano", "t3a.nano"]
    assert set(by(api, "auto-recovery-supported", "false")) == set(by(api, "instance-storage-supported", "true"))
    assert set(by(api, "instance-storage-supported", "true")) == {
        name for name in OFFERED if instance_types.ALL[name].instance_store
    }
    assert set(by(api, "burstable-performance-supported", "true")) == {
        name for name in OFFERED if name.split(".")[0] in ("t2", "t3", "t3a")
    }
    assert by(api, "processor-info.supported-architecture", "arm64") == []
    api.refused(
        "InvalidParameterValue", api.ec2.describe_instance_types, Filters=[{"Name": "colour", "Values": ["red"]}]
    )


def test_the_free_tier(api):
    assert by(api, "free-tier-eligible", "true") == ["t2.micro", "t3.micro", "t3.small"]
    shown = api.ec2.describe_instance_types(InstanceTypes=["t3.micro", "t3.nano"])["InstanceTypes"]
    assert {one["InstanceType"]: one["FreeTierEligible"] for one in shown} == {"t3.micro": True, "t3.nano": False}


def test_all_may_be_had_as_spot_instances(api):
    """Karpenter and others choose by these fields."""
    shown = api.ec2.describe_instance_types(InstanceTypes=["t3.micro"])["InstanceTypes"]
    for usage in ("on-demand", "spot"):
        filters = [{"Name": "supported-usage-class", "Values": [usage]}]
        assert api.ec2.describe_instance_types(InstanceTypes=["t3.micro"], Filters=filters)["InstanceTypes"] == shown
    assert shown[0]["SupportedUsageClasses"] == ["on-demand", "spot"]


def test_unknown_types(api):
    api.refused("InvalidInstanceType", api.ec2.describe_instance_types, InstanceTypes=["t3.micro", "t9.micro"])


def test_every_type_is_offered_everywhere(api):
    paginator = api.ec2.get_paginator("describe_instance_type_offerings")

    def places(location_type, **asked):
        pages = paginator.paginate(LocationType=location_type, **asked)
        return [(one["InstanceType"], one["Location"]) for page in pages for one in page["InstanceTypeOfferings"]]

    assert len(places("region")) == len(OFFERED)
    micro = [{"Name": "instance-type", "Values": ["t3.micro"]}]
    assert places("availability-zone", Filters=micro) == [("t3.micro", "us-east-1a"), ("t3.micro", "us-east-1b")]
    assert places("availability-zone-id", Filters=micro) == [("t3.micro", "use1-az1"), ("t3.micro", "use1-az2")]
    assert places("outpost") == []
    in_zone = [{"Name": "location", "Values": ["us-east-1b"]}]
    assert len(places("availability-zone", Filters=in_zone, PaginationConfig={"PageSize": 11})) == len(OFFERED)
    api.refused("InvalidParameterValue", api.ec2.describe_instance_type_offerings, LocationType="planet")
