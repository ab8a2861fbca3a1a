"""What is read of PCI devices in sysfs."""

from stead_agent.pci import inventory
from stead_agent.pci.inventory import PciDevice
from tests.support import sysfs


def test_a_device_is_read_with_all_that_sysfs_says(tmp_path):
    sysfs.add_device(tmp_path, "0000:01:00.0", group=12, driver="nouveau", numa_node=1, reset="flr bus")
    assert inventory.read(tmp_path) == [
        PciDevice("0000:01:00.0", "10de:1eb8", 0x030200, 12, "nouveau", numa_node=1, reset="flr bus")
    ]


def test_devices_without_group_driver_node_or_reset(tmp_path):
    folder = sysfs.add_device(tmp_path, "0000:02:00.0", group=None, numa_node=-1, reset=None)
    (folder / "numa_node").unlink()  # as a kernel without NUMA has it
    (found,) = inventory.read(tmp_path)
    assert (found.iommu_group, found.driver, found.numa_node, found.reset) == (None, "", -1, "")


def test_a_kernel_before_5_15_names_no_way_to_reset(tmp_path):
    (sysfs.add_device(tmp_path, "0000:02:00.0") / "reset_method").unlink()
    assert inventory.read(tmp_path)[0].reset == "default"


def test_devices_are_in_the_order_of_their_addresses_and_what_is_none_is_left_out(tmp_path):
    for address in ("0000:03:00.0", "0000:01:00.1", "0000:01:00.0"):
        sysfs.add_device(tmp_path, address)
    (tmp_path / "bus/pci/devices/power").mkdir()
    (tmp_path / "bus/pci/devices/0000:09:00.0").mkdir()  # it vanished while it was read
    assert [found.address for found in inventory.read(tmp_path)] == ["0000:01:00.0", "0000:01:00.1", "0000:03:00.0"]


def test_a_host_without_pci_has_no_devices(tmp_path):
    assert inventory.read(tmp_path) == []


def test_bridges_are_known_by_their_class(tmp_path):
    sysfs.add_device(tmp_path, "0000:00:01.0", class_code=0x060400)
    sysfs.add_device(tmp_path, "0000:01:00.0", class_code=0x020000)
    assert [found.is_bridge for found in inventory.read(tmp_path)] == [True, False]
