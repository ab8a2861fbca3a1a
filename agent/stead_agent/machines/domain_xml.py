"""Renders libvirt domain XML from a machine's spec and the record stored with it. Pure.

Every value is validated first; an invalid one raises MachineError. Devices are included or left out by measurement:
each costs time at start and at boot (tests/bench/machine_start.py).
"""

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree as ET

from stead_agent.disks.disk_sources import BlockSource, FileSource, NbdSource, RbdSource, Source
from stead_agent.disks.disk_users import uid_of
from stead_agent.hardware import HUGE_PAGE
from stead_agent.machines.architectures import ALL as ARCHITECTURES
from stead_agent.machines.firmware import BUILDS
from stead_agent.machines.interface import Disk, MachineError, MachineSpec, Nic, Pinning
from stead_agent.machines.life import Record, uuid_of

_QEMU: Final = "http://libvirt.org/schemas/domain/qemu/1.0"
ET.register_namespace("qemu", _QEMU)

_MACHINE_ID: Final = re.compile(r"i-[0-9a-f]{8,17}\Z")
_DISK_ID: Final = re.compile(r"(vol-[0-9a-f]{8,17}|i-[0-9a-f]{8,17}-store[0-9]{1,3})\Z")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_EXPORT: Final = re.compile(r"[A-Za-z0-9_.-]{0,64}\Z")
_MAC: Final = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}\Z")  # not a multicast address
_LINK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}\Z")
_PATH: Final = re.compile(r"(/[A-Za-z0-9_.+@=-]+)+\Z")
_CEPH_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_PCI: Final = re.compile(r"(?P<domain>[0-9a-f]{4,8}):(?P<bus>[0-9a-f]{2}):(?P<slot>[0-9a-f]{2})\.(?P<function>[0-7])\Z")
_TYPE: Final = re.compile(r"[a-z0-9.-]{0,32}\Z")

# EBS counts an operation of up to 256 KiB as one
# (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-io-characteristics.html).
BYTES_PER_IO: Final = 256 << 10
# Cache of translated code under emulation, in MiB; QEMU's default grows to a third of the host's memory. So much is
# counted for each guest on each host.
TB_CACHE_MIB: Final = 32
# A host without KVM keeps memory for more, with which a boot takes a fifth less of a processor: so much for each vCPU,
# but at most a third of what else is counted for the guest, its own memory and at least this for QEMU
# (`placement/guest_memory.py` of the controller). A sixth of it is for what QEMU notes of the code.
_EMULATED_VCPU_MIB: Final = 64
_QEMU_MIB: Final = 76
# How long a guest's reads and writes wait for an NBD server that went away, before they fail.
_RECONNECT_SECONDS: Final = 600
_MAX_VCPUS: Final = 255
_MIN_MEMORY: Final = 16 << 20
# PCI Express hotplug needs a port per device, created beforehand; the plain PCI bus of `pc` needs none.
_SPARE_PORTS: Final = 8
_SHARED_SLOT: Final = "0x03"  # of a `pc` machine: for devices that all guests have and that are never unplugged


@dataclass(frozen=True, slots=True)
class HostSide:
    """What the host adds to a domain."""

    virtualization: Literal["kvm", "qemu"]
    gid: int  # group of guests' processes: libvirt's group for QEMU
    console_log: Path
    screen: Path  # socket of the VNC server, in a directory owned by this guest's user
    variables: Path  # a UEFI guest's variable store
    emulator: Path  # QEMU's program for the guest's architecture
    topoext: bool = False  # the processor is AMD's, of which guests see threads with this feature only
    shared_threads: str = ""  # of the host, that guests without whole cores may use, such as 0-3; empty: all
    keeps_for_emulation: bool = False  # it has no KVM, so that memory is kept for what emulation takes


