"""A document of a family becomes types, and each mistake in it is refused with its place."""

import copy
from typing import Any

import pytest

from stead_controller.catalog.instance_type import Credits, DeviceCount, EbsLimit, Gpus, InstanceStore
from stead_controller.catalog.instance_type_document import BadDocumentError, read_family

FAMILY: dict[str, Any] = {
    "family": "lab",
    "manufacturer": "Intel",
    "clock_speed_ghz": 2.5,
    "architecture": "x86_64",
    "threads_per_core": 2,
    "current_generation": True,
    "ebs_optimized": "default",
    "sizes": {
        "big": {
            "vcpus": 8,
            "memory_mib": 4096,
            "valid_cores": {"least": 2, "step": 2},
            "interfaces": 3,
            "addresses": 10,
            "network_mbps": {"baseline": 750, "burst": 10_000},
            "ebs_mbps": {"baseline": 650, "max": 4750},
            "ebs_iops": {"baseline": 3600, "max": 18_750},
            "instance_store": {"count": 2, "size_gb": 75, "medium": "ssd"},
            "credits": {"per_hour": 24, "max": 576, "baseline_percent": 5},
            "gpus": {"count": 1, "device": "10de:1eb8", "name": "T4", "manufacturer": "NVIDIA", "memory_mib": 16384},
        }
    },
}


def changed(*path, to=None):
    """The document with another value at a place, or without it."""
    document = copy.deepcopy(FAMILY)
    table: Any = document
    for key in path[:-1]:
        table = table[key]
    if to is None:
        del table[path[-1]]
    else:
        table[path[-1]] = to
    return document


def test_cores_and_memory_that_an_instance_has_alone_are_read():
    (plain,) = read_family("lab.toml", changed("sizes", "big", "instance_store"))
    assert (plain.whole_cores, plain.huge_pages) == (False, False)
    alone = changed("sizes", "big", "whole_cores", to=True)
    del alone["sizes"]["big"]["credits"], alone["sizes"]["big"]["instance_store"], alone["sizes"]["big"]["gpus"]
    (kind,) = read_family("lab.toml", alone)
    assert (kind.whole_cores, kind.huge_pages, kind.hibernation, kind.offered) == (True, False, False, False)
    alone["sizes"]["big"]["huge_pages"] = True
    (kind,) = read_family("lab.toml", alone)
    assert (kind.whole_cores, kind.huge_pages) == (True, True)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"whole_cores": True}, "no use for CPU credits"),
        ({"huge_pages": True}, "huge pages are for types with whole cores"),
        ({"whole_cores": True, "huge_pages": True, "credits": None, "memory_mib": 4095}, "4095 MiB are no whole pages"),
    ],
    ids=lambda each: "",
)
def test_what_an_instance_cannot_have_alone_is_refused(figures, words):
    document = changed("sizes", "big", "instance_store")
    document["sizes"]["big"] = {key: v for key, v in (document["sizes"]["big"] | figures).items() if v is not None}
    with pytest.raises(BadDocumentError, match=words):
        read_family("lab.toml", document)


def test_all_of_a_document_is_read():
    (found,) = read_family("lab.toml", FAMILY)
    assert (found.name, found.family, found.vcpus, found.memory) == ("lab.big", "lab", 8, 4 << 30)
    assert (found.cores, found.valid_cores, found.valid_threads_per_core) == (4, (2, 4), (1, 2))
    assert (found.max_interfaces, found.max_addresses) == (3, 10)
    assert (found.network_performance, found.network_baseline_mbps) == ("Up to 10 Gigabit", 750)
    assert found.ebs == EbsLimit(650, 4750, 3600, 18_750)
    assert found.instance_store == InstanceStore(2, 75, "ssd")
    assert found.credits == Credits(24, 576, 5)
    assert found.gpus == Gpus(1, "T4", "NVIDIA", 16384)
    assert found.devices == (DeviceCount("10de:1eb8", 1),)
    assert not found.offered
    assert (found.clock_speed, found.current_generation, found.free_tier) == (2.5, True, False)


@pytest.mark.parametrize(
    ("bandwidth", "words"),
    [
        ({"baseline": 10_000, "burst": 10_000}, "10 Gigabit"),
        ({"baseline": 781, "burst": 12_500}, "Up to 12.5 Gigabit"),
    ],
)
def test_the_network_is_said_in_ec2s_words(bandwidth, words):
    (found,) = read_family("lab.toml", changed("sizes", "big", "network_mbps", to=bandwidth))
    assert found.network_performance == words


def test_what_a_size_says_goes_before_its_family():
    (found,) = read_family("lab.toml", changed("sizes", "big", "clock_speed_ghz", to=3.6))
    assert found.clock_speed == 3.6


