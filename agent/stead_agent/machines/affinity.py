"""On which hardware threads a running guest may be, and whether a start finds its threads and huge pages free."""

from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from stead_agent import hardware
from stead_agent.machines.interface import MachineError, MachineSpec


def check_threads(live: Any, spec: MachineSpec) -> None:
    """Raise MachineError if another guest still runs on a thread that a guest is to have alone.

    The controller gives none twice; but one whose database is older than the host may not know the other guest.
    """
    if spec.pinning is None:
        return
    for domain in live.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        taken = _pinned(domain).intersection(spec.pinning.threads) if domain.name() != spec.id else ()
        if taken:
            raise MachineError(f"{spec.id}: {domain.name()} still has the hardware thread {min(taken)}")


def check_huge_pages(spec: MachineSpec) -> None:
    """Raise MachineError if the huge pages that a guest needs are not free: somebody else has them."""
    if spec.pinning is None or not spec.pinning.huge_pages:
        return
    node, needed = spec.pinning.node, spec.memory // hardware.HUGE_PAGE
    free = hardware.free_huge_pages(node)
    if free < needed:
        raise MachineError(
            f"{spec.id}: {free} of {needed} huge pages of 2 MiB are free in memory node {node}: "
            "there are fewer than before, or others use them"
        )


def renew(domain: Any, spec: MachineSpec, shared: str) -> None:
    """Move a running guest to the threads that it may use now; with no `shared` ones named it stays where it is.

    The cores that it has alone are those of its start.
    """
    if not shared:
        return
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    emulator = domain.emulatorPinInfo(live)
    allowed = _map(hardware.parse_threads(shared), len(emulator))
    if emulator != allowed:
        domain.pinEmulator(allowed, live)
    if spec.pinning is not None:
        return
    for vcpu, has in enumerate(domain.vcpuPinInfo(live)):
        if has != allowed:
            domain.pinVcpuFlags(vcpu, allowed, live)


def _pinned(domain: Any) -> set[int]:
    """Return the threads that a running guest's vCPUs were pinned to; none if it has just ended."""
    try:
        text = domain.XMLDesc(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return set()
        raise
    pins = ET.fromstring(text).iterfind("cputune/vcpupin")  # noqa: S314 (libvirt's own)
    return {thread for pin in pins for thread in hardware.parse_threads(pin.get("cpuset", ""))}


def _map(threads: tuple[int, ...], count: int) -> tuple[bool, ...]:
    return tuple(number in threads for number in range(count))
