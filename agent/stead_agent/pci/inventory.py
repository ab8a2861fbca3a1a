"""Reads PCI devices from sysfs: identity, class, IOMMU group, driver, NUMA node, ways to reset.

https://docs.kernel.org/admin-guide/abi-testing.html says what each file holds.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSFS: Final = Path("/sys")
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_BRIDGE: Final = 0x06  # base class; PCI Code and ID Assignment Specification
_NO_NODE: Final = -1


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A function of a PCI device, by its address such as 0000:01:00.0."""

    address: str
    model: str  # vendor:device, four hexadecimal digits each
    class_code: int  # 24 bits: base class, subclass, programming interface
    iommu_group: int | None = None  # None: no IOMMU is on, or not for it
    driver: str = ""  # empty: none is bound
    numa_node: int = _NO_NODE  # -1: the firmware names none
    reset: str = ""  # how the kernel can reset it, such as "flr bus"; empty: in no way

    @property
    def is_bridge(self) -> bool:
        """Whether it only leads to other devices."""
        return self.class_code >> 16 == _BRIDGE


def read(sysfs: Path = SYSFS) -> list[PciDevice]:
    """Read all PCI devices of a host, by address; one that vanishes meanwhile is left out."""
    folder = sysfs / "bus/pci/devices"
    if not folder.is_dir():
        return []
    found = (_read_one(path) for path in sorted(folder.iterdir()) if _ADDRESS.match(path.name))
    return [device for device in found if device is not None]


def _read_one(path: Path) -> PciDevice | None:
    try:
        vendor, device = _number(path / "vendor"), _number(path / "device")
        return PciDevice(
            address=path.name,
            model=f"{vendor:04x}:{device:04x}",
            class_code=_number(path / "class"),
            iommu_group=_group(path),
            driver=driver_of(path),
            numa_node=int(_text(path / "numa_node") or _NO_NODE),
            reset=_reset(path),
        )
    except FileNotFoundError:
        return None


def driver_of(folder: Path) -> str:
    """Return the driver that a device is bound to, by its folder in sysfs; empty for none."""
    return _target(folder / "driver")


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"), 16)


def _text(path: Path) -> str:
    """Read a file that not all kernels have."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _target(link: Path) -> str:
    """Return the last name of a symbolic link's target; empty without one."""
    return link.readlink().name if link.is_symlink() else ""


def _group(path: Path) -> int | None:
    name = _target(path / "iommu_group")
    return int(name) if name else None


def _reset(path: Path) -> str:
    """Return the kernel's ways to reset a device: those that kernels since 5.15 name, of earlier ones "default"."""
    if not (path / "reset").exists():
        return ""
    return _text(path / "reset_method") or "default"
