"""The subsystems that a reconciler works with: the real ones, or simulated ones with the same interfaces."""

from dataclasses import dataclass

from stead_agent.credits.interface import Credits
from stead_agent.dhcp.interface import Dhcp
from stead_agent.disks.bases.interface import Bases
from stead_agent.disks.exports.interface import Exports
from stead_agent.disks.snapshots.interface import Snapshots
from stead_agent.disks.volumes.interface import Volumes
from stead_agent.endpoints.interface import Endpoints
from stead_agent.firewall.interface import Firewall
from stead_agent.flow_logs.interface import FlowLogs
from stead_agent.machines.interface import FirmwareStates, Machines
from stead_agent.metadata.interface import MetadataService
from stead_agent.metrics.interface import Counters
from stead_agent.network.interface import Network
from stead_agent.pci.interface import PciDevices
from stead_agent.reachability.interface import Reachability
from stead_agent.traffic.interface import Traffic


@dataclass(frozen=True, slots=True)
class Subsystems:
    """One of each; every method may block, may be repeated and may be called from any thread."""

    network: Network
    firewall: Firewall
    flow_logs: FlowLogs
    dhcp: Dhcp
    metadata: MetadataService
    endpoints: Endpoints
    bases: Bases
    volumes: Volumes
    exports: Exports
    snapshots: Snapshots
    machines: Machines
    firmware: FirmwareStates
    reachability: Reachability
    credits: Credits
    pci: PciDevices
    counters: Counters
    traffic: Traffic
