"""The architectures of guests: what libvirt calls them, and which of them this host runs, as libvirt says."""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from stead_agent.machines.firmware import BUILDS


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture: EC2's name, libvirt's, and the machine of QEMU's on which its guests boot by UEFI.

    `is_pc` is whether it is that of personal computers, which have a BIOS, a VGA screen, and an APIC.
    """

    name: str
    libvirt: str
    machine: str
    is_pc: bool


X86_64: Final = Architecture("x86_64", "x86_64", "q35", is_pc=True)
ARM64: Final = Architecture("arm64", "aarch64", "virt", is_pc=False)
ALL: Final = {architecture.name: architecture for architecture in (X86_64, ARM64)}


@dataclass(frozen=True, slots=True)
class Emulator:
    """A program of QEMU's for guests of an architecture, and whether libvirt may run them by KVM."""

    path: Path
    kvm: bool


def own() -> str:
    """Return EC2's name of this host's own architecture; that of the kernel, where EC2 has none."""
    machine = platform.machine()
    return next((each.name for each in ALL.values() if each.libvirt == machine), machine)


def emulators(capabilities_xml: str) -> dict[str, Emulator]:
    """Read from libvirt's capabilities the emulator for each architecture that this host has one for. Pure."""
    root = ET.fromstring(capabilities_xml)  # noqa: S314 (libvirt's own)
    found: dict[str, Emulator] = {}
    for guest in root.iterfind("guest"):
        element = guest.find("arch")
        known = next((one for one in ALL.values() if element is not None and one.libvirt == element.get("name")), None)
        if element is None or known is None or guest.findtext("os_type") != "hvm":
            continue
        types = {domain.get("type") for domain in element.iterfind("domain")}
        found[known.name] = Emulator(Path(element.findtext("emulator", "")), "kvm" in types)
    return found


def loaders(domain_capabilities_xml: str) -> frozenset[Path]:
    """Read from libvirt's capabilities of a machine the firmware that it knows for it. Pure."""
    root = ET.fromstring(domain_capabilities_xml)  # noqa: S314 (libvirt's own)
    return frozenset(Path(value.text) for value in root.iterfind("os/loader/value") if value.text)


def emulated(connection: Any) -> tuple[str, ...]:
    """Ask libvirt for the architectures beside its own that this host runs by emulation: those with UEFI firmware."""
    found = []
    for name, emulator in emulators(connection.getCapabilities()).items():
        if name == own() or name not in BUILDS:
            continue
        arch = ALL[name]
        described = connection.getDomainCapabilities(str(emulator.path), arch.libvirt, arch.machine, "qemu")
        if BUILDS[name].code in loaders(described) and BUILDS[name].no_variables.exists():
            found.append(name)
    return tuple(sorted(found))
