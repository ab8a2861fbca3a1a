"""EC2's networking as its documentation has it, in the plainest words: what all cleverer ways must agree with.

https://docs.aws.amazon.com/vpc/latest/userguide/: VPC_Security.html, vpc-network-acls.html, VPC_Route_Tables.html,
VPC_Internet_Gateway.html, egress-only-internet-gateway.html; and https://docs.aws.amazon.com/vpc/latest/peering/.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from stead_agent.firewall.interface import Acl, AclEntry, Group, GroupRule
from stead_agent.network.interface import RouteTable, RouteTo, TableRoute

OUTSIDE = "outside"
NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}


@dataclass(frozen=True)
class Eni:
    """A network interface."""

    id: str
    subnet: str
    host: str
    mac: str
    ipv4: str
    ipv6: str
    groups: tuple[str, ...] = ()
    public: str = ""
    check: bool = True

    def address(self, version: int) -> str:
        return self.ipv4 if version == 4 else self.ipv6


@dataclass(frozen=True)
class Subnet:
    """A subnet with the ids of its route table and network ACL."""

    id: str
    vpc: str
    cidr: str
    ipv6_cidr: str
    table: str = ""
    acl: str = ""


@dataclass(frozen=True)
class Vpc:
    """A VPC; `peer` is the VPC that an active peering joins it to."""

    id: str
    cidr: str
    ipv6_cidr: str
    peer: str = ""


@dataclass(frozen=True)
class Packet:
    """The first packet of a flow; `port` is an ICMP type where there are no ports."""

    source: str
    destination: str
    protocol: int
    port: int = -1
    code: int = -1


@dataclass(frozen=True)
class Arrival:
    """Where a packet ends up and what addresses it bears there."""

    place: str  # an interface's id, or OUTSIDE
    source: str
    destination: str


@dataclass
class Cloud:
    """All of it; groups' members are counted here."""

    vpcs: dict[str, Vpc] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
    enis: dict[str, Eni] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    acls: dict[str, Acl] = field(default_factory=dict)
    tables: dict[str, RouteTable] = field(default_factory=dict)

    # --- packets

    def sent(self, sender: Eni, packet: Packet, *, is_answer: bool = False) -> Arrival | None:
        """Tell where a packet of an interface arrives; None = nowhere. Groups let answers pass."""
        if sender.check and packet.source not in (sender.ipv4, sender.ipv6):
            return None
        subnet = self.subnets[sender.subnet]
        route = self.route(subnet, packet.destination)
        if route is None:
            return None
        if not self._crosses(subnet, packet, egress=True):
            return None
        if not is_answer and not self._groups_allow(sender, packet, egress=True):
            return None
        if isinstance(route, str):  # local: the VPC's own or its peer's interfaces
            if route != subnet.vpc and not self._is_of(subnet.vpc, packet.source):
                return None  # nobody passes through a VPC to its peer
            receiver = self._owner(route, packet.destination)
            return self._received(receiver, packet, is_answer=is_answer) if receiver else None
        if route.to is RouteTo.INTERFACE:
            return self._received(self.enis[route.target], packet, is_answer=is_answer)
        return self._leaves(sender, packet)

    def _leaves(self, sender: Eni, packet: Packet) -> Arrival | None:
        if ip_address(packet.source).version == 6:
            return Arrival(OUTSIDE, packet.source, packet.destination)
        if not sender.public or packet.source != sender.ipv4:
            return None
        return Arrival(OUTSIDE, sender.public, packet.destination)

    def from_outside(self, packet: Packet, *, is_answer: bool = False) -> Arrival | None:
        """Tell where a packet from the internet arrives."""
        if ip_address(packet.destination).version == 4:
            found = [eni for eni in self.enis.values() if eni.public == packet.destination]
            ways: tuple[RouteTo, ...] = (RouteTo.INTERNET,)
        else:
            found = [eni for eni in self.enis.values() if eni.ipv6 == packet.destination]
            ways = (RouteTo.INTERNET, RouteTo.EGRESS_ONLY) if is_answer else (RouteTo.INTERNET,)
        if not found:
            return None
        version = ip_address(packet.destination).version
        table = self.tables.get(self.subnets[found[0].subnet].table)
        if table is None or not any(
            route.to in ways and ip_network(route.destination).version == version for route in table.routes
        ):
            return None
        inside = Packet(packet.source, found[0].address(version), packet.protocol, packet.port, packet.code)
        return self._received(found[0], inside, is_answer=is_answer)

    def _received(self, receiver: Eni, packet: Packet, *, is_answer: bool) -> Arrival | None:
        if receiver.check and packet.destination not in (receiver.ipv4, receiver.ipv6):
            return None
        if not self._crosses(self.subnets[receiver.subnet], packet, egress=False):
            return None
        if not is_answer and not self._groups_allow(receiver, packet, egress=False):
            return None
        return Arrival(receiver.id, packet.source, packet.destination)

    # --- routes

    def route(self, subnet: Subnet, destination: str) -> TableRoute | str | None:
        """Find the route with the longest prefix: a VPC's id for the local one and a peer; None = nowhere."""
        vpc, address = self.vpcs[subnet.vpc], ip_address(destination)
        table = self.tables.get(subnet.table)
        local = [TableRoute(block, RouteTo.PEER, vpc.id) for block in (vpc.cidr, vpc.ipv6_cidr)]
        found = [
            route
            for route in (*local, *(table.routes if table else ()))
            if address.version == ip_network(route.destination).version and address in ip_network(route.destination)
        ]
        if not found:
            return None
        best = max(found, key=lambda route: ip_network(route.destination).prefixlen)
        match best.to:
            case RouteTo.NOWHERE:
                return None
            case RouteTo.PEER:
                return best.target if best.target in (vpc.id, vpc.peer) else None
            case _:
                return best

    def _is_of(self, vpc: str, address: str) -> bool:
        blocks = [ip_network(block) for block in (self.vpcs[vpc].cidr, self.vpcs[vpc].ipv6_cidr)]
        return any(block.version == ip_address(address).version and ip_address(address) in block for block in blocks)

    def _owner(self, vpc: str, address: str) -> Eni | None:
        return next(
            (
                eni
                for eni in self.enis.values()
                if self.subnets[eni.subnet].vpc == vpc and address in (eni.ipv4, eni.ipv6)
            ),
            None,
        )

    # --- network ACLs

    def _crosses(self, subnet: Subnet, packet: Packet, *, egress: bool) -> bool:
        """Tell whether a packet may leave or enter a subnet; within it nobody is asked."""
        other = ip_address(packet.destination if egress else packet.source)
        if any(
            other.version == ip_network(it).version and other in ip_network(it)
            for it in (subnet.cidr, subnet.ipv6_cidr)
        ):
            return True
        acl = self.acls[subnet.acl]
        for entry in sorted(acl.entries, key=lambda it: it.rule_number):
            if entry.egress is egress and _entry_matches(entry, packet, str(other)):
                return entry.allow
        return False

    # --- security groups

    def members(self, group_id: str) -> frozenset[str]:
        """List the private addresses of a group's interfaces."""
        return frozenset(
            address for eni in self.enis.values() if group_id in eni.groups for address in (eni.ipv4, eni.ipv6)
        )

    def _groups_allow(self, eni: Eni, packet: Packet, *, egress: bool) -> bool:
        peer = packet.destination if egress else packet.source
        return any(
            rule.egress is egress and _about(rule, packet) and self._from(rule, peer)
            for group_id in eni.groups
            for rule in self.groups[group_id].rules
        )

    def _from(self, rule: GroupRule, peer: str) -> bool:
        if rule.peer.startswith("sg-"):
            return peer in self.members(rule.peer)
        blocks = rule.blocks if rule.peer.startswith("pl-") else (rule.peer,)
        address = ip_address(peer)
        return any(address.version == ip_network(block).version and address in ip_network(block) for block in blocks)


def _entry_matches(entry: AclEntry, packet: Packet, other: str) -> bool:
    block, address = ip_network(entry.cidr), ip_address(other)
    if block.version != address.version or address not in block:
        return False
    if entry.protocol == "-1":
        return True
    if int(entry.protocol) != packet.protocol:
        return False
    return _ports_match(packet, entry.from_port, entry.to_port)


def _about(rule: GroupRule, packet: Packet) -> bool:
    if rule.protocol == "-1":
        return True
    number = NUMBERS[rule.protocol] if rule.protocol in NUMBERS else int(rule.protocol)
    return number == packet.protocol and _ports_match(packet, rule.from_port, rule.to_port)


def _ports_match(packet: Packet, first: int, last: int) -> bool:
    if packet.protocol in (6, 17):
        return first == -1 or first <= packet.port <= last
    if packet.protocol in (1, 58):
        return first == -1 or (first == packet.port and last in (-1, packet.code))
    return True
