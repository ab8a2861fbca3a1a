"""GetInstanceTypesFromInstanceRequirements through boto3: each attribute chooses among the offered types."""

import pytest

from stead_controller.catalog import instance_types

OFFERED = [kind for _, kind in sorted(instance_types.ALL.items()) if kind.offered]


def asked(architectures=("x86_64",), virtualization=("hvm",), **requirements):
    least = {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}, "BurstablePerformance": "included"}
    return {
        "ArchitectureTypes": list(architectures),
        "VirtualizationTypes": list(virtualization),
        "InstanceRequirements": least | requirements,
    }


def names(api, *params, **requirements):
    pages = api.ec2.get_paginator("get_instance_types_from_instance_requirements")
    found = pages.paginate(**asked(*params, **requirements))
    return [one["InstanceType"] for page in found for one in page["InstanceTypes"]]


def those(test):
    found = [kind.name for kind in OFFERED if test(kind)]
    assert 0 < len(found) < len(OFFERED)
    return found


def test_whoever_asks_for_little_gets_all_that_are_offered(api):
    everything = [kind.name for kind in OFFERED]
    assert names(api) == everything
    paginator = api.ec2.get_paginator("get_instance_types_from_instance_requirements")
    pages = list(paginator.paginate(**asked(), PaginationConfig={"PageSize": 50}))
    assert [len(page["InstanceTypes"]) for page in pages[:2]] == [50, 50]
    assert [one["InstanceType"] for page in pages for one in page["InstanceTypes"]] == everything


@pytest.mark.parametrize(
    ("requirements", "test"),
    [
        ({"VCpuCount": {"Min": 2, "Max": 8}}, lambda kind: 2 <= kind.vcpus <= 8),
        ({"MemoryMiB": {"Min": 4096, "Max": 8192}}, lambda kind: 4096 <= kind.memory_mib <= 8192),
        ({"CpuManufacturers": ["amd"]}, lambda kind: kind.manufacturer == "AMD"),
        ({"CpuManufacturers": ["stead"]}, lambda kind: kind.family == "stead"),
        ({"MemoryGiBPerVCpu": {"Max": 2}}, lambda kind: kind.memory_mib <= 2048 * kind.vcpus),
        ({"MemoryGiBPerVCpu": {"Min": 8.5}}, lambda kind: kind.memory_mib >= 8704 * kind.vcpus),
        (
            {"ExcludedInstanceTypes": ["m5*", "r?i.large"]},
            lambda kind: kind.family not in ("m5", "m5d") and kind.name not in ("r6i.large", "r7i.large"),
        ),
        ({"AllowedInstanceTypes": ["c7i.*", "t3.micro"]}, lambda kind: kind.family == "c7i" or kind.name == "t3.micro"),
        ({"InstanceGenerations": ["previous"]}, lambda kind: not kind.current_generation),
        ({"BurstablePerformance": "excluded"}, lambda kind: not kind.burstable),
        ({"BurstablePerformance": "required"}, lambda kind: kind.burstable),
        ({"RequireHibernateSupport": True}, lambda kind: not kind.instance_store and kind.memory <= 150 << 30),
        ({"NetworkInterfaceCount": {"Min": 15}}, lambda kind: kind.max_interfaces >= 15),
        ({"LocalStorage": "required"}, lambda kind: kind.instance_store),
        ({"LocalStorage": "excluded"}, lambda kind: not kind.instance_store),
        (
            {"LocalStorage": "required", "LocalStorageTypes": ["hdd"]},
            lambda kind: kind.instance_store and kind.instance_store.medium == "hdd",
        ),
        (
            {"TotalLocalStorageGB": {"Min": 1900}},
            lambda kind: kind.instance_store and kind.instance_store.total_size >= 1900,
        ),
        (
            {"BaselineEbsBandwidthMbps": {"Min": 650, "Max": 700}},
            lambda kind: kind.ebs and 650 <= kind.ebs.baseline_mbps <= 700,
        ),
        ({"NetworkBandwidthGbps": {"Min": 50}}, lambda kind: kind.network_baseline_mbps >= 50000),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, dict) else "",
)
def test_each_attribute_chooses(api, requirements, test):
    assert names(api, **requirements) == those(test)


def test_burstable_types_must_be_asked_for(api):
    params = asked()
    del params["InstanceRequirements"]["BurstablePerformance"]
    found = api.ec2.get_instance_types_from_instance_requirements(**params)["InstanceTypes"]
    assert [one["InstanceType"] for one in found] == those(lambda kind: not kind.burstable)


@pytest.mark.parametrize(
    ("params", "requirements"),
    [
        ((["arm64"],), {}),
        ((["x86_64"], ["paravirtual"]), {}),
        ((), {"BareMetal": "required"}),
        ((), {"RequireEncryptionInTransit": True}),
        ((), {"AcceleratorCount": {"Min": 1}}),
        ((), {"AcceleratorTypes": ["gpu"]}),
        ((), {"AcceleratorNames": ["t4"]}),
        ((), {"AcceleratorManufacturers": ["nvidia"]}),
        ((), {"AcceleratorTotalMemoryMiB": {"Min": 1}}),
    ],
)
def test_what_nothing_here_has_is_found_nowhere(api, params, requirements):
    assert names(api, *params, **requirements) == []


@pytest.mark.parametrize(
    ("requirements", "code"),
    [
        ({"VCpuCount": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"MemoryMiB": {"Min": -1}}, "InvalidParameterValue"),
        ({"MemoryGiBPerVCpu": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"NetworkInterfaceCount": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"TotalLocalStorageGB": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"AcceleratorCount": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"AcceleratorTotalMemoryMiB": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"NetworkBandwidthGbps": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"BareMetal": "perhaps"}, "InvalidParameterValue"),
        ({"BurstablePerformance": "perhaps"}, "InvalidParameterValue"),
        ({"LocalStorage": "perhaps"}, "InvalidParameterValue"),
        ({"AllowedInstanceTypes": ["a*"], "ExcludedInstanceTypes": ["b*"]}, "InvalidParameterCombination"),
        ({"AllowedInstanceTypes": ["a*"] * 401}, "InvalidParameterValue"),
        ({"SpotMaxPricePercentageOverLowestPrice": 20}, "UnsupportedOperation"),
        ({"BaselineEbsBandwidthMbps": {"Min": 4, "Max": 2}}, "InvalidParameterValue"),
        ({"CpuManufacturers": ["intel", "cyrix"]}, "InvalidParameterValue"),
        ({"InstanceGenerations": ["next"]}, "InvalidParameterValue"),
        ({"LocalStorageTypes": ["tape"]}, "InvalidParameterValue"),
        ({"AcceleratorTypes": ["pedal"]}, "InvalidParameterValue"),
    ],
)
def test_what_cannot_be_meant_is_refused(api, requirements, code):
    api.refused(code, api.ec2.get_instance_types_from_instance_requirements, **asked(**requirements))


@pytest.mark.parametrize("params", [(["x86"],), (["x86_64"], ["pv"])])
def test_unknown_architectures_and_ways_to_virtualize_are_refused(api, params):
    api.refused("InvalidParameterValue", api.ec2.get_instance_types_from_instance_requirements, **asked(*params))
