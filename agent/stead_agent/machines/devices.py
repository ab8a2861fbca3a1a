"""Queries and commands to libvirt about the devices of a domain."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import libvirt
import libvirt_qemu

from stead_agent.machines import attach

_log = logging.getLogger(__name__)

_BETWEEN_REQUESTS: Final = 10.0  # seconds


class Releases:
    """Asks guests to release devices, without waiting: the removal is reported by an event.

    It does no harm to ask again, but with PCI Express's own hotplug, which arm64 has: a guest takes five seconds, in
    which QEMU refuses the same request, and libvirtd 11.3 may crash by that. So it is asked again only after ten.
    """

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self._asked: dict[tuple[str, attach.Detach], float] = {}

    def ask(self, domain: Any, architecture: str, wanted: Iterable[attach.Detach]) -> None:
        """Request the unplug of devices; it may have been requested before, or may be done by now."""
        for device in wanted:
            if architecture != "arm64" or self._is_due((domain.name(), device)):
                _release(domain, device.alias)

    def _is_due(self, request: tuple[str, attach.Detach]) -> bool:
        """Tell whether a request was not made in the last seconds, and note it."""
        now = time.monotonic()
        for known, then in list(self._asked.items()):
            if now - then >= _BETWEEN_REQUESTS:
                self._asked.pop(known, None)
        return self._asked.setdefault(request, now) == now


def _release(domain: Any, alias: str) -> None:
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in {libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED}:
            raise


def limit(domain: Any, limits: Iterable[attach.Limit]) -> None:
    """Limit disks of a running domain."""
    for one in limits:
        domain.setBlockIoTune(one.target, one.parameters(), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def plugged(domain: Any) -> attach.Plugged:
    """Return which disks a running domain has: none if it is just ending."""
    try:
        return attach.plugged(domain.XMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return attach.Plugged({})
        raise


def full_disks(domain: Any, has: attach.Plugged) -> Iterator[str]:
    """List the volumes that had no room for what the guest wrote; an instance store disk is listed by its target."""
    volumes = {target: volume_id for volume_id, target in has.targets.items()}
    for target, error in domain.diskErrors(0).items():
        if error == libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE:
            yield volumes.get(target, target)


def grow(domain: Any, has: attach.Plugged, volume_id: str, size: int, by_proxy: Callable[[], None]) -> None:
    """Show a guest this size of a disk, if it is larger than before.

    A volume of another host must be used through the proxy for that: `by_proxy` ensures it.
    """
    target = has.targets[volume_id]
    capacity, _allocation, _physical = domain.blockInfo(target)
    if capacity >= size:
        return
    if alias := has.aliases.get(volume_id):
        by_proxy()
        _reconnect(domain, alias)
    domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def show_sizes(domain: Any) -> None:
    """Tell a guest whose memory was loaded how large its disks are: they may have been grown since that was saved."""
    for target in plugged(domain).targets.values():
        try:
            capacity, _allocation, _physical = domain.blockInfo(target)
            domain.blockResize(target, capacity, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        except libvirt.libvirtError as error:  # as for one that has ended, or a disk of another host
            _log.info("size_not_shown", extra={"machine": domain.name(), "target": target, "error": str(error)})


def _reconnect(domain: Any, alias: str) -> None:
    """Make QEMU notice that the proxy of a disk has closed the connection: the next one gets the disk's new size.

    An NBD client notices only with its next request, and a guest may be idle; so a flush is requested, which QMP has no
    command for. QEMU blocks on it, so do this only when the proxy has just received the size from the disk's home.
    """
    line = f"qemu-io -d /machine/peripheral/{alias}/virtio-backend flush"
    command = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    libvirt_qemu.qemuMonitorCommand(domain, json.dumps(command), libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT)
