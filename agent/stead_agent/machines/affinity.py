"""On which hardware threads a running guest may be, and whether there are the huge pages that a start needs."""

from typing import Any

import libvirt

from stead_agent import hardware
from stead_agent.machines.interface import MachineError, MachineSpec


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


def _map(threads: tuple[int, ...], count: int) -> tuple[bool, ...]:
    return tuple(number in threads for number in range(count))
