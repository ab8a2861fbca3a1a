"""The counters of simulated guests: idle, unless a test gives them a load."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stead_agent.machines.interface import Power
from stead_agent.metrics.interface import Devices, DiskCounters, NicCounters, Reading
from stead_agent.simulated.world import World


@dataclass(slots=True)
class _Load:
    """What a guest does each second since a time."""

    since: int  # nanoseconds since the host's boot
    share: float  # of each vCPU
    bytes: int  # through its first nic, in each direction, and to and from its first volume


class SimulatedCounters:
    """The counters of a world's guests, which grow with the time of the real clock."""

    def __init__(self, world: World) -> None:
        """Let all be idle."""
        self._world = world
        self._loads: dict[str, _Load] = {}
        self._began: dict[tuple[str, int], int] = {}

    def set_load(self, machine_id: str, share: float, bytes_per_second: int = 0) -> None:
        """Let a guest use this share of its vCPUs, and do this much with its network and its volumes, from now on."""
        self._loads[machine_id] = _Load(_now(), share, bytes_per_second)

    def read(self, machine_ids: Collection[str]) -> Mapping[str, Reading]:
        """Return the counters of those that run."""
        found = {}
        now = _now()
        with self._world.lock:
            for machine_id in machine_ids:
                guest = self._world.objects.guests.get(machine_id)
                if guest is None or guest.power not in (Power.RUNNING, Power.STOPPING):
                    continue
                key = machine_id, guest.start_count
                began = self._began.setdefault(key, now)
                load = self._loads.get(machine_id, _Load(now, 0.0, 0))
                passed = now - load.since
                count = load.bytes * passed // 1_000_000_000
                volumes = [disk.id for disk in guest.spec.disks if disk.id.startswith("vol-")]
                disks = {each: DiskCounters(count, count, count // 4096, count // 4096) for each in volumes[:1]}
                disks |= {each: DiskCounters() for each in volumes[1:]}
                nics = {nic.mac_address: NicCounters() for nic in guest.spec.nics[1:]}
                nics |= {
                    nic.mac_address: NicCounters(count, count, count // 1500, count // 1500)
                    for nic in guest.spec.nics[:1]
                }
                used = int(load.share * guest.spec.vcpus * passed)
                found[machine_id] = Reading(
                    f"{machine_id}.{guest.start_count}",
                    began,
                    now,
                    used,
                    Devices(disks, {}, nics),
                    memory=guest.spec.memory,
                )
        return found


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
