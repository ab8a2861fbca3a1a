"""What libvirt is asked about the devices of a domain, and told to do with them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import libvirt_qemu

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


def grow(domain: Any, has: plug.Plugged, volume_id: str, size: int, by_proxy: Callable[[], None]) -> None:
    """Let a guest see a disk as large as this, if it is smaller.

    One of another host it must use by the proxy then: `by_proxy` sees to that.
    """
    target = has.targets[volume_id]
    capacity, _allocation, _physical = domain.blockInfo(target)
    if capacity >= size:
        return
    if alias := has.aliases.get(volume_id):
        by_proxy()
        _reconnect(domain, alias)
    domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _reconnect(domain: Any, alias: str) -> None:
    """Let QEMU notice that the proxy of a disk has ended the connection: the next one learns the disk's new size.

    An NBD client notices with its next request only, and a guest may be idle; so it is asked for a flush, which QMP has
    no command for. QEMU waits for it, so only when the proxy has just been told the size by the disk's home.
    """
    line = f"qemu-io -d /machine/peripheral/{alias}/virtio-backend flush"
    command = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    libvirt_qemu.qemuMonitorCommand(domain, json.dumps(command), libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT)