def render_domain(spec: MachineSpec, record: Record, host: HostSide) -> str:
    """Render the whole domain."""
    _check(spec)
    domain = ET.Element("domain", type=host.virtualization)
    _text(domain, "name", spec.id)
    _text(domain, "uuid", str(uuid_of(spec.id)))
    ET.SubElement(domain, "metadata").append(record.to_element())
    _text(domain, "memory", str(spec.memory), unit="b")
    _add_threads(domain, spec, host)
    _add_firmware(domain, spec, host)
    _add_identity(domain, spec)
    _add_processor(domain, spec, host)
    if ARCHITECTURES[spec.architecture].is_pc:
        power = ET.SubElement(domain, "pm")
        ET.SubElement(power, "suspend-to-mem", enabled="no")
        ET.SubElement(power, "suspend-to-disk", enabled="no")
    # A guest that powers off ends, one that resets continues, whatever state its kernel reports.
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(domain, f"on_{event}", action)
    _add_devices(domain, spec, host)
    # A separate user, and no ownership changes by libvirt: it would give the shared image to the guest. Only so is a
    # TPM's socket given to the guest's user, though; then each disk says for itself that it stays as it is.
    label = ET.SubElement(domain, "seclabel", type="static", model="dac", relabel="yes" if spec.tpm else "no")
    _text(label, "label", f"+{uid_of(spec.id)}:+{host.gid}")
    # Without this capability libvirt reads the processor's features by 2 monitor messages instead of 466, which took
    # # three quarters of the time of a start. We do not use them.
    capabilities = ET.SubElement(domain, f"{{{_QEMU}}}capabilities")
    ET.SubElement(capabilities, f"{{{_QEMU}}}del", capability="cpu-unavailable-features")
    return ET.tostring(domain, encoding="unicode")


def is_machine_id(text: str) -> bool:
    """Tell whether this can be the name of one of our domains, which is the machine's id."""
    return _MACHINE_ID.match(text) is not None


def render_disk(spec: MachineSpec, disk: Disk, target: str) -> str:
    """Render one disk, to be attached to the machine."""
    _check_disk(disk)
    return ET.tostring(_disk(spec, disk, target, boots=False), encoding="unicode")


def render_nic(nic: Nic) -> str:
    """Render one network interface, to be attached."""
    _check_nic(nic)
    return ET.tostring(_nic(nic), encoding="unicode")


def serial_of(disk_id: str) -> str:
    """Derive the serial number by which a guest knows a disk, of at most 20 characters.

    For a volume it is, as with EBS, the id without its dash; for an instance store disk it begins as on EC2 with `AWS`.
    """
    if disk_id.startswith("vol-"):
        return disk_id.replace("-", "", 1)
    return f"AWS{sha256(disk_id.encode()).hexdigest()[:17].upper()}"


def volume_of(serial: str) -> str | None:
    """Return the volume id for a serial number; None if it is not that of a volume."""
    volume_id = f"vol-{serial.removeprefix('vol')}"
    return volume_id if _DISK_ID.match(volume_id) and serial_of(volume_id) == serial else None


def target_names() -> Iterator[str]:
    """Yield disk names as libvirt wants them: vda … vdz, vdaa …; a hint only, guests know disks by serial."""
    letters = string.ascii_lowercase
    yield from (f"vd{letter}" for letter in letters)
    yield from (f"vd{first}{second}" for first in letters for second in letters)


