"""A tree as sysfs has it, with PCI devices, for tests without such hardware."""

from pathlib import Path
from typing import Final

GPU: Final = "10de:1eb8"


def add_device(
    root: Path,
    address: str,
    *,
    model: str = GPU,
    class_code: int = 0x030200,
    group: int | None = 7,
    driver: str = "",
    numa_node: int = 0,
    reset: str | None = "flr bus",
) -> Path:
    """Add a PCI device below `root` with its group and driver; with reset None the kernel cannot reset it."""
    folder = root / "bus/pci/devices" / address
    folder.mkdir(parents=True)
    vendor, _, device = model.partition(":")
    files = {
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "class": f"0x{class_code:06x}",
        "driver_override": "(null)",
    }
    for name, text in {**files, "numa_node": str(numa_node)}.items():
        (folder / name).write_text(f"{text}\n")
    if reset is not None:
        (folder / "reset").touch()
        (folder / "reset_method").write_text(f"{reset}\n")
    if group is not None:
        members = root / "kernel/iommu_groups" / str(group) / "devices"
        members.mkdir(parents=True, exist_ok=True)
        (members / address).symlink_to(folder)
        (folder / "iommu_group").symlink_to(members.parent)
    if driver:
        bound = root / "bus/pci/drivers" / driver
        bound.mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(bound)
        (bound / address).symlink_to(folder)
    return folder
