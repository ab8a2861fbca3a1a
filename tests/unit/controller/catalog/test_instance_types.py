"""The table of instance types holds what EC2 publishes."""

import re

import pytest

from stead_controller.catalog import instance_types

GIB = 1024**3
MIB = 1024**2


@pytest.mark.parametrize(
    ("name", "vcpus", "memory", "interfaces", "addresses"),
    [
        ("stead.tiny", 1, 128 * MIB, 2, 4),
        ("stead.mini", 1, 256 * MIB, 2, 4),
        ("stead.small", 1, 512 * MIB, 2, 4),
        ("t2.micro", 1, GIB, 2, 2),
        ("t3.nano", 2, GIB // 2, 2, 2),
        ("t3a.small", 2, 2 * GIB, 2, 4),
        ("t3.2xlarge", 8, 32 * GIB, 4, 15),
        ("m5.large", 2, 8 * GIB, 3, 10),
        ("c5.18xlarge", 72, 144 * GIB, 15, 50),
        ("c6i.32xlarge", 128, 256 * GIB, 15, 50),
        ("r7i.48xlarge", 192, 1536 * GIB, 15, 50),
        ("i3.16xlarge", 64, 488 * GIB, 15, 50),
        ("d3.8xlarge", 32, 256 * GIB, 3, 20),
    ],
)
def test_sizes_are_those_of_ec2(name, vcpus, memory, interfaces, addresses):
    found = instance_types.find(name)
    assert found is not None
    assert (found.vcpus, found.memory, found.max_interfaces, found.max_addresses) == (
        vcpus,
        memory,
        interfaces,
        addresses,
    )


def test_scratch_disks_come_with_the_storage_types_only():
    with_store = {name for name, found in instance_types.ALL.items() if found.instance_store}
    assert {name.split(".")[0] for name in with_store} == {"c5d", "d3", "i3", "m5d", "r5d"}
    store = instance_types.ALL["m5d.4xlarge"].instance_store
    assert store is not None
    assert store.total_size == 600


def test_an_unknown_name_is_no_type():
    assert instance_types.find("m5.huge") is None
    assert instance_types.find("") is None
    assert instance_types.find("M5.LARGE") is None


def test_every_type_is_well_formed():
    for name, found in instance_types.ALL.items():
        assert re.fullmatch(r"[a-z][a-z0-9]*\.[a-z0-9]+", name)
        assert found.name == name
        assert len(name) <= 32
        assert found.cores * found.threads_per_core in (found.vcpus, 1)
        assert found.memory % MIB == 0
        assert found.burstable == (found.family in {"t2", "t3", "t3a"})