def _check(spec: MachineSpec) -> None:
    """Refuse a spec with an invalid value."""
    _match(_MACHINE_ID, spec.id, "machine id")
    _match(_TYPE, spec.instance_type, "instance type")
    architecture = ARCHITECTURES.get(spec.architecture)
    if architecture is None:
        raise MachineError(f"{spec.id}: no such architecture of guests: {spec.architecture!r}")
    if spec.boot_mode not in ({"legacy-bios", "uefi"} if architecture.is_pc else {"uefi"}):
        raise MachineError(f"{spec.id}: no such boot mode of {architecture.name}: {spec.boot_mode!r}")
    if spec.tpm:
        _match(_UUID, spec.tpm.secret, "secret's UUID")
        if spec.boot_mode != "uefi":
            raise MachineError(f"{spec.id}: a TPM needs UEFI")
    threads = spec.threads_per_core
    if not 1 <= spec.vcpus <= _MAX_VCPUS or threads < 1 or spec.vcpus % threads or spec.memory < _MIN_MEMORY:
        raise MachineError(
            f"{spec.id}: cannot be made with {spec.vcpus} processors, {threads} a core, and {spec.memory} bytes"
        )
    if spec.pinning is not None:
        _check_pinning(spec, spec.pinning)
    if not spec.disks:
        raise MachineError(f"{spec.id}: a machine needs a disk to boot from")
    for disk in spec.disks:
        _check_disk(disk)
    for nic in spec.nics:
        _check_nic(nic)
    for address in spec.devices:
        _match(_PCI, address, "PCI address")


def _check_pinning(spec: MachineSpec, pinning: Pinning) -> None:
    """Refuse threads that are not one for each vCPU, and memory that is not made of whole pages."""
    if len(set(pinning.threads)) != spec.vcpus or len(pinning.threads) != spec.vcpus:
        raise MachineError(f"{spec.id}: {spec.vcpus} processors need as many hardware threads")
    if pinning.huge_pages and spec.memory % HUGE_PAGE:
        raise MachineError(f"{spec.id}: {spec.memory} bytes are no whole huge pages")


def _check_disk(disk: Disk) -> None:
    """Refuse a disk with an invalid value."""
    _match(_DISK_ID, disk.id, "volume id")
    _check_layer(disk.source, disk.format)
    if disk.base:
        _check_layer(disk.base.source, disk.base.format)
    if disk.secret:
        _match(_UUID, disk.secret, "secret's UUID")
    if disk.iops < 0 or disk.throughput < 0:
        raise MachineError(f"{disk.id}: negative limits")


def _check_layer(source: Source, its_format: str) -> None:
    """Refuse a path that is not absolute and normalised, and a format that QEMU would probe."""
    path = _path_of(source)
    _match(_PATH, str(path), "path")
    if ".." in path.parts or its_format not in {"qcow2", "raw"}:
        raise MachineError(f"{path}: not a plain path of a qcow2 or raw disk")
    if isinstance(source, NbdSource):
        _match(_EXPORT, source.export, "name of an export")
    if isinstance(source, RbdSource):
        for name in (source.pool, source.image, source.user):
            _match(_CEPH_NAME, name, "name of Ceph's")


def _path_of(source: Source) -> Path:
    """Return the file, device or socket of a disk; for Ceph the cluster's configuration file."""
    match source:
        case FileSource(path) | BlockSource(path):
            return path
        case NbdSource(socket):
            return socket
        case RbdSource():
            return source.conf


def _check_nic(nic: Nic) -> None:
    """Refuse a network interface with an invalid value."""
    _match(_MAC, nic.mac_address, "MAC address")
    _match(_LINK, nic.bridge, "bridge")
    _match(_LINK, nic.tap, "tap")
    if nic.mtu and not 68 <= nic.mtu <= 65521:
        raise MachineError(f"{nic.interface_id}: no such MTU: {nic.mtu}")


def _match(pattern: re.Pattern[str], value: str, what: str) -> None:
    """Refuse a value that does not match a pattern."""
    if not pattern.match(value):
        raise MachineError(f"not a {what}: {value!r}")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    """Add an element that holds text."""
    ET.SubElement(parent, tag, attributes).text = text


