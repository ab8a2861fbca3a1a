"""A running domain's XML and the spec it should match become what to plug in, pull out and limit. Pure."""

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from stead_agent.machines.domain_xml import render_disk, render_nic, serial_of, target_names
from stead_agent.machines.interface import MachineError, MachineSpec


@dataclass(frozen=True, slots=True)
class Limit:
    """New limits of a disk that stays: virDomainSetBlockIoTune's parameters."""

    target: str
    total_bytes_sec: int
    total_iops_sec: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What must change: device XML to detach and to attach, in this order, and limits to set."""

    detach: tuple[str, ...]
    attach: tuple[str, ...]
    limits: tuple[Limit, ...]


def changes(live_xml: str, spec: MachineSpec) -> Changes:
    """Compare the disks (by serial) and nics (by MAC address) of a running domain with the spec."""
    devices = ET.fromstring(live_xml).find("devices")  # noqa: S314 (libvirt's own)
    if devices is None:
        raise MachineError(f"{spec.id}: libvirt shows no devices")
    disks = {disk.findtext("serial", ""): disk for disk in devices.findall("disk")}
    nics = {mac.get("address", ""): nic for nic in devices.findall("interface") for mac in nic.findall("mac")}
    wanted_disks = {serial_of(disk.id): disk for disk in spec.disks}
    wanted_nics = {nic.mac_address: nic for nic in spec.nics}

    detach = [disk for serial, disk in disks.items() if serial not in wanted_disks]
    detach += [nic for mac, nic in nics.items() if mac not in wanted_nics]
    used = {target.get("dev") for disk in disks.values() for target in disk.findall("target")}
    free = (name for name in target_names() if name not in used)
    attach = [render_disk(disk, next(free)) for serial, disk in wanted_disks.items() if serial not in disks]
    attach += [render_nic(nic) for mac, nic in wanted_nics.items() if mac not in nics]
    limits = [
        Limit(_target(disks[serial]), disk.throughput, disk.iops)
        for serial, disk in wanted_disks.items()
        if serial in disks and _limits(disks[serial]) != (disk.throughput, disk.iops)
    ]
    return Changes(tuple(ET.tostring(each, encoding="unicode") for each in detach), tuple(attach), tuple(limits))


def target_of(live_xml: str, volume_id: str) -> str | None:
    """Name the target by which libvirt knows a volume of a running domain."""
    for disk in ET.fromstring(live_xml).iterfind("devices/disk"):  # noqa: S314 (libvirt's own)
        if disk.findtext("serial") == serial_of(volume_id):
            return _target(disk)
    return None


def _target(disk: ET.Element) -> str:
    """Name the target of a disk."""
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _limits(disk: ET.Element) -> tuple[int, int]:
    """Read a disk's limits: bytes and operations per second, 0 = none."""
    return int(disk.findtext("iotune/total_bytes_sec", "0")), int(disk.findtext("iotune/total_iops_sec", "0"))
