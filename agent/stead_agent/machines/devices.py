"""What libvirt is asked about the devices of a domain, and told to do with them."""

from collections.abc import Iterator
from typing import Any

import libvirt

from stead_agent.machines import plug


def ask_to_let_go(domain: Any, alias: str) -> None:
    """Ask a guest to let go of a device, without waiting for it: its removal comes as an event.

    A guest may have been asked before, or may have let go by now.
    """
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in {libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED}:
            raise


def plugged(domain: Any) -> plug.Plugged:
    """Read which disks a running domain has: none when it is just vanishing."""
    try:
        return plug.plugged(domain.XMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return plug.Plugged({})
        raise


def full_disks(domain: Any, has: plug.Plugged) -> Iterator[str]:
    """List the volumes that had no room for what the guest wrote; an instance store disk goes by its target."""
    volumes = {target: volume_id for volume_id, target in has.targets.items()}
    for target, error in domain.diskErrors(0).items():
        if error == libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE:
            yield volumes.get(target, target)