def _add_threads(domain: ET.Element, spec: MachineSpec, host: HostSide) -> None:
    """Add the vCPUs and the hardware threads that they run on: shared ones, or those that the guest has alone.

    QEMU's own work is always done on shared ones. All memory of a guest with threads of its own is in their node: with
    huge pages, of which there are enough, strictly; without, as long as there is room.
    """
    limit = {"cpuset": host.shared_threads} if host.shared_threads else {}
    _text(domain, "vcpu", str(spec.vcpus), placement="static", **limit)
    if spec.pinning is None:
        return
    tuning = ET.SubElement(domain, "cputune")
    for number, thread in enumerate(spec.pinning.threads):
        ET.SubElement(tuning, "vcpupin", vcpu=str(number), cpuset=str(thread))
    if host.shared_threads:
        ET.SubElement(tuning, "emulatorpin", cpuset=host.shared_threads)
    mode = "preferred"
    if spec.pinning.huge_pages:
        mode = "strict"
        backing = ET.SubElement(domain, "memoryBacking")
        ET.SubElement(ET.SubElement(backing, "hugepages"), "page", size=str(HUGE_PAGE), unit="b")
        # Not a file of a hugetlbfs: nothing has to be mounted, and no folder belongs to the guest's user.
        ET.SubElement(backing, "source", type="memfd")
    ET.SubElement(ET.SubElement(domain, "numatune"), "memory", mode=mode, nodeset=str(spec.pinning.node))


def _add_firmware(domain: ET.Element, spec: MachineSpec, host: HostSide) -> None:
    """Add the boot firmware."""
    system = ET.SubElement(domain, "os")
    architecture = ARCHITECTURES[spec.architecture]
    if spec.boot_mode == "uefi":
        _text(system, "type", "hvm", arch=architecture.libvirt, machine=architecture.machine)
        code = BUILDS[spec.architecture].code
        protection = {"secure": "yes"} if architecture.is_pc else {}  # of the variables, by system management mode
        _text(system, "loader", str(code), readonly="yes", type="pflash", format="raw", **protection)
        _text(system, "nvram", str(host.variables), format="raw")
    else:
        _text(system, "type", "hvm", arch=architecture.libvirt, machine="pc")
    ET.SubElement(system, "smbios", mode="sysinfo")


def _add_identity(domain: ET.Element, spec: MachineSpec) -> None:
    """Add the SMBIOS strings of a Nitro instance, by which cloud-init selects its Ec2 data source."""
    identity = ET.SubElement(domain, "sysinfo", type="smbios")
    tables = {
        "bios": {"vendor": "Amazon EC2", "version": "1.0"},
        "system": {
            "manufacturer": "Amazon EC2",
            "product": spec.instance_type or "Stead",
            "serial": str(uuid_of(spec.id)),
            "uuid": str(uuid_of(spec.id)),
        },
        "baseBoard": {"manufacturer": "Amazon EC2", "asset": spec.id},
        "chassis": {"manufacturer": "Amazon EC2", "asset": "Amazon EC2"},
    }
    for table, entries in tables.items():
        element = ET.SubElement(identity, table)
        for name, value in entries.items():
            _text(element, "entry", value, name=name)


