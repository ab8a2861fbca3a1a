"""Find network interfaces by ids and filters, with their addresses, groups and tags."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, select

from stead_controller.db.tables import (
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    Vpc,
)
from stead_controller.names import public_name, shown_private_name
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Selection
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.network.network_interface_filters import VPC_GIVES_NAMES, conditions


class GroupIdentifier(NamedTuple):
    """The id and the name of a security group."""

    id: str
    name: str


class PrivateAddress(NamedTuple):
    """A private IPv4 address of an interface, with its public one, if any; names are empty if the VPC has none."""

    address: str
    name: str
    primary: bool
    public: PublicAddress | None
    public_name: str


@dataclass(frozen=True, slots=True)
class DescribedNetworkInterface:
    """A network interface with its details; its primary address comes first."""

    interface: NetworkInterface
    zone_id: str | None
    addresses: Sequence[PrivateAddress]
    ipv6_addresses: Sequence[str]
    groups: Sequence[GroupIdentifier]
    tags: Sequence[tuple[str, str]]


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedNetworkInterface]:
    """Find the caller's network interfaces, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "network-interface", NetworkInterface, asked, conditions=conditions(cloud))
    ids = [interface.id for interface in found]
    groups = _groups(tx, ids)
    public = _public_addresses(tx, ids)
    beside = _addresses_beside(tx, ids)
    vpc_ids = {interface.vpc_id for interface in found}
    named, host_names = _with_names(tx, vpc_ids, VPC_GIVES_NAMES), _with_names(tx, vpc_ids, Vpc.dns_hostnames.is_(True))
    tagged = tags.pairs_of(tx, caller.account_id, ids)
    zones = zone_ids(cloud)
    return [
        DescribedNetworkInterface(
            interface,
            zones.get(interface.zone),
            _private_addresses(
                interface,
                [address for address, ipv6 in beside[interface.id] if not ipv6],
                public,
                cloud.region,
                named=interface.vpc_id in named,
                host_names=interface.vpc_id in host_names,
            ),
            [address for address, ipv6 in beside[interface.id] if ipv6],
            groups[interface.id],
            tagged.get(interface.id, ()),
        )
        for interface in found
    ]


def describe_one(tx: Transaction, caller: Caller, cloud: Cloud, interface_id: str) -> DescribedNetworkInterface:
    """Find one of the caller's interfaces; raises MalformedId, NotFound."""
    (found,) = describe(tx, caller, cloud, Selection((interface_id,)))
    return found


def _private_addresses(
    interface: NetworkInterface,
    secondary: Sequence[str],
    public: Mapping[tuple[str, str], PublicAddress],
    region: str,
    *,
    named: bool,
    host_names: bool,
) -> list[PrivateAddress]:
    """Return an interface's IPv4 addresses.

    `named` tells whether public addresses have names, `host_names` whether private ones have.
    """
    primary = interface.private_address
    found = []
    for address in secondary if primary is None else (primary, *secondary):
        held = public.get((interface.id, address))
        found.append(
            PrivateAddress(
                address,
                shown_private_name(address, region, named=host_names),
                address == primary,
                held,
                public_name(held.address, region) if held is not None and named else "",
            )
        )
    return found


def _groups(tx: Transaction, interface_ids: Sequence[str]) -> dict[str, list[GroupIdentifier]]:
    found: dict[str, list[GroupIdentifier]] = defaultdict(list)
    for batch in lookup.batches(interface_ids):
        query = (
            select(InterfaceGroup.interface_id, SecurityGroup.id, SecurityGroup.name)
            .join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
            .where(InterfaceGroup.interface_id.in_(batch))
            .order_by(SecurityGroup.id)
        )
        for interface_id, group_id, name in tx.session.execute(query):
            found[interface_id].append(GroupIdentifier(group_id, name))
    return found


def _public_addresses(tx: Transaction, interface_ids: Sequence[str]) -> dict[tuple[str, str], PublicAddress]:
    """Return the public addresses by interface and private address."""
    found: dict[tuple[str, str], PublicAddress] = {}
    for batch in lookup.batches(interface_ids):
        for row in tx.session.scalars(select(PublicAddress).where(PublicAddress.interface_id.in_(batch))):
            found[row.interface_id or "", row.private_address or ""] = row
    return found


def _addresses_beside(tx: Transaction, interface_ids: Sequence[str]) -> dict[str, list[tuple[str, bool]]]:
    """Return each interface's addresses besides its primary one, and whether they are IPv6."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    held = InterfaceAddress
    for batch in lookup.batches(interface_ids):
        query = (
            select(held.interface_id, held.address, held.ipv6)
            .where(held.interface_id.in_(batch), held.primary.is_(False))
            .order_by(held.position, held.address)
        )
        for interface_id, address, ipv6 in tx.session.execute(query):
            found[interface_id].append((address, ipv6))
    return found


def _with_names(tx: Transaction, vpc_ids: Iterable[str], gives: ColumnElement[bool]) -> set[str]:
    """Return the VPCs with DNS names for public addresses, and those with names for private ones."""
    query = select(Vpc.id).where(Vpc.id.in_(list(vpc_ids)), gives)
    return set(tx.session.scalars(query))
