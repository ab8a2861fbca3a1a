"""Gives PCI devices to guests by VFIO, and returns them to the host's drivers: each step may be repeated.

https://docs.kernel.org/driver-api/vfio.html, and `driver_override` in the ABI of sysfs-bus-pci. Who has a device is in
a file of its address, written before anything is changed, so that it is returned also after an agent was killed.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from stead_agent.disks.disk_users import uid_of
from stead_agent.pci import inventory
from stead_agent.pci.grants import grants
from stead_agent.pci.interface import PciError
from stead_agent.pci.inventory import PciDevice

_DRIVER: Final = "vfio-pci"
_NODES: Final = Path("/dev/vfio")


def write(path: Path, text: str) -> None:
    """Write to a file of sysfs."""
    path.write_text(text, encoding="ascii")


class Assignments:
    """Which guest of this host has which of its PCI devices: see `interface.py`.

    `named` is what the operator lets guests have; `folder` is where it is recorded who has what.
    """

    def __init__(
        self,
        named: Collection[str],
        folder: Path,
        *,
        sysfs: Path = inventory.SYSFS,
        nodes: Path = _NODES,
        write: Callable[[Path, str], None] = write,
    ) -> None:
        self._named = frozenset(named)
        self._folder = folder
        self._pci = sysfs / "bus/pci"
        self._sysfs = sysfs
        self._nodes = nodes
        self._write = write
        self._lock = threading.Lock()  # of the records

    def assign(self, machine_id: str, addresses: Collection[str]) -> None:
        """Take devices from the host, reset them, and let a guest's user open their groups."""
        if not addresses:
            return
        with self._lock:
            devices = self._check(machine_id, addresses)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for device in devices:
                self._record(device.address, machine_id)
        for device in devices:
            self._bind(device)
        for device in devices:
            self._reset(device.address)
        for node in self._group_nodes(devices):
            os.chown(node, uid_of(machine_id), 0)
            node.chmod(0o600)

    def release(self, machine_id: str) -> None:
        """Reset what a machine had, and return it to the host's drivers."""
        mine = [address for address, holder in self._records().items() if holder == machine_id]
        devices = [device for device in inventory.read(self._sysfs) if device.address in mine]
        bound = [device for device in devices if device.driver == _DRIVER]
        for device in bound:
            self._reset(device.address)
        for node in self._group_nodes(bound):
            with contextlib.suppress(FileNotFoundError):  # its group has no device at vfio-pci any more
                os.chown(node, 0, 0)
        for device in devices:
            self._return(device)
        for address in mine:
            (self._folder / address).unlink(missing_ok=True)

    def holders(self) -> frozenset[str]:
        """List the machines that have devices."""
        return frozenset(self._records().values())

    def _check(self, machine_id: str, addresses: Collection[str]) -> list[PciDevice]:
        """Return the devices; raises PciError for what must not be given."""
        devices = inventory.read(self._sysfs)
        refusals = {one.device.address: one.refusal for one in grants(devices, self._named)}
        holders = self._records()
        for address in sorted(addresses):
            if address not in refusals:
                raise PciError(f"guests may not have the device {address}: it is not named, or not there")
            if refusals[address]:
                raise PciError(f"guests cannot have the device {address}: {refusals[address]}")
            holder = holders.get(address, machine_id)
            if holder != machine_id:
                raise PciError(f"{holder} still has the device {address}")
        chosen = [device for device in devices if device.address in addresses]
        groups = {device.iommu_group for device in chosen}
        for device in devices:
            if device.iommu_group in groups and not device.is_bridge and device.address not in addresses:
                raise PciError(f"{device.address} is of the same IOMMU group, {device.iommu_group}: all of it or none")
        return chosen

    def _bind(self, device: PciDevice) -> None:
        folder = self._pci / "devices" / device.address
        if device.driver == _DRIVER:
            return
        self._write(folder / "driver_override", _DRIVER)
        if device.driver:
            self._write(folder / "driver/unbind", device.address)
        self._write(self._pci / "drivers_probe", device.address)
        if inventory.driver_of(folder) != _DRIVER:
            raise PciError(f"{device.address} was not bound to {_DRIVER}: is that module loaded?")

    def _return(self, device: PciDevice) -> None:
        """Let the kernel choose the driver again, as it did before."""
        folder = self._pci / "devices" / device.address
        self._write(folder / "driver_override", "\n")
        if device.driver == _DRIVER:
            self._write(folder / "driver/unbind", device.address)
        if not inventory.driver_of(folder):
            self._write(self._pci / "drivers_probe", device.address)

    def _reset(self, address: str) -> None:
        try:
            self._write(self._pci / "devices" / address / "reset", "1")
        except OSError as error:
            raise PciError(f"{address} could not be reset: {error.strerror}") from error

    def _group_nodes(self, devices: Iterable[PciDevice]) -> list[Path]:
        return [self._nodes / str(group) for group in sorted({device.iommu_group or 0 for device in devices})]

    def _record(self, address: str, machine_id: str) -> None:
        new = self._folder / f".{address}"
        new.write_text(machine_id, encoding="ascii")
        new.rename(self._folder / address)

    def _records(self) -> dict[str, str]:
        """Return who has which device."""
        if not self._folder.is_dir():
            return {}
        found = (path for path in self._folder.iterdir() if not path.name.startswith("."))
        return {path.name: path.read_text(encoding="ascii") for path in found}
