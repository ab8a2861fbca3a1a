"""Compares a running domain's XML with its spec: what to attach, detach and limit. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from stead_agent.machines.domain_xml import BYTES_PER_IO, render_disk, render_nic, serial_of, target_names, volume_of
from stead_agent.machines.interface import Disk, MachineError, MachineSpec


@dataclass(frozen=True, slots=True)
class Limit:
    """New limits of an attached disk: virDomainSetBlockIoTune's parameters."""

    target: str
    total_bytes_sec: int
    total_iops_sec: int

    def parameters(self) -> dict[str, int]:
        """Return all of the parameters: those left out would stay as they are."""
        size = BYTES_PER_IO if self.total_iops_sec else 0
        return {
            "total_bytes_sec": self.total_bytes_sec,
            "total_iops_sec": self.total_iops_sec,
            "size_iops_sec": size,
        }


@dataclass(frozen=True, slots=True)
class Detach:
    """A device to be detached: our name for it, and its alias in libvirt."""

    subject: str  # a disk's serial or a nic's MAC address
    alias: str


@dataclass(frozen=True, slots=True)
class Plugged:
    """The devices of a running domain: its volumes by id, with their target names in libvirt.

    `aliases` has the device names of volumes that come from another host by NBD; `taps` has the taps of its nics, by
    MAC address.
    """

    targets: dict[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    taps: Mapping[str, str] = field(default_factory=dict)

    @property
    def volume_ids(self) -> frozenset[str]:
        """The ids of the volumes."""
        return frozenset(self.targets)


@dataclass(frozen=True, slots=True)
class Changes:
    """What must change: aliases of devices to detach, device XML to attach, in this order, and limits to set.

    `attached_disks` are the disks among the devices to attach.
    """

    detach: tuple[Detach, ...]
    attach: tuple[str, ...]
    limits: tuple[Limit, ...]
    attached_disks: tuple[Disk, ...] = ()


def changes(live_xml: str, spec: MachineSpec) -> Changes:
    """Compare the disks (by serial) and nics (by MAC address) of a running domain with the spec."""
    devices = ET.fromstring(live_xml).find("devices")  # noqa: S314 (from libvirt)
    if devices is None:
        raise MachineError(f"{spec.id}: libvirt shows no devices")
    disks = {disk.findtext("serial", ""): disk for disk in devices.findall("disk")}
    nics = {mac.get("address", ""): nic for nic in devices.findall("interface") for mac in nic.findall("mac")}
    wanted_disks = {serial_of(disk.id): disk for disk in spec.disks}
    wanted_nics = {nic.mac_address: nic for nic in spec.nics}

    detach = [Detach(serial, _alias(disk)) for serial, disk in disks.items() if serial not in wanted_disks]
    detach += [Detach(mac, _alias(nic)) for mac, nic in nics.items() if mac not in wanted_nics]
    used = {target.get("dev") for disk in disks.values() for target in disk.findall("target")}
    free = (name for name in target_names() if name not in used)
    new_disks = [disk for serial, disk in wanted_disks.items() if serial not in disks]
    attach = [render_disk(spec, disk, next(free)) for disk in new_disks]
    attach += [render_nic(nic) for mac, nic in wanted_nics.items() if mac not in nics]
    new_limits = [
        Limit(_target(disks[serial]), disk.throughput, disk.iops)
        for serial, disk in wanted_disks.items()
        if serial in disks and _limits(disks[serial]) != (disk.throughput, disk.iops)
    ]
    return Changes(tuple(detach), tuple(attach), tuple(new_limits), tuple(new_disks))


def plugged(live_xml: str) -> Plugged:
    """Read which volumes a running domain has; disks that are not ours, or instance store, are left out."""
    targets, aliases = {}, {}
    domain = ET.fromstring(live_xml)  # noqa: S314 (from libvirt)
    for disk in domain.iterfind("devices/disk"):
        if volume_id := volume_of(disk.findtext("serial", "")):
            targets[volume_id] = _target(disk)
            if disk.find("source[@protocol='nbd']") is not None:
                aliases[volume_id] = _alias(disk)
    nics = [(nic.find("mac"), nic.find("target")) for nic in domain.iterfind("devices/interface")]
    taps = {mac.get("address", ""): tap.get("dev", "") for mac, tap in nics if mac is not None and tap is not None}
    return Plugged(targets, aliases, taps)


def limits(live_xml: str) -> dict[str, Limit]:
    """Read the limits of a running domain's volumes, by volume."""
    disks = ET.fromstring(live_xml).iterfind("devices/disk")  # noqa: S314 (from libvirt)
    found = {volume_of(disk.findtext("serial", "")): Limit(_target(disk), *_limits(disk)) for disk in disks}
    return {volume_id: limit for volume_id, limit in found.items() if volume_id is not None}


def _alias(device: ET.Element) -> str:
    """Return libvirt's alias of a device of a running domain."""
    alias = device.find("alias")
    return "" if alias is None else alias.get("name", "")


def _target(disk: ET.Element) -> str:
    """Return the target of a disk."""
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _limits(disk: ET.Element) -> tuple[int, int]:
    """Read a disk's limits: bytes and operations per second, 0 = none."""
    return int(disk.findtext("iotune/total_bytes_sec", "0")), int(disk.findtext("iotune/total_iops_sec", "0"))
