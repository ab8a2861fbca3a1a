"""The files of instance types hold what EC2 publishes, and no file contradicts itself."""

import itertools
import re

import pytest

from stead_controller.catalog import instance_types
from stead_controller.catalog.instance_type import DeviceCount, EbsLimit
from stead_controller.catalog.instance_type_document import BadDocumentError

GIB = 1024**3
MIB = 1024**2
ALL = sorted(instance_types.ALL.values(), key=lambda found: found.name)
FAMILIES = {family: list(members) for family, members in itertools.groupby(ALL, key=lambda found: found.family)}


@pytest.mark.parametrize(
    ("name", "vcpus", "memory", "interfaces", "addresses"),
    [
        ("stead.pico", 1, 96 * MIB, 2, 4),
        ("stead.tiny", 1, 128 * MIB, 2, 4),
        ("stead.mini", 1, 256 * MIB, 2, 4),
        ("stead.small", 1, 512 * MIB, 2, 4),
        ("t1.micro", 1, 627 * MIB, 2, 2),
        ("m1.small", 1, 1740 * MIB, 2, 4),
        ("t2.micro", 1, GIB, 2, 2),
        ("t3.nano", 2, GIB // 2, 2, 2),
        ("t3a.small", 2, 2 * GIB, 2, 4),
        ("t3.2xlarge", 8, 32 * GIB, 4, 15),
        ("t4g.medium", 2, 4 * GIB, 3, 6),
        ("m4.10xlarge", 40, 160 * GIB, 8, 30),
        ("m5.large", 2, 8 * GIB, 3, 10),
        ("c5.18xlarge", 72, 144 * GIB, 15, 50),
        ("c6i.32xlarge", 128, 256 * GIB, 15, 50),
        ("r7i.48xlarge", 192, 1536 * GIB, 15, 50),
        ("x1.32xlarge", 128, 1952 * GIB, 8, 30),
        ("i3.16xlarge", 64, 488 * GIB, 15, 50),
        ("i4i.4xlarge", 16, 128 * GIB, 8, 30),
        ("d3.8xlarge", 32, 256 * GIB, 3, 20),
        ("g4dn.xlarge", 4, 16 * GIB, 3, 10),
        ("g5.48xlarge", 192, 768 * GIB, 7, 50),
        ("p3.2xlarge", 8, 61 * GIB, 4, 15),
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


@pytest.mark.parametrize(
    ("name", "network", "ebs"),
    [
        ("t3.micro", (64, 5000), EbsLimit(87, 2085, 500, 11800)),
        ("m5.large", (750, 10000), EbsLimit(650, 4750, 3600, 18750)),
        ("c5.9xlarge", (12000, 12000), EbsLimit(9500, 9500, 40000, 40000)),
        ("m7i.48xlarge", (50000, 50000), EbsLimit(40000, 40000, 240000, 240000)),
        ("i3.large", (750, 10000), EbsLimit(425, 425, 3000, 3000)),
        ("g4dn.xlarge", (5000, 25000), EbsLimit(950, 3500, 3000, 20000)),
        ("t2.micro", (64, 1024), None),
    ],
)
def test_bandwidths_are_those_of_ec2(name, network, ebs):
    found = instance_types.ALL[name]
    assert (found.network_baseline_mbps, found.network_burst_mbps) == network
    assert found.ebs == ebs


@pytest.mark.parametrize(
    ("name", "earned"),
    [
        ("t2.nano", (3, 72, 5)),
        ("t2.2xlarge", (81.6, 1958.4, 17)),
        ("t3.micro", (12, 288, 10)),
        ("t3a.xlarge", (96, 2304, 40)),
    ],
)
def test_credits_are_those_of_ec2(name, earned):
    found = instance_types.ALL[name].credits
    assert found is not None
    assert (found.per_hour, found.most, found.baseline_percent) == earned


@pytest.mark.parametrize(
    ("name", "cores"),
    [
        ("t3.micro", (1,)),
        ("t3.2xlarge", (2, 4)),
        ("t2.large", (1, 2)),
        ("m5.xlarge", (2,)),
        ("m5.4xlarge", (2, 4, 6, 8)),
        ("m6i.xlarge", (1, 2)),
        ("m7i.2xlarge", (1, 2, 3, 4)),
        ("x1.32xlarge", tuple(range(4, 65, 4))),
    ],
)
def test_valid_cores_are_those_of_ec2(name, cores):
    assert instance_types.ALL[name].valid_cores == cores


def test_instance_stores_come_with_their_families_only():
    with_store = {found.name for found in ALL if found.instance_store}
    assert {name.split(".")[0] for name in with_store} == {
        "c5d",
        "d3",
        "g4dn",
        "g5",
        "i3",
        "i4i",
        "m1",
        "m5d",
        "r5d",
        "x1",
    }
    store = instance_types.ALL["m5d.4xlarge"].instance_store
    assert store is not None
    assert store.total_size == 600


def test_what_cannot_run_on_any_host_is_not_offered():
    assert {found.family for found in ALL if not found.offered} == {"t4g", "g4dn", "g5", "p3"}
    gpus = instance_types.ALL["g5.12xlarge"].gpus
    assert gpus is not None
    assert (gpus.count, gpus.name, gpus.memory) == (4, "A10G", 24576)
    assert instance_types.ALL["g5.12xlarge"].devices == (DeviceCount("10de:2237", 4),)
    assert {found.family for found in ALL if found.architecture != "x86_64"} == {"t4g"}


def test_an_unknown_name_is_no_type():
    assert instance_types.find("m5.huge") is None
    assert instance_types.find("") is None
    assert instance_types.find("M5.LARGE") is None


@pytest.mark.parametrize("found", ALL, ids=lambda found: found.name)
def test_every_type_is_well_formed(found):
    assert re.fullmatch(r"[a-z][a-z0-9]*\.[a-z0-9]+", found.name)
    assert len(found.name) <= 32
    assert found.cores * found.threads_per_core == found.vcpus
    assert found.valid_cores[-1] == found.cores
    assert list(found.valid_cores) == sorted(set(found.valid_cores))
    assert found.valid_threads_per_core[-1] == found.threads_per_core
    assert found.memory % MIB == 0
    assert found.network_baseline_mbps <= found.network_burst_mbps
    assert found.ebs_optimized == ("default" if found.ebs else "unsupported")
    assert found.burstable == (found.family in {"t2", "t3", "t3a", "t4g"})


@pytest.mark.parametrize("found", [one for one in ALL if one.credits], ids=lambda found: found.name)
def test_credits_pay_the_baseline_and_are_saved_for_a_day(found):
    assert found.credits.per_hour == pytest.approx(found.vcpus * 60 * found.credits.baseline_percent / 100)
    assert found.credits.most == pytest.approx(24 * found.credits.per_hour)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_larger_size_has_no_less(family):
    ordered = sorted(FAMILIES[family], key=lambda found: (found.memory, found.vcpus))
    for less, more in itertools.pairwise(ordered):
        assert less.memory < more.memory
        assert less.vcpus <= more.vcpus
        assert less.ebs is more.ebs is None or less.ebs.max_mbps <= more.ebs.max_mbps
        assert less.ebs is more.ebs is None or less.ebs.max_iops <= more.ebs.max_iops
        # A g5.16xlarge has one GPU, as the 8xlarge, and less network than the 12xlarge with four.
        if family != "g5":
            assert less.network_baseline_mbps <= more.network_baseline_mbps


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "m9.toml").write_text("family = m9")
    with pytest.raises(BadDocumentError, match=r"m9\.toml: Invalid value"):
        list(instance_types.load(tmp_path))


def test_a_file_is_called_as_its_family(tmp_path):
    (tmp_path / "m9.toml").write_text('family = "m8"')
    with pytest.raises(BadDocumentError, match=r"m9\.toml: family must be 'm9'"):
        list(instance_types.load(tmp_path))
