"""One simulated host: subsystems over a world in memory, and events that a test may trigger."""

import itertools
import time
import uuid
from pathlib import Path
from typing import Final

from stead_agent.machines.interface import OffReason, Power
from stead_agent.reconcile import translate
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.simulated.clock import Clock
from stead_agent.simulated.counters import SimulatedCounters
from stead_agent.simulated.credits import SimulatedCredits
from stead_agent.simulated.disks import SimulatedBases, SimulatedVolumes
from stead_agent.simulated.exports import SimulatedExports
from stead_agent.simulated.firmware import SimulatedFirmware
from stead_agent.simulated.machines import Durations, SimulatedMachines
from stead_agent.simulated.networks import (
    SimulatedDhcp,
    SimulatedEndpoints,
    SimulatedFirewall,
    SimulatedFlowLogs,
    SimulatedMetadata,
    SimulatedNetwork,
)
from stead_agent.simulated.pci import SimulatedPciDevices
from stead_agent.simulated.reachability import SimulatedReachability
from stead_agent.simulated.snapshots import SimulatedSnapshots
from stead_agent.simulated.traffic import SimulatedTraffic
from stead_agent.simulated.world import World
from stead_proto.v1 import host_pb2

GIB: Final = 1 << 30
_numbers = itertools.count(1)


def simulated_device(number: int, model: str) -> host_pb2.PciDevice:
    """Make a PCI device of an IOMMU group of its own, as an agent reports it."""
    address = f"0000:{number:02x}:00.0"
    return host_pb2.PciDevice(address=address, model=model, iommu_group=number, numa_node=-1, reset="flr")


def simulated_core(number: int) -> host_pb2.WholeCore:
    """Make a core of two threads, as an agent reports it: the first of a host are all in memory node 0."""
    return host_pb2.WholeCore(number=2 * number, numa_node=0, threads=[2 * number, 2 * number + 1])


