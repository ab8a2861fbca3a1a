"""The counters of guests' vCPUs, disks and network interfaces: libvirt is asked once for all guests together."""

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt

from stead_agent.machines.domain_xml import volume_of
from stead_agent.machines.interface import MachineError, Saved
from stead_agent.machines.waiting import Asker
from stead_agent.metrics.interface import Devices, DiskCounters, NicCounters, Reading, VolumeBalance

_log = logging.getLogger(__name__)

_WHAT: Final = libvirt.VIR_DOMAIN_STATS_BLOCK | libvirt.VIR_DOMAIN_STATS_INTERFACE
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_FLAGS: Final = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_RUNNING | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
# Libvirt's names, in the order of the fields of DiskCounters and NicCounters.
_DISK: Final = ("rd.bytes", "wr.bytes", "rd.reqs", "wr.reqs", "rd.times", "wr.times")
_NIC: Final = ("rx.bytes", "tx.bytes", "rx.pkts", "tx.pkts")

type ProcessorTime = Callable[[str], tuple[str, int, int] | None]
"""Returns a machine's process, when it began in milliseconds since the boot, and its vCPUs' time in nanoseconds."""


class GuestCounters:
    """Reads the counters of one agent's guests."""

    def __init__(
        self, connection: Callable[[], Any], processor_time: ProcessorTime, saved: Callable[[str], Saved | None]
    ) -> None:
        """Store how libvirt, the vCPUs' time and what a guest has saved for its volumes are reached."""
        self._connection = connection
        self._processor_time = processor_time
        self._saved = saved
        self._asker = Asker()

    def read(self, machine_ids: Collection[str]) -> Mapping[str, Reading]:
        """Return the counters of those of these machines that run."""
        found: dict[str, Reading] = {}
        devices = self._devices(frozenset(machine_ids)) if machine_ids else {}
        for machine_id in machine_ids:
            used = self._processor_time(machine_id)
            if used is not None:
                process, began, cpu_time = used
                now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                saved = self._saved(machine_id)
                balance = None if saved is None else VolumeBalance(saved.bytes / 10, saved.operations / 10)
                found[machine_id] = Reading(
                    process, began * 1_000_000, now, cpu_time, devices.get(machine_id), balance, _resident(process)
                )
        return found

    def _devices(self, machine_ids: frozenset[str]) -> dict[str, Devices]:
        """Read all devices; those of a guest that libvirt is busy with are left out."""
        try:
            connection = self._connection()
            answer = self._asker.ask(partial(connection.getAllDomainStats, _WHAT, _FLAGS))
            if answer is None:  # the QEMU of some guest does not answer
                return {}
            ours = [(domain, stats) for domain, stats in answer if domain.name() in machine_ids]
        except (MachineError, libvirt.libvirtError) as error:
            _log.warning("counters_not_read", extra={"error": str(error)})
            return {}
        found = {}
        for domain, stats in ours:
            devices = _of_guest(domain, stats)
            if devices is not None:
                found[domain.name()] = devices
        return found


def _resident(process: str) -> int:
    """The memory of a process, by the name that `Processors` gives it, in bytes; 0 when it has just ended."""
    try:
        pages = Path(f"/proc/{process.partition('.')[0]}/statm").read_text(encoding="ascii").split()[1]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return int(pages) * _PAGE


def _of_guest(domain: Any, stats: Mapping[str, Any]) -> Devices | None:
    """Return the counters of one guest; None if libvirt does not know them all now."""
    disks = _numbers(stats, "block", _DISK)
    nics = _numbers(stats, "net", _NIC)
    if disks is None or nics is None or not disks:
        return None
    try:
        serials = _serials(domain.XMLDesc(0))
    except libvirt.libvirtError:  # it has just ended
        return None
    volumes, stores = {}, {}
    for target, numbers in disks.items():
        volume_id = volume_of(serials.get(target, ""))
        if volume_id is not None:
            volumes[volume_id] = DiskCounters(*numbers)
        else:
            stores[target] = DiskCounters(*numbers)
    return Devices(volumes, stores, {name: NicCounters(*numbers) for name, numbers in nics.items()})


def _numbers(stats: Mapping[str, Any], group: str, names: Collection[str]) -> dict[str, list[int]] | None:
    """Return the counters of each device of a group, by libvirt's name of it; None if one is missing."""
    found: dict[str, list[int]] = {}
    for number in range(stats.get(f"{group}.count", 0)):
        keys = [f"{group}.{number}.{name}" for name in names]
        if not stats.keys() >= set(keys):
            return None
        found[stats[f"{group}.{number}.name"]] = [int(stats[key]) for key in keys]
    return found


def _serials(domain_xml: str) -> dict[str, str]:
    """Return the serial numbers of a domain's disks, by their targets."""
    found = {}
    for disk in ET.fromstring(domain_xml).iterfind("devices/disk"):  # noqa: S314 (libvirt's own)
        target = disk.find("target")
        if target is not None:
            found[target.get("dev", "")] = disk.findtext("serial", "")
    return found