BIG = ("sizes", "big")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (changed("family"), "lab.toml: family is missing"),
        (changed("family", to="Lab"), "lab.toml: family must be lower-case letters and digits, not 'Lab'"),
        (changed("architecture", to="mips"), "lab.toml: architecture must be one of x86_64, arm64, not 'mips'"),
        (changed("threads_per_core", to=3), "lab.toml: sizes.big: 8 vcpus are no cores of 3 threads"),
        (changed("current_generation", to=1), "lab.toml: current_generation must be true or false, not 1"),
        (changed("colour", to="red"), "lab.toml: unknown key colour"),
        (changed("sizes", to={}), "lab.toml: a family needs at least one size"),
        (changed("sizes", to=[1]), r"lab.toml: sizes must be a table, not \[1\]"),
        (changed("sizes", "big", to=1), "lab.toml: sizes.big: must be a table"),
        (changed("sizes", to={"B G": FAMILY["sizes"]["big"]}), "lab.toml: sizes.B G: a size is at most nine"),
        (changed(*BIG, "vcpus"), "lab.toml: sizes.big: vcpus is missing"),
        (changed(*BIG, "vcpus", to=True), "lab.toml: sizes.big: vcpus must be a whole number, not True"),
        (changed(*BIG, "vcpus", to=2.5), "lab.toml: sizes.big: vcpus must be a whole number, not 2.5"),
        (changed(*BIG, "memory_mib", to=-1), "lab.toml: sizes.big: memory_mib must be from 1 to 2147483647, not -1"),
        (changed(*BIG, "memory_mib", to=1 << 31), "sizes.big: memory_mib must be from 1 to 2147483647"),
        (changed(*BIG, "colour", to="red"), "lab.toml: sizes.big: unknown key colour"),
        (changed(*BIG, "network_mbps"), "lab.toml: sizes.big: network_mbps is missing"),
        (changed(*BIG, "network_mbps", "baseline", to=20_000), "network_mbps: the baseline 20000 is more than burst"),
        (changed(*BIG, "network_mbps", "peak", to=1), "lab.toml: sizes.big: network_mbps: unknown key peak"),
        (changed(*BIG, "ebs_iops"), "lab.toml: sizes.big: ebs_mbps and ebs_iops belong together"),
        (changed(*BIG, "ebs_mbps"), "lab.toml: sizes.big: ebs_mbps and ebs_iops belong together"),
        (changed(*BIG, "ebs_iops", "baseline", to=99), "ebs_iops: baseline must be from 100 to"),
        (changed("ebs_optimized", to="unsupported"), "sizes.big: ebs_mbps is for types that are EBS-optimized"),
        (changed("ebs_optimized", to="supported"), "lab.toml: ebs_optimized must be one of unsupported, default"),
        (changed(*BIG, "valid_cores", "step", to=3), "valid_cores: steps of 3 from 2 do not reach 4 cores"),
        (changed(*BIG, "valid_cores", "least", to=5), "valid_cores: steps of 2 from 5 do not reach 4 cores"),
        (changed(*BIG, "instance_store", "medium", to="tape"), "medium must be one of ssd, hdd, not 'tape'"),
        (changed(*BIG, "instance_store", "colour", to="red"), "instance_store: unknown key colour"),
        (changed(*BIG, "credits", "per_hour", to=0), "credits: per_hour must be more than 0"),
        (changed(*BIG, "credits", "colour", to="red"), "credits: unknown key colour"),
        (changed(*BIG, "gpus", "name", to=4), "gpus: name must be a text, not 4"),
        (changed(*BIG, "gpus", "colour", to="red"), "gpus: unknown key colour"),
        (changed(*BIG, "valid_cores", "colour", to=1), "valid_cores: unknown key colour"),
    ],
)
def test_each_mistake_is_refused_with_its_place(document, words):
    with pytest.raises(BadDocumentError, match=words):
        read_family("lab.toml", document)


def test_a_type_may_have_devices_that_are_no_gpus():
    document = changed("sizes", "big", "gpus", to=None)
    document["sizes"]["big"]["devices"] = {"8086:10d3": 2, "1234:11e8": 1}
    (found,) = read_family("lab.toml", document)
    assert found.gpus is None
    assert found.devices == (DeviceCount("1234:11e8", 1), DeviceCount("8086:10d3", 2))
    del document["sizes"]["big"]["instance_store"]
    (without_store,) = read_family("lab.toml", document)
    assert not without_store.hibernation  # a device has a state that nothing saves


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ({"10de": 1}, "a device is vendor:device, such as 10de:1eb8, not '10de'"),
        ({"10DE:1EB8": 1}, "a device is vendor:device"),
        ({"10de:1eb8": 0}, "10de:1eb8 must be from 1 to 16, not 0"),
        ({"10de:1eb8": 17}, "10de:1eb8 must be from 1 to 16, not 17"),
        ({"10de:1eb8": "one"}, "10de:1eb8 must be a whole number"),
    ],
)
def test_what_names_no_devices_is_refused(devices, words):
    document = changed("sizes", "big", "gpus", to=None)
    document["sizes"]["big"]["devices"] = devices
    with pytest.raises(BadDocumentError, match=words):
        read_family("lab.toml", document)
