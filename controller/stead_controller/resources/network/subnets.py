"""Find subnets by ids and filters, with their details."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import InterfaceAddress, Subnet
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cidr_blocks import capacity
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import NEVER, Condition, Selection, constant, flag, shown_as, text
from stead_controller.request.filters import Filter
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.network import ended_cidr_blocks, unclaimed_addresses

_FREE_COUNT: Final = "available-ip-address-count"


@dataclass(frozen=True, slots=True)
class SubnetCidrBlock:
    """An association of an IPv6 block with a subnet; `state` is EC2's word."""

    subnet_id: str
    association_id: str
    cidr_block: str
    state: str


@dataclass(frozen=True, slots=True)
class DescribedSubnet:
    """A subnet with its details; its IPv6 blocks include those disassociated lately."""

    subnet: Subnet
    arn: str
    zone_id: str | None
    free_addresses: int
    ipv6_blocks: Sequence[SubnetCidrBlock]
    tags: Sequence[tuple[str, str]]


def conditions(caller: Caller, cloud: Cloud) -> dict[str, Condition]:
    """All filters by name, without those about tags."""
    zone_id = shown_as(Subnet.zone, zone_ids(cloud))
    arn = _arn_prefix(caller, cloud) + Subnet.id
    return {
        "availability-zone": text(Subnet.zone),
        "availabilityZone": text(Subnet.zone),
        "availability-zone-id": zone_id,
        "availabilityZoneId": zone_id,
        _FREE_COUNT: NEVER,  # computed, not stored: `describe` turns it into ids
        "cidr": text(Subnet.cidr_block),
        "cidr-block": text(Subnet.cidr_block),
        "cidrBlock": text(Subnet.cidr_block),
        "customer-owned-ipv4-pool": NEVER,
        "default-for-az": flag(Subnet.default_for_zone),
        "defaultForAz": flag(Subnet.default_for_zone),
        "enable-dns64": flag(Subnet.dns64),
        "enable-lni-at-device-index": NEVER,
        **ended_cidr_blocks.also(
            {
                "association-id": text(Subnet.ipv6_association_id),
                "ipv6-cidr-block": text(Subnet.ipv6_cidr_block),
                "state": _with_ipv6(constant("associated")),
            },
            "ipv6-cidr-block-association",
            Subnet.id,
            ipv6=True,
        ),
        "ipv6-native": flag(Subnet.cidr_block.is_(None)),
        "map-customer-owned-ip-on-launch": constant("false"),
        "map-public-ip-on-launch": flag(Subnet.map_public_address),
        "outpost-arn": NEVER,
        "owner-id": text(Subnet.account_id),
        "private-dns-name-options-on-launch.enable-resource-name-dns-a-record": flag(Subnet.resource_name_a_record),
        "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": flag(
            Subnet.resource_name_aaaa_record
        ),
        "private-dns-name-options-on-launch.hostname-type": text(Subnet.hostname_type),
        "state": constant("available"),
        "subnet-arn": text(arn),
        "subnet-id": text(Subnet.id),
        "vpc-id": text(Subnet.vpc_id),
    }


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedSubnet]:
    """Find the caller's subnets with their details, sorted by id; raises MalformedId, NotFound."""
    asked = replace(asked, filters=tuple(_counted(tx, caller, one) for one in asked.filters))
    found = lookup.select_page(tx, caller, "subnet", Subnet, asked, conditions=conditions(caller, cloud))
    return described(tx, caller, cloud, found)


def described(tx: Transaction, caller: Caller, cloud: Cloud, subnets: Sequence[Subnet]) -> list[DescribedSubnet]:
    """Return subnets with their details."""
    ids = [subnet.id for subnet in subnets]
    taken, ended = _taken(tx, ids), ended_cidr_blocks.of(tx, ids)
    tagged = tags.pairs_of(tx, caller.account_id, ids)
    zones = zone_ids(cloud)
    prefix = _arn_prefix(caller, cloud)
    return [
        DescribedSubnet(
            subnet,
            arn=prefix + subnet.id,
            zone_id=zones.get(subnet.zone),
            free_addresses=_free(subnet.cidr_block, taken.get(subnet.id, 0)),
            ipv6_blocks=[
                *([] if subnet.ipv6_cidr_block is None else [ipv6_block(subnet, "associated")]),
                *(
                    SubnetCidrBlock(subnet.id, block.id, block.cidr_block, ended_cidr_blocks.STATE)
                    for block in ended[subnet.id]
                ),
            ],
            tags=tagged.get(subnet.id, ()),
        )
        for subnet in subnets
    ]


def ipv6_block(subnet: Subnet, state: str) -> SubnetCidrBlock:
    """Return the association of a subnet's IPv6 block, which it must have."""
    assert subnet.ipv6_association_id is not None
    assert subnet.ipv6_cidr_block is not None
    return SubnetCidrBlock(subnet.id, subnet.ipv6_association_id, subnet.ipv6_cidr_block, state)


def find(tx: Transaction, caller: Caller, subnet_id: str) -> Subnet:
    """Return one of the caller's subnets; raises MalformedId, NotFound."""
    return lookup.find(tx, caller, "subnet", Subnet, subnet_id)


def _with_ipv6(inner: Condition) -> Condition:
    return lambda asked: inner(asked) & Subnet.ipv6_cidr_block.is_not(None)


def _counted(tx: Transaction, caller: Caller, asked: Filter) -> Filter:
    """Turn the filter about free addresses into one about the ids of the subnets that have so many."""
    if asked.name != _FREE_COUNT:
        return asked
    blocks = {
        row[0]: row[1]
        for row in tx.session.execute(
            select(Subnet.id, Subnet.cidr_block).where(Subnet.account_id == caller.account_id)
        )
    }
    taken = _taken(tx, blocks)
    fitting = [
        subnet_id for subnet_id, block in blocks.items() if asked.matches(str(_free(block, taken.get(subnet_id, 0))))
    ]
    return Filter("subnet-id", tuple(fitting))


def _free(block: str | None, taken: int) -> int:
    """Count the free IPv4 addresses of a block; a subnet of IPv6 only has none."""
    return 0 if block is None else capacity(block) - taken


def _taken(tx: Transaction, subnet_ids: Iterable[str]) -> Mapping[str, int]:
    """Count the addresses in use of each subnet that has any; those of unclaimed interfaces are not assigned either."""
    taken: dict[str, int] = {}
    for batch in lookup.batches(subnet_ids):
        ours = (
            select(InterfaceAddress.subnet_id, func.count())
            .where(InterfaceAddress.subnet_id.in_(batch), InterfaceAddress.ipv6.is_(False))
            .group_by(InterfaceAddress.subnet_id)
        )
        taken.update({row[0]: row[1] for row in tx.session.execute(ours)})
        for subnet_id, count in unclaimed_addresses.further(tx, batch).items():
            taken[subnet_id] = taken.get(subnet_id, 0) + count
    return taken


def _arn_prefix(caller: Caller, cloud: Cloud) -> str:
    return f"arn:{cloud.partition}:ec2:{cloud.region}:{caller.account_id}:subnet/"
