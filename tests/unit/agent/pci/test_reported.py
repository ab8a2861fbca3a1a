"""What the agent reports of PCI devices, and what `stead doctor` says of them."""

import pytest

from stead_agent import doctor, facts
from stead_agent.settings import DeviceSettingError, parse_device
from stead_proto.v1 import host_pb2
from tests.support import sysfs


def checks(root, *named):
    return {found.name: (found.status, found.detail) for found in doctor.device_checks(named, root)}


def test_only_devices_that_the_operator_named_are_reported(tmp_path):
    sysfs.add_device(tmp_path, "0000:01:00.0", group=12, driver="nouveau", numa_node=1)
    sysfs.add_device(tmp_path, "0000:02:00.0", model="8086:10d3", class_code=0x020000, group=13)
    assert facts.pci_devices((), tmp_path) == []
    assert facts.pci_devices(("10de:1eb8",), tmp_path) == [
        host_pb2.PciDevice(
            address="0000:01:00.0",
            model="10de:1eb8",
            class_code=0x030200,
            iommu_group=12,
            driver="nouveau",
            numa_node=1,
            reset="flr bus",
        )
    ]


def test_why_a_device_cannot_be_given_is_reported(tmp_path):
    sysfs.add_device(tmp_path, "0000:01:00.0", group=None)
    (found,) = facts.pci_devices(("0000:01:00.0",), tmp_path)
    assert found.refusal == "it has no IOMMU group: the IOMMU is off"


def test_the_doctor_says_nothing_where_no_device_is_named(tmp_path):
    assert checks(tmp_path) == {}


def test_the_doctor_finds_what_is_missing(tmp_path):
    sysfs.add_device(tmp_path, "0000:01:00.0", group=None)
    found = checks(tmp_path, "0000:01:00.0", "10de:2237")
    assert found == {
        "IOMMU": ("failed", "off: no guest can have a device"),
        "vfio-pci": ("failed", "not loaded"),
        "device 0000:01:00.0": ("failed", "it has no IOMMU group: the IOMMU is off"),
        "device 10de:2237": ("failed", "this host has none"),
    }


def test_the_doctor_is_content_with_a_device_that_can_be_given(tmp_path):
    sysfs.add_device(tmp_path, "0000:01:00.0", group=12)
    (tmp_path / "bus/pci/drivers/vfio-pci").mkdir(parents=True)
    assert checks(tmp_path, "10de:1eb8") == {
        "IOMMU": ("ok", "on, with 1 groups"),
        "vfio-pci": ("ok", "loaded"),
        "device 0000:01:00.0": ("ok", "10de:1eb8, in IOMMU group 12, can be reset by flr bus"),
    }


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("01:00.0", "0000:01:00.0"), ("0000:0A:00.1", "0000:0a:00.1"), ("10DE:1eb8", "10de:1eb8")],
)
def test_names_of_devices_are_parsed(text, parsed):
    assert parse_device(text) == parsed


@pytest.mark.parametrize("text", ["", "gpu", "01:00", "01:00.8", "10de:1eb8:", "0000:01:00.0 "])
def test_what_names_no_device_is_refused(text):
    with pytest.raises(DeviceSettingError, match="neither a PCI address"):
        parse_device(text)
