"""A tree as sysfs has it, with PCI devices, for tests without such hardware."""

import errno
import os
from pathlib import Path
from typing import Any, Final

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


class Kernel:
    """What a kernel does when somebody writes to the files of such a tree; `nodes` is its /dev/vfio."""

    def __init__(self, root: Path, nodes: Path) -> None:
        self.root = root
        self.nodes = nodes
        self.natural: dict[str, str] = {}  # the driver that a device gets without an override
        self.steps: list[tuple[str, str]] = []  # what was done, to which device
        self.stuck: set[str] = set()  # devices that cannot be reset
        self.has_vfio = True
        nodes.mkdir(exist_ok=True)

    def add(self, address: str, **changes: Any) -> None:
        """Add a device as `add_device` does; its driver is what it gets again."""
        add_device(self.root, address, **changes)
        self.natural[address] = changes.get("driver", "")

    def driver(self, address: str) -> str:
        """Return the driver of a device."""
        link = self._folder(address) / "driver"
        return link.readlink().name if link.is_symlink() else ""

    def write(self, path: Path, text: str) -> None:
        """Do what the kernel does."""
        text = text.strip()
        match path.name:
            case "driver_override":
                path.write_text(f"{text or '(null)'}\n")
            case "unbind":
                self._unbind(text)
            case "drivers_probe":
                self._probe(text)
            case "reset":
                self._reset(path.parent.name)
            case name:
                raise AssertionError(f"no file of sysfs: {name}")

    def _folder(self, address: str) -> Path:
        return self.root / "bus/pci/devices" / address

    def _unbind(self, address: str) -> None:
        self.steps.append((f"unbind {self.driver(address)}", address))
        (self._folder(address) / "driver").unlink()
        self._look_at_groups()

    def _probe(self, address: str) -> None:
        override = (self._folder(address) / "driver_override").read_text().strip()
        driver = self.natural[address] if override == "(null)" else override
        if not driver or self.driver(address) or (driver == "vfio-pci" and not self.has_vfio):
            return
        self.steps.append((f"bind {driver}", address))
        (self._folder(address) / "driver").symlink_to(self.root / "bus/pci/drivers" / driver)
        self._look_at_groups()

    def _reset(self, address: str) -> None:
        if address in self.stuck:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        self.steps.append(("reset", address))

    def _look_at_groups(self) -> None:
        """Have a file in /dev/vfio for each group of which vfio-pci has a device."""
        for group in (self.root / "kernel/iommu_groups").iterdir():
            has_some = any(self.driver(device.name) == "vfio-pci" for device in (group / "devices").iterdir())
            node = self.nodes / group.name
            if has_some:
                node.touch()
            else:
                node.unlink(missing_ok=True)
