"""Subnets as EC2 shows them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any, Final

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
from stead_controller.resources.network import ended_cidr_blocks

_FREE_COUNT: Final = "available-ip-address-count"


def conditions(caller: Caller, cloud: Cloud) -> dict[str, Condition]:
    """All filters by name, without those about tags."""
    zone_id = shown_as(Subnet.zone, zone_ids(cloud))
    arn = _arn_prefix(caller, cloud) + Subnet.id
    return {
        "availability-zone": text(Subnet.zone),
        "availabilityZone": text(Subnet.zone),
        "availability-zone-id": zone_id,
        "availabilityZoneId": zone_id,
        _FREE_COUNT: NEVER,  # counted, not kept: `describe` turns it into ids
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


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's subnets in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    asked = replace(asked, filters=tuple(_counted(tx, caller, one) for one in asked.filters))
    found = lookup.select_page(tx, caller, "subnet", Subnet, asked, conditions=conditions(caller, cloud))
    return shown(tx, caller, cloud, found)


def shown(tx: Transaction, caller: Caller, cloud: Cloud, subnets: Sequence[Subnet]) -> list[dict[str, Any]]:
    """Show subnets in EC2's shape."""
    ids = [subnet.id for subnet in subnets]
    taken, ended = _taken(tx, ids), ended_cidr_blocks.of(tx, ids)
    tagged = tags.of(tx, caller.account_id, ids)
    zones = zone_ids(cloud)
    return [
        {
            "SubnetId": subnet.id,
            "SubnetArn": _arn_prefix(caller, cloud) + subnet.id,
            "VpcId": subnet.vpc_id,
            "OwnerId": subnet.account_id,
            "State": "available",
            "CidrBlock": subnet.cidr_block,
            "AvailableIpAddressCount": _free(subnet.cidr_block, taken.get(subnet.id, 0)),
            "AvailabilityZone": subnet.zone,
            "AvailabilityZoneId": zones.get(subnet.zone),
            "DefaultForAz": subnet.default_for_zone,
            "MapPublicIpOnLaunch": subnet.map_public_address,
            "MapCustomerOwnedIpOnLaunch": False,
            "AssignIpv6AddressOnCreation": subnet.assign_ipv6_address,
            "Ipv6CidrBlockAssociationSet": [
                *([] if subnet.ipv6_cidr_block is None else [shown_ipv6(subnet, "associated")]),
                *(show_ipv6(block.id, block.cidr_block, ended_cidr_blocks.STATE) for block in ended[subnet.id]),
            ],
            "EnableDns64": subnet.dns64,
            "Ipv6Native": subnet.cidr_block is None,
            "PrivateDnsNameOptionsOnLaunch": {
                "HostnameType": subnet.hostname_type,
                "EnableResourceNameDnsARecord": subnet.resource_name_a_record,
                "EnableResourceNameDnsAAAARecord": subnet.resource_name_aaaa_record,
            },
            "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
            "Tags": tagged.get(subnet.id, []),
        }
        for subnet in subnets
    ]


def shown_ipv6(subnet: Subnet, state: str) -> dict[str, Any]:
    """Show the association of a subnet's IPv6 block, which it must have, in EC2's shape."""
    assert subnet.ipv6_association_id is not None
    assert subnet.ipv6_cidr_block is not None
    return show_ipv6(subnet.ipv6_association_id, subnet.ipv6_cidr_block, state)


def show_ipv6(association_id: str, cidr_block: str, state: str) -> dict[str, Any]:
    """Show the association of an IPv6 block with a subnet, in EC2's shape."""
    return {
        "AssociationId": association_id,
        "Ipv6CidrBlock": cidr_block,
        "Ipv6CidrBlockState": {"State": state},
        "Ipv6AddressAttribute": "private" if IPv6Network(cidr_block).is_private else "public",
        "IpSource": "amazon",
    }


def find(tx: Transaction, caller: Caller, subnet_id: str) -> Subnet:
    """Give one of the caller's subnets; raises MalformedId, NotFound."""
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
    return Filter("subnet-id", tuple(fitting) or ("none",))


def _free(block: str | None, taken: int) -> int:
    """Count the free IPv4 addresses of a block; a subnet of IPv6 only has none."""
    return 0 if block is None else capacity(block) - taken


def _taken(tx: Transaction, subnet_ids: Iterable[str]) -> Mapping[str, int]:
    """Count the addresses in use of each subnet that has any."""
    taken: dict[str, int] = {}
    for batch in lookup.batches(subnet_ids):
        query = (
            select(InterfaceAddress.subnet_id, func.count())
            .where(InterfaceAddress.subnet_id.in_(batch), InterfaceAddress.ipv6.is_(False))
            .group_by(InterfaceAddress.subnet_id)
        )
        taken.update({row[0]: row[1] for row in tx.session.execute(query)})
    return taken


def _arn_prefix(caller: Caller, cloud: Cloud) -> str:
    return f"arn:{cloud.partition}:ec2:{cloud.region}:{caller.account_id}:subnet/"