def _add_processor(domain: ET.Element, spec: MachineSpec, host: HostSide) -> None:
    """Add the best available processor, and clocks that cost nothing when idle."""
    is_pc = ARCHITECTURES[spec.architecture].is_pc
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    if is_pc:
        ET.SubElement(features, "apic")
        if spec.boot_mode == "uefi":
            ET.SubElement(features, "smm", state="on")
    else:  # version 2 ends at eight processors
        ET.SubElement(features, "gic", version="host" if host.virtualization == "kvm" else "3")
    if host.virtualization == "qemu":
        kept = host.keeps_for_emulation and spec.pinning is None  # a host keeps nothing for whole cores
        size = tb_cache_mib(spec.memory, spec.vcpus) if kept else TB_CACHE_MIB
        _text(ET.SubElement(features, "tcg"), "tb-cache", str(size), unit="MiB")
    mode = "host-passthrough" if host.virtualization == "kvm" else "maximum"
    processor = ET.SubElement(domain, "cpu", mode=mode, check="none")
    threads = spec.threads_per_core
    cores = str(spec.vcpus // threads)
    ET.SubElement(processor, "topology", sockets="1", dies="1", cores=cores, threads=str(threads))
    if threads > 1 and host.topoext:
        ET.SubElement(processor, "feature", policy="require", name="topoext")
    clock = ET.SubElement(domain, "clock", offset="utc")
    if is_pc:
        ET.SubElement(clock, "timer", name="hpet", present="no")


def tb_cache_mib(memory: int, vcpus: int) -> int:
    """Return how large the cache of translated code is, in MiB, on a host that keeps memory for it.

    QEMU takes 2 GiB at most.
    """
    kept = min(_EMULATED_VCPU_MIB * vcpus, ((memory >> 20) + _QEMU_MIB) // 3)
    return TB_CACHE_MIB + kept * 5 // 6


def _add_devices(domain: ET.Element, spec: MachineSpec, host: HostSide) -> None:
    """Add the devices, and disable those that libvirt would add by default."""
    is_pc = ARCHITECTURES[spec.architecture].is_pc
    devices = ET.SubElement(domain, "devices")
    _text(devices, "emulator", str(host.emulator))
    ET.SubElement(devices, "controller", type="usb", model="none")
    channels = ET.SubElement(devices, "controller", type="virtio-serial", index="0")
    if spec.boot_mode == "legacy-bios":
        # Two devices share a slot, so that 28 are left: as many disks and interfaces as EC2 allows. More behind a
        # bridge would cost each boot 60 ms under emulation.
        ET.SubElement(channels, "address", type="pci", slot=_SHARED_SLOT, function="0", multifunction="on")
    else:
        ET.SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
        for _ in range(_SPARE_PORTS + len(spec.disks) + len(spec.nics) + len(spec.devices)):
            ET.SubElement(devices, "controller", type="pci", model="pcie-root-port")
    for index, (disk, target) in enumerate(zip(spec.disks, target_names(), strict=False)):
        devices.append(_disk(spec, disk, target, boots=index == 0))
    devices.extend(_nic(nic) for nic in spec.nics)
    devices.extend(_host_device(address) for address in spec.devices)
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=str(host.console_log), append="on")
    agent = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    if is_pc:  # an arm64 instance has no screen on EC2 either
        screen = ET.SubElement(devices, "graphics", type="vnc")
        ET.SubElement(screen, "listen", type="socket", socket=str(host.screen))
        ET.SubElement(ET.SubElement(devices, "video"), "model", type="vga")
    else:
        ET.SubElement(ET.SubElement(devices, "video"), "model", type="none")
    entropy = ET.SubElement(devices, "rng", model="virtio")
    _text(entropy, "backend", "/dev/urandom", model="random")
    if spec.tpm:
        # Crb is what Windows and Linux expect of a TPM that is no chip on a slow bus; QEMU has none for arm64.
        chip = ET.SubElement(devices, "tpm", model="tpm-crb" if is_pc else "tpm-tis")
        emulator = ET.SubElement(chip, "backend", type="emulator", version="2.0")
        ET.SubElement(emulator, "encryption", secret=spec.tpm.secret)
    if spec.boot_mode == "legacy-bios":
        ET.SubElement(entropy, "address", type="pci", slot=_SHARED_SLOT, function="1")
    ET.SubElement(devices, "memballoon", model="none")


def _host_device(address: str) -> ET.Element:
    """Create a device of the host; binding it to vfio-pci and returning it is our work, not libvirt's."""
    found = _PCI.match(address)
    assert found is not None, address  # checked by `_check`
    element = ET.Element("hostdev", mode="subsystem", type="pci", managed="no")
    ET.SubElement(element, "driver", name="vfio")
    source = ET.SubElement(element, "source")
    ET.SubElement(source, "address", {name: f"0x{digits}" for name, digits in found.groupdict().items()})
    return element


def _disk(spec: MachineSpec, disk: Disk, target: str, *, boots: bool) -> ET.Element:
    """Create a virtio disk; its backing chain is given explicitly, so libvirt opens no file to find it.

    A guest is paused when there is no room for its writes; other errors are reported to it.
    """
    element = ET.Element("disk", type=_source_type(disk.source), device="disk")
    driver = ET.SubElement(element, "driver", name="qemu", type=disk.format, discard="unmap", error_policy="enospace")
    if isinstance(disk.source, BlockSource | RbdSource):
        # Bypass the host's cache: a thin pool reports that it is full when a block is written, and data waiting in the
        # # cache would be lost. A file system reports it when a write is accepted. Ceph holds such writes back.
        driver.set("cache", "none")
    source = _source(disk.source)
    element.append(source)
    if spec.tpm and isinstance(disk.source, FileSource | BlockSource):
        ET.SubElement(source, "seclabel", model="dac", relabel="no")  # for the layers below it as well
    if disk.secret:
        encryption = ET.SubElement(source, "encryption", format="luks")
        ET.SubElement(encryption, "secret", type="passphrase", uuid=disk.secret)
    below = ET.SubElement(element, "backingStore")
    if disk.base:
        below.set("type", _source_type(disk.base.source))
        ET.SubElement(below, "format", type=disk.base.format)
        below.append(_source(disk.base.source))
        ET.SubElement(below, "backingStore")
    ET.SubElement(element, "target", dev=target, bus="virtio")
    if isinstance(disk.source, NbdSource):
        ET.SubElement(element, "shareable")  # with a job that writes nothing: see `direct_nodes.breaker`
    if disk.iops or disk.throughput:
        limits = ET.SubElement(element, "iotune")
        if disk.throughput:
            _text(limits, "total_bytes_sec", str(disk.throughput))
        if disk.iops:
            _text(limits, "total_iops_sec", str(disk.iops))
            _text(limits, "size_iops_sec", str(BYTES_PER_IO))
    _text(element, "serial", serial_of(disk.id))
    if boots:
        ET.SubElement(element, "boot", order="1")
    return element


def _source_type(source: Source) -> str:
    """Return libvirt's name for a source of this kind."""
    match source:
        case FileSource():
            return "file"
        case BlockSource():
            return "block"
        case NbdSource() | RbdSource():
            return "network"


def _source(source: Source) -> ET.Element:
    """Render where a disk's bytes are. QEMU reconnects to an NBD server that ended, since a new one will start."""
    element = ET.Element("source")
    match source:
        case FileSource(path):
            element.set("file", str(path))
        case BlockSource(path):
            element.set("dev", str(path))
        case NbdSource(socket, export):
            element.set("protocol", "nbd")
            element.set("name", export)
            ET.SubElement(element, "host", transport="unix", socket=str(socket))
            ET.SubElement(element, "reconnect", delay=str(_RECONNECT_SECONDS))
        case RbdSource():
            element.set("protocol", "rbd")
            element.set("name", f"{source.pool}/{source.image}")
            ET.SubElement(element, "config", file=str(source.conf))
            access = ET.SubElement(element, "auth", username=source.user)
            ET.SubElement(access, "secret", type="ceph", uuid=source.secret)
    return element


def _nic(nic: Nic) -> ET.Element:
    """Create a virtio interface on an isolated port of its subnet's bridge; no boot ROM, which costs time at boot."""
    element = ET.Element("interface", type="bridge")
    ET.SubElement(element, "mac", address=nic.mac_address)
    ET.SubElement(element, "source", bridge=nic.bridge)
    ET.SubElement(element, "port", isolated="yes")
    ET.SubElement(element, "target", dev=nic.tap)
    ET.SubElement(element, "model", type="virtio")
    if nic.mtu:
        ET.SubElement(element, "mtu", size=str(nic.mtu))
    ET.SubElement(element, "rom", enabled="no")
    return element
