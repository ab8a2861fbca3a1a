"""Work on the host network and each VPC: links, rules, DHCP, metadata, in this order, before a guest's first packet."""

from collections.abc import Iterable
from dataclasses import dataclass

from stead_agent.firewall.interface import Refusal
from stead_agent.logs import Log
from stead_agent.metadata.interface import Guest
from stead_agent.reconcile import translate_vpc
from stead_agent.reconcile.drawn_vpc import Drawings
from stead_agent.reconcile.metadata_guests import GuestBook
from stead_agent.reconcile.plan import VpcContents
from stead_agent.reconcile.reports import status
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.work import Outcome, Unmet
from stead_agent.wanted import HOST_NETWORK, Key, key_of
from stead_proto.v1 import host_pb2
from stead_proto.v1.desired_pb2 import Resource
from stead_proto.v1.host_pb2 import ResourceStatus

_log = Log(__name__)


@dataclass(slots=True)
class HostNetworkWork:
    """What the whole host needs, before any VPC; without a resource it has no public addresses."""

    unit: Key
    resource: Resource | None
    uplink: str
    underlay_address: str
    reachable: translate_vpc.Reachable
    unclaimed_peers: frozenset[str]
    parts: Subsystems
    overlay_mtu: int = 0  # MTU between hosts, once it is known and there are other hosts; 0: no limit

    def run(self) -> Outcome:
        """Apply the host's links and rules."""
        wanted = translate_vpc.host_network(self.resource, self.uplink, self.underlay_address)
        found = self.parts.network.apply_host(wanted)
        rules = translate_vpc.host_firewall(self.resource, wanted, found, self.reachable, self.unclaimed_peers)
        self.parts.firewall.apply_host(rules)
        self.overlay_mtu = found.overlay_mtu if rules.underlay_peers else 0
        if self.resource is None:
            return Outcome(gone=[HOST_NETWORK])
        return Outcome(statuses=[status(self.unit, self.resource.revision, host_pb2.CONDITION_READY)])

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Return the host network."""
        return [(self.unit, self.resource.revision)] if self.resource is not None else []


@dataclass(slots=True)
class VpcWork:
    """A VPC with its subnets, groups and interfaces: one unit, since the kernel's state is changed as a whole."""

    unit: Key
    resource: Resource | None  # as desired, or as it was until a guest has released it
    is_wanted: bool
    contents: VpcContents
    gone: tuple[Key, ...]  # parts and mappings that may be reported as gone once this is applied
    beyond: translate_vpc.Beyond
    wanted_parts: frozenset[Key]
    parts_are_told: bool  # that the VPC and all its parts are ready was reported, and is so unless the firewall refuses
    open_mappings: tuple[tuple[Key, int], ...]  # whose status is due, with their revisions
    unmet: Unmet  # the host network
    guests: tuple[tuple[int, Guest], ...]  # to be registered before the VPC is served for the first time
    settings: translate_vpc.VpcSettings
    parts: Subsystems
    book: GuestBook
    drawings: Drawings
    is_well: bool = False  # it was applied, and nothing was refused

    def run(self) -> Outcome:
        """Apply or remove it."""
        if self.unmet:
            return Outcome(wait_on=self.unmet.units)
        if not self.is_wanted and self.contents.is_empty:
            return self._remove()
        if self.resource is None:
            return self._orphaned_parts()
        refusals = self._apply(self.resource)
        for key in self.gone:
            self.drawings.forget(key.id)
        self.is_well = not refusals
        statuses = self._statuses(self.resource, refusals)
        return Outcome(statuses=statuses, ready=self.open_mappings, gone=list(self.gone))

    def _apply(self, vpc: Resource) -> tuple[Refusal, ...]:
        drawn = self.drawings.of(vpc, self.contents, self.beyond, self.settings)
        self.parts.network.apply(drawn.network)
        self.parts.traffic.own(vpc.id, drawn.owners, drawn.peers)
        refusals = self.parts.firewall.apply(drawn.firewall)
        self.parts.flow_logs.apply(drawn.flow_logs)
        self.parts.dhcp.apply(drawn.dhcp)
        self.parts.endpoints.apply(vpc.id, drawn.endpoints)
        for order, guest in self.guests:
            self.book.put(order, guest)
        self.parts.metadata.serve(vpc.id, drawn.dhcp.namespace)
        return refusals

    def _remove(self) -> Outcome:
        vpc_id = self.unit.id
        self.book.withdraw(vpc_id)
        self.parts.endpoints.remove(vpc_id)
        self.parts.dhcp.remove(vpc_id)
        self.parts.flow_logs.remove(vpc_id)
        self.parts.firewall.remove(vpc_id)
        self.parts.traffic.read_last(vpc_id)
        self.parts.network.remove(vpc_id)
        for key in (*self.gone, self.unit):
            self.drawings.forget(key.id)
        _log.info("vpc_removed", vpc=vpc_id)
        return Outcome(gone=[*self.gone, self.unit])

    def _orphaned_parts(self) -> Outcome:
        """Wait for the VPC, which is unknown while its parts are known."""
        statuses = [
            status(key, part.revision, host_pb2.CONDITION_PENDING, f"{self.unit.id} is not known here")
            for part in self.contents.parts
            if (key := key_of(part)) in self.wanted_parts and key is not None
        ]
        return Outcome(statuses=statuses, gone=list(self.gone), wait_seconds=60)

    def _statuses(self, vpc: Resource, refusals: tuple[Refusal, ...]) -> list[ResourceStatus]:
        """Report each desired part but its places as ready, except what the firewall left out."""
        reasons: dict[str, list[str]] = {}
        for refusal in refusals:
            reasons.setdefault(refusal.id, []).append(f"{refusal.id}: {refusal.reason}")
            _log.warning("firewall_refused", vpc=vpc.id, what=refusal.id, reason=refusal.reason)
        statuses: list[ResourceStatus] = []
        if self.parts_are_told and not refusals:
            return statuses
        if self.is_wanted:
            statuses.append(status(self.unit, vpc.revision, host_pb2.CONDITION_READY))
        for part in self.contents.parts:
            key = key_of(part)
            if key is None or key not in self.wanted_parts:
                continue
            ids = [part.id, *(rule.id for rule in part.security_group.rules)]
            why = [reason for each in ids for reason in reasons.get(each, [])] if reasons else []
            condition = host_pb2.CONDITION_FAILED if why else host_pb2.CONDITION_READY
            statuses.append(status(key, part.revision, condition, "; ".join(why)))
        return statuses

    def subjects(self) -> Iterable[tuple[Key, int]]:
        """Return the VPC and its desired parts."""
        if self.is_wanted and self.resource is not None:
            yield self.unit, self.resource.revision
        for part in self.contents.parts:
            key = key_of(part)
            if key is not None and key in self.wanted_parts:
                yield key, part.revision
        yield from self.open_mappings
