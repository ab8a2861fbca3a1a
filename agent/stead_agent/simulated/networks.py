"""Links, rules, DHCP and metadata of a simulated host: remembered as applied, with violations of the interfaces."""

import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from stead_agent import findings
from stead_agent.dhcp.interface import VpcDhcp
from stead_agent.endpoints.interface import Endpoint
from stead_agent.firewall.interface import HostFirewall, Refusal, VpcFirewall
from stead_agent.flow_logs.interface import VpcFlowLogs
from stead_agent.metadata.interface import Guest, MetadataError, PushedKey, Uses
from stead_agent.network.interface import (
    GatewayCounters,
    HostNetwork,
    HostPaths,
    LocalInterface,
    NetworkError,
    Touched,
    VpcNetwork,
)
from stead_agent.replacing import replacer
from stead_agent.simulated.world import World

_with_names: Final = replacer(VpcDhcp, "names")


class SimulatedNetwork:
    """Remembers the links and routes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._host_applied = False
        self.overlay_mtu = 0  # MTU between hosts

    def apply_host(self, host: HostNetwork) -> HostPaths:
        """Remember the pools; there is no uplink."""
        with self._world.call("network.apply_host") as objects:
            objects.public_pools = host.public_pools
            self._host_applied = True
        return HostPaths(None, None, host.public_pools, is_router=False, overlay_mtu=self.overlay_mtu)

    def apply(self, vpc: VpcNetwork) -> None:
        """Remember the VPC, and record what it removes under a running guest."""
        with self._world.call("network.apply", vpc.vpc_id) as objects:
            if not self._host_applied:
                self._world.broken(f"{vpc.vpc_id} applied before the host's network")
            gone = {each.id for each in _interfaces(objects.networks.get(vpc.vpc_id))} - {
                each.id for each in vpc.interfaces
            }
            if gone:
                self._note_used(gone)
            for each in gone:
                objects.bandwidths.pop(each, None)
            objects.networks[vpc.vpc_id] = vpc

    def settle(self, vpc_id: str, interface_ids: AbstractSet[str]) -> None:
        """Remember which interfaces' traffic is limited."""
        with self._world.call("network.settle", vpc_id) as objects:
            known = {each.id: each for each in _interfaces(objects.networks.get(vpc_id))}
            if not interface_ids <= known.keys():
                self._world.broken(f"interfaces settled before the network of {vpc_id} was applied")
            for each in interface_ids & known.keys():
                objects.bandwidths[each] = known[each].bandwidth

    def remove(self, vpc_id: str) -> None:
        """Forget the VPC."""
        with self._world.call("network.remove", vpc_id) as objects:
            if vpc_id in objects.firewalls:
                self._world.broken(f"network removed before the firewall: {vpc_id}")
            if vpc_id in objects.dhcps:
                self._world.broken(f"network removed before DHCP: {vpc_id}")
            gone = {each.id for each in _interfaces(objects.networks.pop(vpc_id, None))}
            self._note_used(gone)
            for each in gone:
                objects.bandwidths.pop(each, None)

    def _note_used(self, interface_ids: set[str]) -> None:
        for machine_id, guest in self._world.objects.guests.items():
            used = {nic.interface_id for nic in guest.spec.nics} & interface_ids
            if used and guest.power.value != "off":
                self._world.broken(f"interface {used.pop()} taken from under running {machine_id}")

    def present(self) -> AbstractSet[str]:
        """List the VPCs."""
        with self._world.lock:
            return frozenset(self._world.objects.networks)

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        """Report no changes."""
        del touched
        return ()

    def subscribe(self, report: Callable[[Touched], None]) -> Callable[[], None]:
        """Report nothing: there are no foreign changes here."""
        del report
        return lambda: None

    def unsettled(self) -> AbstractSet[str]:
        """Report no changes."""
        return frozenset()

    def look(self, path: findings.Path) -> list[findings.Finding]:
        """Tell whether the interface was applied."""
        with self._world.lock:
            vpc = self._world.objects.networks.get(path.vpc_id)
        known = path.interface_id in {each.id for each in _interfaces(vpc)}
        return [findings.Finding("tap", path.interface_id, ok=known, detail="simulated")]

    def capture(self, interface_id: str, seconds: float, packets: int, snap_length: int) -> bytes:
        """Refuse: there are no packets here."""
        raise NetworkError(
            f"{interface_id}: no {packets} packets of {snap_length} bytes in {seconds} simulated seconds"
        )

    def traffic(self, vpc_ids: Collection[str] | None) -> Mapping[str, Mapping[tuple[str, str, str], int]]:
        """Count nothing: there are no packets here."""
        del vpc_ids
        return {}

    def gateway_counters(self, gateway_ids: Iterable[str]) -> Mapping[str, GatewayCounters]:
        """Count nothing: there are no packets here."""
        del gateway_ids
        return {}

    def namespace_path(self, vpc_id: str) -> Path:
        """Return a path that does not exist."""
        return Path("/run/netns") / vpc_id

    def socket(
        self, vpc_id: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """Refuse: there are no packets here."""
        raise NetworkError(f"no socket of kind {family}/{kind}/{protocol} in simulated {vpc_id}")


class SimulatedFirewall:
    """Remembers the rules."""

    def __init__(self, world: World) -> None:
        self._world = world

    def apply_host(self, host: HostFirewall) -> None:
        """Remember the hosts that are let in."""
        with self._world.call("firewall.apply_host", str(host.uplink)) as objects:
            objects.underlay_peers = host.underlay_peers

    def apply(self, vpc: VpcFirewall) -> tuple[Refusal, ...]:
        """Remember the VPC."""
        with self._world.call("firewall.apply", vpc.vpc_id) as objects:
            if vpc.vpc_id not in objects.networks:
                self._world.broken(f"firewall applied before the network: {vpc.vpc_id}")
            objects.firewalls[vpc.vpc_id] = vpc
        return ()

    def remove(self, vpc_id: str) -> None:
        """Forget the VPC."""
        with self._world.call("firewall.remove", vpc_id) as objects:
            objects.firewalls.pop(vpc_id, None)

    def present(self) -> AbstractSet[str]:
        """List the VPCs."""
        with self._world.lock:
            return frozenset(self._world.objects.firewalls)

    def look(self, path: findings.Path) -> list[findings.Finding]:
        """Tell whether the VPC's rules were applied."""
        with self._world.lock:
            known = path.vpc_id in self._world.objects.firewalls
        return [findings.Finding("security groups", path.interface_id, ok=known, detail="simulated")]

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        """Report no changes."""
        del touched
        return ()


class SimulatedFlowLogs:
    """Remembers what would be logged; ends with the agent, as the real thread does."""

    def __init__(self) -> None:
        self.desired: dict[str, VpcFlowLogs] = {}

    def apply(self, vpc: VpcFlowLogs) -> None:
        """Remember the VPC."""
        if vpc.logs:
            self.desired[vpc.vpc_id] = vpc
        else:
            self.desired.pop(vpc.vpc_id, None)

    def remove(self, vpc_id: str) -> None:
        """Forget the VPC."""
        self.desired.pop(vpc_id, None)


class SimulatedDhcp:
    """Remembers what each server would answer."""

    def __init__(self, world: World) -> None:
        self._world = world

    def apply(self, wanted: VpcDhcp) -> None:
        """Remember the server."""
        with self._world.call("dhcp.apply", wanted.vpc_id) as objects:
            if wanted.vpc_id not in objects.networks:
                self._world.broken(f"DHCP applied before the network: {wanted.vpc_id}")
            # Of other hosts' interfaces there may be thousands of names, which nothing here resolves.
            objects.dhcps[wanted.vpc_id] = _with_names(wanted, ())

    def remove(self, vpc_id: str) -> None:
        """Forget the server."""
        with self._world.call("dhcp.remove", vpc_id) as objects:
            objects.dhcps.pop(vpc_id, None)

    def present(self) -> frozenset[str]:
        """List the VPCs."""
        with self._world.lock:
            return frozenset(self._world.objects.dhcps)

    def audit(self) -> tuple[str, ...]:
        """Report no changes."""
        return ()


class SimulatedEndpoints:
    """Remembers what would be relayed; ends with the agent, as the real relay does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.served: dict[str, tuple[Endpoint, ...]] = {}

    def apply(self, vpc_id: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Remember a VPC's endpoints."""
        if self.served.get(vpc_id, ()) == endpoints:
            return
        with self._world.call("endpoints.apply", vpc_id) as objects:
            network = objects.networks.get(vpc_id)
            ways = {each.id for each in network.endpoints} | network.endpoint_interfaces if network else set()
            if not {each.namespace.name for each in endpoints} <= ways:
                self._world.broken(f"endpoints of {vpc_id} applied before the network")
            self.served[vpc_id] = endpoints

    def remove(self, vpc_id: str) -> None:
        """Forget a VPC's endpoints."""
        self.apply(vpc_id, ())

    def audit(self) -> tuple[str, ...]:
        """Report no changes."""
        return ()

    def close(self) -> None:
        """Forget everything."""
        self.served.clear()


class SimulatedMetadata:
    """Remembers what guests would read; ends with the agent, as the real service does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.served: set[str] = set()
        self.guests: dict[str, dict[str, Guest]] = {}
        self.asked: dict[str, int] = {}  # how often a guest has asked without a token
        self.pushed: list[tuple[str, PushedKey]] = []  # with the instance's id, in the order in which they came

    def serve(self, vpc_id: str, namespace: Path) -> None:
        """Remember that the VPC is served."""
        with self._world.call("metadata.serve", vpc_id) as objects:
            if vpc_id not in objects.networks:
                self._world.broken(f"metadata served before {namespace} is there")
            self.served.add(vpc_id)

    def withdraw(self, vpc_id: str) -> None:
        """Forget the VPC and its guests."""
        with self._world.call("metadata.withdraw", vpc_id):
            self.served.discard(vpc_id)
            self.guests.pop(vpc_id, None)

    def put(self, vpc_id: str, guest: Guest) -> None:
        """Remember the guest."""
        with self._world.call("metadata.put", guest.instance_id):
            self.guests.setdefault(vpc_id, {})[guest.instance_id] = guest

    def remove(self, vpc_id: str, instance_id: str) -> None:
        """Forget the guest."""
        with self._world.call("metadata.remove", instance_id):
            guests = self.guests.get(vpc_id, {})
            guests.pop(instance_id, None)
            if not guests:
                self.guests.pop(vpc_id, None)

    def push_key(self, instance_id: str, key: PushedKey) -> None:
        """Remember the key."""
        with self._world.call("metadata.push_key", instance_id):
            if not any(instance_id in guests for guests in self.guests.values()):
                raise MetadataError(f"{instance_id} has no metadata here")
            self.pushed.append((instance_id, key))

    def uses(self) -> Mapping[str, Uses]:
        """Return how often each guest has asked."""
        with self._world.lock:
            found = [instance_id for guests in self.guests.values() for instance_id in guests]
            return {instance_id: Uses("simulated", self.asked.get(instance_id, 0), 0) for instance_id in found}

    def present(self) -> Mapping[str, frozenset[str]]:
        """List the VPCs and guests."""
        with self._world.lock:
            return {vpc_id: frozenset(self.guests.get(vpc_id, {})) for vpc_id in self.served | self.guests.keys()}

    def close(self) -> None:
        """Forget everything."""
        self.served.clear()
        self.guests.clear()


def _interfaces(vpc: VpcNetwork | None) -> tuple[LocalInterface, ...]:
    return vpc.interfaces if vpc is not None else ()
