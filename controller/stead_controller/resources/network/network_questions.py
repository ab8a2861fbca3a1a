"""Reachability between two endpoints: turn what a user names into packets, and analyse them by the facts."""

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import Instance, InternetGateway, NetworkInterface
from stead_controller.errors import InvalidParameter, NotFound, Unsupported
from stead_controller.request import lookup
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network.network_facts import RowFacts
from stead_controller.resources.network.reachability.explain import Gateway, Question, explain
from stead_controller.resources.network.reachability.facts import Interface
from stead_controller.resources.network.reachability.packet import (
    ALL_PORTS,
    EPHEMERAL,
    ICMP,
    ICMPV6,
    NUMBERS,
    Packet,
    Range,
    any_contains,
)
from stead_controller.resources.network.reachability.verdict import Verdict

SOMEWHERE: Final = "203.0.113.1"
"""Stands for the internet where no address is named (TEST-NET-3, RFC 5737)."""
PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")

type PathEnd = Interface | Gateway


@dataclass(frozen=True, slots=True)
class Asked:
    """Source, destination and protocol; `account_id` None asks as an operator, who sees all accounts.

    `source` is the id of an instance, interface or internet gateway; so is `destination`, or None if
    `destination_address` is enough. `ports` are those of the destination.
    """

    account_id: str | None
    source: str
    destination: str | None
    protocol: str  # tcp, udp, icmp
    ports: Range = ALL_PORTS
    source_ports: Range = EPHEMERAL
    source_address: str | None = None
    destination_address: str | None = None


def answer(tx: Transaction, asked: Asked) -> Verdict:
    """Return whether traffic gets there and back, and what decides.

    From the internet without an address, any address that a rule names is tried. Raises MalformedId, NotFound,
    InvalidParameter, Unsupported.
    """
    facts = RowFacts(tx, asked.account_id)
    source = find_place(tx, facts, asked.account_id, asked.source, asked.source_address)
    destination = None
    if asked.destination is not None:
        destination = find_place(tx, facts, asked.account_id, asked.destination, asked.destination_address)
    if destination is None and asked.destination_address is None:
        raise InvalidParameter("The destination must be named by an id or by an address.")
    if isinstance(source, Gateway) and isinstance(destination, Gateway):
        raise InvalidParameter("Traffic from the internet to the internet does not come through this network.")
    verdicts = []
    for address in _sources(facts, asked, source, destination):
        target = _destination(facts, asked, source, destination, ipv6=":" in address)
        verdict = explain(facts, Question(_packet(asked, address, target), source, destination))
        if verdict.reachable:
            return verdict
        verdicts.append(verdict)
    return verdicts[0]


def find_place(
    tx: Transaction, facts: RowFacts, account_id: str | None, resource_id: str, address: str | None = None
) -> PathEnd:
    """Return the interface or gateway of an id: for an instance, the interface with the address, or else its first.

    Raises MalformedId, NotFound, Unsupported.
    """
    kind = ids.resource_type_of(resource_id)
    tables: dict[str, Any] = {
        "instance": Instance,
        "network-interface": NetworkInterface,
        "internet-gateway": InternetGateway,
    }
    if kind is None:
        raise InvalidParameter(
            f"'{resource_id[:80]}' is no id of an instance, interface or gateway; who is outside comes by igw-…"
        )
    if kind not in tables:
        raise Unsupported(f"Paths cannot begin or end at a {kind.replace('-', ' ')} such as {resource_id}.")
    table = tables[kind]
    lookup.check_form(kind, [resource_id])
    row: Any = tx.session.get(table, resource_id)
    if row is None or account_id not in (None, row.account_id):
        raise NotFound(kind, resource_id)
    if isinstance(row, InternetGateway):
        if row.vpc_id is None:
            raise InvalidParameter(f"The internet gateway {row.id} is attached to no VPC.")
        return Gateway(row.id, row.vpc_id)
    interface_ids = [resource_id]
    if isinstance(row, Instance):
        query = select(NetworkInterface.id).where(NetworkInterface.instance_id == resource_id)
        interface_ids = list(tx.session.scalars(query.order_by(NetworkInterface.device_index)))
    found = [one for one in map(facts.interface, interface_ids) if one is not None]
    if not found:
        raise NotFound(kind, resource_id)
    having = (one for one in found if address is not None and address in (*one.addresses, *one.public.values()))
    return next(having, found[0])


def _sources(facts: RowFacts, asked: Asked, source: PathEnd, destination: PathEnd | None) -> list[str]:
    """Return the possible source addresses: from the internet, also the first address of each block of a rule."""
    if asked.source_address is not None:
        return [str(ipaddress.ip_address(asked.source_address))]
    if isinstance(source, Interface):
        wants_ipv6 = asked.destination_address is not None and ":" in asked.destination_address
        if asked.destination_address is None and isinstance(destination, Interface):
            wants_ipv6 = all(":" in one for one in destination.addresses)
        fitting = [one for one in source.addresses if (":" in one) is wants_ipv6]
        return [fitting[0] if fitting else source.addresses[0]]
    candidates = [SOMEWHERE]
    if isinstance(destination, Interface):
        rules = [rule for group_id in destination.group_ids for rule in facts.group(group_id).rules]
        blocks = {block for rule in rules if not rule.egress for block in rule.blocks if ":" not in block}
        firsts = (str(ipaddress.ip_network(block)[0]) for block in sorted(blocks))
        candidates += [one for one in firsts if not any_contains(PRIVATE, one) and one != "0.0.0.0"]
    return list(dict.fromkeys(candidates))


def _destination(facts: RowFacts, asked: Asked, source: PathEnd, destination: PathEnd | None, *, ipv6: bool) -> str:
    """Return the destination address: if the private one is not routable, the public one.

    `ipv6` is whether the source is IPv6: an address of the same IP version is preferred.
    """
    named = asked.destination_address
    if isinstance(source, Gateway) and isinstance(destination, Interface):
        private = named if named in destination.addresses else destination.addresses[0]
        return destination.public.get(private, named or private)
    if named is not None:
        return str(ipaddress.ip_address(named))
    if not isinstance(destination, Interface):
        return SOMEWHERE
    private = next((one for one in destination.addresses if (":" in one) is ipv6), destination.addresses[0])
    if isinstance(source, Interface) and source.vpc_id != destination.vpc_id:
        joined = destination.vpc_id in facts.peers(source.vpc_id)
        return private if joined else destination.public.get(private, private)
    return private


def _packet(asked: Asked, source: str, destination: str) -> Packet:
    if (":" in source) is not (":" in destination):
        raise InvalidParameter(f"{source} and {destination} are of different IP versions.")
    if asked.protocol == "icmp":
        protocol, icmp = (ICMPV6, (128, 0)) if ":" in destination else (ICMP, (8, 0))
        return Packet(protocol, source, destination, icmp=icmp)
    return Packet(NUMBERS[asked.protocol], source, destination, (asked.ports,), (asked.source_ports,))
