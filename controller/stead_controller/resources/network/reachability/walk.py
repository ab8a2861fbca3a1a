"""One direction: a packet goes from interface to interface, through filters, routes and gateways.

A filter that stops the packet is noted, and the walk continues as if it had not, so that all such filters are reported
at once; a route or a gateway that cannot forward it ends the walk.
"""

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from stead_controller.resources.network.reachability.facts import (
    INTERNET_GATEWAY,
    LOCAL,
    PEERING,
    Facts,
    Interface,
    Route,
    Subnet,
)
from stead_controller.resources.network.reachability.packet import Packet, any_contains, contains, ports_text
from stead_controller.resources.network.reachability.rules import ask_acl, ask_groups
from stead_controller.resources.network.reachability.verdict import Hop, Reason

_MOST_INTERFACES: Final = 12
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")  # RFC 1918

type WalkEnd = Interface | str | None
"""Where a walk ended: at an interface, at a gateway towards the internet (its id), or nowhere."""


@dataclass(slots=True)
class Walk:
    """The walk of one packet; `stateful` skips security groups, as for the answer to what they let through.

    `translated` are the original sources that NAT gateways replaced, by the id of their interface: for an answer, those
    of the question. `ended` is where the packet arrived.
    """

    facts: Facts
    packet: Packet
    stateful: bool = False
    translated: dict[str, str] = field(default_factory=dict)
    hops: list[Hop] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ended: WalkEnd = None
    _sender: Interface | None = None
    _interfaces: int = 0

    def from_interface(self, start: Interface) -> None:
        """Walk from an interface, which sends the packet."""
        self._note_interface(start, f"{_named(start)} sends {self.packet}")
        if start.down and not self.stateful:
            self._refuse("BAD_STATE", start.id, f"{_named(start)} sends nothing: {start.down}.", interface_id=start.id)
        self._sender = start
        self._leave(start)

    def from_endpoint(self, receiver: Interface) -> None:
        """Walk with the answer from a gateway endpoint."""
        self._arrive(receiver, None)
        self.ended = receiver

    def from_internet(self, gateway_id: str, vpc_id: str) -> None:
        """Walk from the internet through a gateway to the interface that the public destination belongs to."""
        found = (
            self.facts.interface_at(vpc_id, self.packet.destination)
            if self.packet.ipv6
            else self.facts.interface_of_public(self.packet.destination)
        )
        self._hop(gateway_id, f"internet gateway {gateway_id} takes in {self.packet}", vpc_id=vpc_id)
        if found is None or found.vpc_id != vpc_id:
            self._refuse(
                "IGW_PUBLIC_IP_ASSOCIATION_FOR_INGRESS",
                gateway_id,
                f"Internet gateway {gateway_id} knows nobody in {vpc_id} with the public address "
                f"{self.packet.destination}.",
                gateway_id=gateway_id,
                vpc_id=vpc_id,
            )
            return
        self._enter_from_internet(found)

    def _leave(self, sender: Interface) -> None:
        """Let an interface send the packet: its own filters, then the route."""
        self._interfaces += 1
        if self._interfaces > _MOST_INTERFACES:
            self._refuse(
                "CANNOT_ROUTE", sender.id, f"The routes lead in a circle at {sender.id}.", vpc_id=sender.vpc_id
            )
            return
        if sender.source_dest_check and self.packet.source not in sender.addresses and not sender.unfiltered:
            self._refuse(
                "ENI_SOURCE_DEST_CHECK_RESTRICTION",
                sender.id,
                f"{_named(sender)} may only send from its own addresses, not from {self.packet.source}: its "
                "source/destination check is on.",
                interface_id=sender.id,
                direction="egress",
            )
        self._ask_groups(sender, egress=True)
        subnet = self.facts.subnet(sender.subnet_id)
        route = self._route(subnet)
        if not any_contains(subnet.blocks, self.packet.destination):
            self._ask_acl(subnet, egress=True)
        if route is not None:
            self._follow(sender, subnet, route)

    def _route(self, subnet: Subnet) -> Route | None:
        """Choose the route with the longest prefix."""
        table_id = subnet.route_table_id
        routes = self.facts.routes(table_id)
        fitting = [one for one in routes if contains(one.destination, self.packet.destination)]
        if not fitting:
            self._refuse(
                "NO_ROUTE_TO_DESTINATION",
                table_id,
                f"Route table {table_id} of subnet {subnet.id} has no route to {self.packet.destination}.",
                route_table_id=table_id,
                subnet_id=subnet.id,
                vpc_id=subnet.vpc_id,
            )
            return None
        # Of routes with the same prefix the local one is last: a replaced local route wins.
        route = max(fitting, key=lambda one: (_length(one.destination), one.target_type != LOCAL))
        if route.dead:
            self._refuse(
                "BAD_STATE_ROUTE",
                table_id,
                f"The route to {route.destination} in route table {table_id} is a blackhole: {route.target_id} is "
                "gone, detached or not active.",
                route_table_id=table_id,
                route=route,
                subnet_id=subnet.id,
                vpc_id=subnet.vpc_id,
            )
            return None
        target = "within the VPC" if route.target_type == LOCAL else f"to {route.target_id}"
        self._hop(
            table_id,
            f"route table {table_id} of {subnet.id} sends {route.destination} {target}",
            vpc_id=subnet.vpc_id,
            subnet_id=subnet.id,
            route=route,
        )
        return route

    def _follow(self, sender: Interface, subnet: Subnet, route: Route) -> None:
        """Go where a route leads."""
        match route.target_type:
            case "local":
                self._deliver(subnet.vpc_id, subnet)
            case "internet-gateway":
                self._through_internet_gateway(sender, route)
            case "egress-only-internet-gateway":
                self._hop(route.target_id, f"egress-only gateway {route.target_id} lets it out", vpc_id=subnet.vpc_id)
                self.ended = route.target_id
            case "vpc-endpoint":
                sentence = f"gateway endpoint {route.target_id} carries it to its service"
                self._hop(route.target_id, sentence, vpc_id=subnet.vpc_id)
                self.ended = route.target_id
            case "natgateway":
                self._through_nat(subnet, route)
            case "network-interface":
                self._through_appliance(subnet, route)
            case "vpc-peering-connection":
                self._through_peering(subnet, route)
            case other:
                raise AssertionError(other)

    def _deliver(self, vpc_id: str, subnet: Subnet | None) -> None:
        """Give the packet to the interface of a VPC that has its destination."""
        found = self.facts.interface_at(vpc_id, self.packet.destination)
        if found is None:
            self._refuse(
                "NO_POSSIBLE_DESTINATION",
                vpc_id,
                f"No interface of {vpc_id} has the address {self.packet.destination}.",
                vpc_id=vpc_id,
            )
            return
        self._arrive(found, subnet)
        if found.id in self.translated and self.stateful:
            original = self.translated.pop(found.id)
            self._hop(found.id, f"the NAT gateway of {found.id} gives the answer back to {original}", vpc_id=vpc_id)
            self.packet = replace(self.packet, destination=original)
            self._leave(found)
            return
        self.ended = found

    def _arrive(self, receiver: Interface, subnet: Subnet | None) -> None:
        """Deliver the packet to an interface, from a subnet (None: from outside of the VPC)."""
        if subnet is None or subnet.id != receiver.subnet_id:
            self._ask_acl(self.facts.subnet(receiver.subnet_id), egress=False)
        self._ask_groups(receiver, egress=False)
        self._note_interface(receiver, f"{_named(receiver)} takes it in at {self.packet.destination}")
        if receiver.down and not self.stateful:
            sentence = f"Nobody answers at {_named(receiver)}: {receiver.down}."
            self._refuse("BAD_STATE", receiver.id, sentence, interface_id=receiver.id)

    def _through_internet_gateway(self, sender: Interface, route: Route) -> None:
        gateway_id = route.target_id
        if not self.packet.ipv6:
            public = sender.public.get(self.packet.source)
            if public is None:
                self._refuse(
                    "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS",
                    gateway_id,
                    f"Internet gateway {gateway_id} sends nothing for {self.packet.source} of {sender.id}: no public "
                    "address belongs to it.",
                    gateway_id=gateway_id,
                    interface_id=sender.id,
                    vpc_id=sender.vpc_id,
                )
                return
            if any_contains(_PRIVATE, self.packet.destination):
                self._refuse(
                    "IGW_DESTINATION_ADDRESS_NOT_IN_RFC1918_EGRESS",
                    gateway_id,
                    f"Internet gateway {gateway_id} sends nothing to private {self.packet.destination}.",
                    gateway_id=gateway_id,
                    vpc_id=sender.vpc_id,
                )
                return
            self.packet = replace(self.packet, source=public)
        self._sender = None
        sentence = f"internet gateway {gateway_id} sends it out from {self.packet.source}"
        self._hop(gateway_id, sentence, vpc_id=sender.vpc_id)
        found = None if self.packet.ipv6 else self.facts.interface_of_public(self.packet.destination)
        if found is None:
            self.ended = gateway_id
            return
        other = self.facts.vpc(found.vpc_id).internet_gateway_id
        if other is None:
            sentence = f"The VPC {found.vpc_id} of {found.id} has no internet gateway."
            self._refuse("UNASSOCIATED_COMPONENT", found.vpc_id, sentence, missing=INTERNET_GATEWAY)
            return
        self._hop(other, f"internet gateway {other} takes it in", vpc_id=found.vpc_id)
        self._enter_from_internet(found)

    def _enter_from_internet(self, found: Interface) -> None:
        """Enter an interface by its public address."""
        if not self.packet.ipv6:
            private = next(inner for inner, outer in found.public.items() if outer == self.packet.destination)
            self.packet = replace(self.packet, destination=private)
        self._deliver(found.vpc_id, None)

    def _through_nat(self, subnet: Subnet, route: Route) -> None:
        gateway = self.facts.nat_gateway(route.target_id)
        inside = self.facts.interface(gateway.interface_id) if gateway and gateway.interface_id else None
        if gateway is None or inside is None or gateway.state != "available":
            state = gateway.state if gateway else "gone"
            sentence = f"NAT gateway {route.target_id} is {state}."
            self._refuse("BAD_STATE", route.target_id, sentence, gateway_id=route.target_id)
            return
        self._arrive(inside, subnet)
        self.translated[inside.id] = self.packet.source
        self.packet = replace(self.packet, source=inside.addresses[0])
        self._sender = inside
        self._hop(
            gateway.id,
            f"NAT gateway {gateway.id} sends it on from {self.packet.source}",
            vpc_id=inside.vpc_id,
            attached_to=inside.id,
        )
        self._leave(inside)

    def _through_appliance(self, subnet: Subnet, route: Route) -> None:
        found = self.facts.interface(route.target_id)
        if found is None:
            sentence = f"The interface {route.target_id} of the route to {route.destination} is gone."
            self._refuse("BAD_STATE_ROUTE", route.target_id, sentence, route=route)
            return
        if self.packet.destination in found.addresses:
            self._deliver(subnet.vpc_id, subnet)
            return
        if found.source_dest_check:
            self._refuse(
                "ENI_SOURCE_DEST_CHECK_RESTRICTION",
                found.id,
                f"{_named(found)} takes nothing in for {self.packet.destination}, which is none of its addresses: its "
                "source/destination check is on.",
                interface_id=found.id,
                direction="ingress",
            )
        self._arrive(found, subnet)
        self.warnings.append(f"What {_named(found)} does with the traffic cannot be seen; it is taken to pass it on.")
        self._leave(found)

    def _through_peering(self, subnet: Subnet, route: Route) -> None:
        peering_id = route.target_id
        peer_id = self.facts.peer(peering_id, subnet.vpc_id)
        if peer_id is None:
            sentence = f"The peering connection {peering_id} is not active."
            self._refuse("BAD_STATE_ROUTE", peering_id, sentence, route=route, vpc_id=subnet.vpc_id)
            return
        peer = self.facts.vpc(peer_id)
        for vpc, address in ((self.facts.vpc(subnet.vpc_id), self.packet.source), (peer, self.packet.destination)):
            if not any_contains(vpc.blocks, address):
                self._refuse(
                    "PCX_REQUIRES_ADDRESS_IN_VPC_CIDR",
                    peering_id,
                    f"Peering connection {peering_id} passes nothing on for {address}: it is no address of {vpc.id}.",
                    vpc_id=vpc.id,
                )
                return
        self._hop(peering_id, f"peering connection {peering_id} leads to {peer_id}", vpc_id=subnet.vpc_id)
        if peer.opaque:
            self.warnings.append(f"{peer_id} belongs to another account: what happens in it is not shown.")
            self.ended = peering_id
            return
        self._deliver(peer_id, None)

    def _ask_groups(self, interface: Interface, *, egress: bool) -> None:
        if interface.unfiltered or self.stateful:
            return
        groups = [self.facts.group(group_id) for group_id in interface.group_ids]
        decision = ask_groups(
            groups, self.packet, egress=egress, peer_group_ids=self._peer_groups(interface, egress=egress)
        )
        direction, word = ("egress", "out of") if egress else ("ingress", "into")
        if decision.rule is None or decision.group_id is None:
            named = ", ".join(interface.group_ids)
            none = not any(rule.egress is egress for group in groups for rule in group.rules)
            self._refuse(
                "SG_HAS_NO_RULES" if none else "ENI_SG_RULES_MISMATCH",
                interface.id,
                f"No {'outbound' if egress else 'inbound'} rule of the security groups ({named}) of "
                f"{_named(interface)} allows {self.packet}.",
                direction=direction,
                interface_id=interface.id,
                group_ids=interface.group_ids,
                vpc_id=interface.vpc_id,
            )
            return
        self.packet = replace(self.packet, ports=decision.ports)
        self._hop(
            decision.group_id,
            f"rule {decision.rule.id} of security group {decision.group_id} lets it {word} {interface.id}",
            vpc_id=interface.vpc_id,
            group_rule=decision.rule,
        )

    def _peer_groups(self, interface: Interface, *, egress: bool) -> tuple[str, ...]:
        """The groups of the interface at the other end, where its own address is in the packet."""
        if not egress:
            sender = self._sender
            return sender.group_ids if sender is not None and self.packet.source in sender.addresses else ()
        found = self.facts.interface_at(interface.vpc_id, self.packet.destination)
        if found is None:
            found = self._behind_peering(interface)
        return found.group_ids if found is not None else ()

    def _behind_peering(self, interface: Interface) -> Interface | None:
        """The interface with the packet's destination in the VPC that the interface's route leads to by a peering."""
        subnet = self.facts.subnet(interface.subnet_id)
        fitting = [
            one
            for one in self.facts.routes(subnet.route_table_id)
            if contains(one.destination, self.packet.destination)
        ]
        if not fitting:
            return None
        route = max(fitting, key=lambda one: _length(one.destination))
        if route.target_type != PEERING or route.dead:
            return None
        peer_id = self.facts.peer(route.target_id, interface.vpc_id)
        return self.facts.interface_at(peer_id, self.packet.destination) if peer_id is not None else None

    def _ask_acl(self, subnet: Subnet, *, egress: bool) -> None:
        decision = ask_acl(self.facts.acl(subnet.acl_id), self.packet, egress=egress)
        direction, way = ("egress", "out of") if egress else ("ingress", "into")
        if not decision.ports:
            rule = decision.denied_by
            which = f"Rule {rule.number}" if rule is not None else "The final rule (*)"
            self._refuse(
                "SUBNET_ACL_RESTRICTION",
                subnet.acl_id,
                f"{which} of network ACL {subnet.acl_id} denies {self.packet} {way} subnet {subnet.id}.",
                direction=direction,
                acl_id=subnet.acl_id,
                acl_rule=rule,
                subnet_id=subnet.id,
                vpc_id=subnet.vpc_id,
            )
            return
        if self.stateful and decision.ports != self.packet.ports:
            self.warnings.append(
                f"Network ACL {subnet.acl_id} lets answers {way} {subnet.id} to the ports {ports_text(decision.ports)} "
                f"only, of {ports_text(self.packet.ports)} that guests ask from."
            )
        self.packet = replace(self.packet, ports=decision.ports)
        number = decision.allowed_by.number if decision.allowed_by else 0
        self._hop(
            subnet.acl_id,
            f"rule {number} of network ACL {subnet.acl_id} lets it {way} {subnet.id}",
            vpc_id=subnet.vpc_id,
            subnet_id=subnet.id,
            acl_rule=decision.allowed_by,
        )

    def _note_interface(self, interface: Interface, sentence: str) -> None:
        self._hop(
            interface.id,
            sentence,
            vpc_id=interface.vpc_id,
            subnet_id=interface.subnet_id,
            attached_to=interface.instance_id,
        )

    def _hop(self, component_id: str, sentence: str, **details: Any) -> None:
        self.hops.append(Hop(component_id, sentence, self.packet, **details))

    def _refuse(self, code: str, component_id: str, sentence: str, **details: Any) -> None:
        self.reasons.append(Reason(code, component_id, sentence, self.packet, reply=self.stateful, **details))


def _named(interface: Interface) -> str:
    return f"{interface.id} of {interface.instance_id}" if interface.instance_id else interface.id


def _length(block: str) -> int:
    return ipaddress.ip_network(block).prefixlen
