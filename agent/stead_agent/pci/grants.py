"""Which PCI devices guests may have: those that the operator named, and of these those that VFIO can give. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stead_agent.pci.inventory import PciDevice


@dataclass(frozen=True, slots=True)
class Grant:
    """A device that the operator lets guests have; `refusal` says why none can have it now, empty if one can."""

    device: PciDevice
    refusal: str = ""


def grants(devices: Iterable[PciDevice], named: Collection[str]) -> list[Grant]:
    """Judge the devices that are named by their address or their model, in the order of the devices.

    A device can be given if it can be reset, so that nothing of one guest is left for the next, and if the same holds
    for all others of its IOMMU group, which the guest gets too. Bridges stay with the host.
    """
    devices = list(devices)
    groups: defaultdict[int, list[PciDevice]] = defaultdict(list)
    for device in devices:
        if device.iommu_group is not None and not device.is_bridge:
            groups[device.iommu_group].append(device)
    return [
        Grant(device, _refusal(device, groups[device.iommu_group] if device.iommu_group is not None else (), named))
        for device in devices
        if is_named(device, named)
    ]


def is_named(device: PciDevice, named: Collection[str]) -> bool:
    """Tell whether the operator has named a device."""
    return device.address in named or device.model in named


def _refusal(device: PciDevice, group: Iterable[PciDevice], named: Collection[str]) -> str:
    """Say why a named device cannot be given away."""
    own = _own_refusal(device)
    if own:
        return own
    for other in group:
        shares = f"it shares IOMMU group {device.iommu_group} with {other.address}"
        if not is_named(other, named):
            return f"{shares}, which guests may not have"
        others = _own_refusal(other)
        if others:
            return f"{shares}: {others}"
    return ""


def _own_refusal(device: PciDevice) -> str:
    if device.is_bridge:
        return "it is a bridge"
    if device.iommu_group is None:
        return "it has no IOMMU group: the IOMMU is off"
    if not device.reset:
        return "the kernel cannot reset it between guests"
    return ""