class SimulatedHost:
    """A host whose kernel, disks and guests are in memory; an agent is put on it with `subsystems`.

    `restart_agent` returns the subsystems of a new agent process over the same world; `reboot` reboots the host itself.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        hostname: str = "",
        cpus: int = 64,
        memory: int = 256 * GIB,
        disk: int = 4096 * GIB,
        world_file: Path | None = None,
        durations: Durations | None = None,
    ) -> None:
        self.hostname = hostname or f"simulated-{next(_numbers)}"
        self.cpus = cpus
        self.memory = memory
        self.disk = disk
        self.durations = durations or Durations()
        self.devices: list[host_pb2.PciDevice] = []  # that its operator lets guests have
        self.whole_cores: list[host_pb2.WholeCore] = []  # that its operator has set apart
        self.huge_pages = 0  # of its one memory node
        self.world = World(world_file)
        self._clock = clock
        self.machines: SimulatedMachines
        self.subsystems = self._new_subsystems()

    def restart_agent(self) -> Subsystems:
        """Return the subsystems of a new agent process: what was in the old one's memory is lost."""
        self.machines.close()
        self.subsystems = self._new_subsystems()
        return self.subsystems

    def _new_subsystems(self) -> Subsystems:
        self.metadata = SimulatedMetadata(self.world)
        self.machines = SimulatedMachines(self.world, self.metadata, self._clock, self.durations)
        self.reachability = SimulatedReachability(self._clock, self.durations)
        self.credits = SimulatedCredits(self.world)
        self.counters = SimulatedCounters(self.world)
        self.traffic = SimulatedTraffic()
        self.volumes = SimulatedVolumes(self.world, self.disk)
        self.flow_logs = SimulatedFlowLogs()
        return Subsystems(
            network=SimulatedNetwork(self.world),
            firewall=SimulatedFirewall(self.world),
            flow_logs=self.flow_logs,
            dhcp=SimulatedDhcp(self.world),
            metadata=self.metadata,
            endpoints=SimulatedEndpoints(self.world),
            bases=SimulatedBases(self.world),
            volumes=self.volumes,
            exports=SimulatedExports(self.world),
            snapshots=SimulatedSnapshots(self.world, self._clock, self.durations),
            machines=self.machines,
            firmware=SimulatedFirmware(self.world),
            reachability=self.reachability,
            credits=self.credits,
            pci=SimulatedPciDevices(self.world),
            counters=self.counters,
            traffic=self.traffic,
        )

    # -- what the agent reports of it

    def facts(self) -> host_pb2.HostFacts:
        """What the host is."""
        return host_pb2.HostFacts(
            hostname=self.hostname,
            architecture="x86_64",
            cpus=self.cpus,
            memory=self.memory,
            disk=self.disk,
            virtualization="qemu",
            virtualization_reason="simulated",
            boot_id=self.world.objects.boot_id,
            libvirt_version="simulated",
            qemu_version="simulated",
            simulated=True,
            pools=self.pools(),
            boot_modes=("legacy-bios", "uefi"),
            tpm=True,
            lays_firmware=True,
            devices=self.devices,
            hardware=host_pb2.Hardware(
                cores=self.cpus,
                cpu_model="simulated",
                numa_nodes=[host_pb2.NumaNode(memory=self.memory, huge_pages=self.huge_pages)],
                whole_cores=self.whole_cores,
            ),
        )

    def pools(self) -> list[host_pb2.StoragePool]:
        """The storage pools."""
        return translate.storage_pools(self.volumes.pools())

    def disk_free(self) -> int:
        """Bytes free for guests' disks."""
        return self.volumes.capacity().free

    # -- events

    def power_off_guest(self, machine_id: str) -> None:
        """Let a guest power itself off."""
        self.machines.end_guest(machine_id, OffReason.GUEST)

    def crash_guest(self, machine_id: str) -> None:
        """Let a guest's process fail."""
        self.machines.end_guest(machine_id, OffReason.CRASHED)

    def hang_guest(self, machine_id: str) -> None:
        """Let a guest ignore the power button."""
        self.machines.hang_guest(machine_id)

    def silence_guest(self, machine_id: str, *, silent: bool) -> None:
        """Let a guest no longer answer at its primary interface, or do so again."""
        self.reachability.silence(machine_id, silent=silent)

    def fill_volume(self, machine_id: str, volume_id: str, *, full: bool) -> None:
        """Set whether a volume is full for a guest's writes, which pauses the guest."""
        self.machines.fill_volume(machine_id, volume_id, full=full)

    def stall_volume(self, machine_id: str, volume_id: str, *, stalled: bool) -> None:
        """Set whether a running guest's requests to a volume are done."""
        self.machines.stall_volume(machine_id, volume_id, stalled=stalled)

    def hang_qemu(self, machine_id: str, *, since: int) -> None:
        """Let a guest's QEMU no longer answer since a time in Unix seconds, or again: 0."""
        self.machines.hang_qemu(machine_id, since=since)

    def silence_agent(self, machine_id: str, *, since: int) -> None:
        """Let a guest's agent no longer answer since a time in Unix seconds, or again: 0."""
        self.machines.silence_agent(machine_id, since=since)

    def keep_disks(self, machine_id: str, *, keeps: bool) -> None:
        """Set whether a guest refuses to release devices; if not, it releases them when it is next asked."""
        self.machines.keep_disks(machine_id, keeps=keeps)

    def set_libvirt_away(self, *, away: bool) -> None:
        """Set whether libvirt is away."""
        self.machines.set_away(away=away)

    def fail_next(self, name: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        """Let the next calls of a name, such as `machines.start`, end with an error, before or after their work."""
        self.world.fail_next(name, error, times=times, after=after)

    def reboot(self) -> Subsystems:
        """Reboot the host: guests are off, the kernel's network is gone, disks stay."""
        with self.world.lock:
            objects = self.world.objects
            objects.boot_id = str(uuid.uuid4())
            objects.networks.clear()
            objects.firewalls.clear()
            objects.dhcps.clear()
            objects.exports.clear()
            objects.remotes.clear()
            for guest in objects.guests.values():
                if guest.power is not Power.OFF:
                    guest.power = Power.OFF
                    guest.off_reason = OffReason.HOST
                    guest.off_since = int(time.time())
                    guest.epoch += 1
            self.world.save()
        return self.restart_agent()

    # -- what a test may inspect

    def running(self) -> set[str]:
        """List the guests that are not off."""
        with self.world.lock:
            return {name for name, guest in self.world.objects.guests.items() if guest.power is not Power.OFF}

    def remains(self) -> dict[str, list[str]]:
        """List everything that exists, by kind; empty when nothing is left."""
        with self.world.lock:
            objects = self.world.objects
            kinds = {
                "networks": sorted(objects.networks),
                "firewalls": sorted(objects.firewalls),
                "dhcps": sorted(objects.dhcps),
                "metadata": sorted(self.metadata.present()),
                "volumes": sorted(objects.volumes),
                "stores": sorted(objects.stores),
                "exports": sorted({*objects.exports, *objects.remotes}),
                "bases": sorted(objects.bases),
                "snapshots": sorted(objects.snapshots),
                "guests": sorted(objects.guests),
                "firmware": sorted(objects.firmware),
                "devices": sorted(objects.devices),
            }
        return {kind: names for kind, names in kinds.items() if names}

    @property
    def violations(self) -> list[str]:
        """Interface rules between subsystems that the agent violated."""
        return self.world.objects.violations
