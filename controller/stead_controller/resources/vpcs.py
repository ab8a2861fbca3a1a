"""VPCs as EC2 shows them; making and changing them comes with the next issue."""

from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import Vpc
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.resources import lookup, tags
from stead_controller.resources.caller import Caller
from stead_controller.resources.conditions import NEVER, Condition, Selection, constant, flag, text
from stead_controller.resources.transaction import Transaction

FILTERS: Final[dict[str, Condition]] = {
    "cidr": text(Vpc.cidr_block),
    "cidr-block-association.association-id": text(Vpc.cidr_association_id),
    "cidr-block-association.cidr-block": text(Vpc.cidr_block),
    "cidr-block-association.state": constant("associated"),
    "dhcp-options-id": text(Vpc.dhcp_options_id),
    "ipv6-cidr-block-association.association-id": NEVER,
    "ipv6-cidr-block-association.ipv6-cidr-block": NEVER,
    "ipv6-cidr-block-association.ipv6-pool": NEVER,
    "ipv6-cidr-block-association.state": NEVER,
    "is-default": flag(Vpc.is_default),
    "isDefault": flag(Vpc.is_default),
    "owner-id": text(Vpc.account_id),
    "state": constant("available"),
    "vpc-id": text(Vpc.id),
}


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's VPCs in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "vpc", Vpc, asked, conditions=FILTERS)
    tagged = tags.of(tx, caller.account_id, [vpc.id for vpc in found])
    return [_shown(vpc, tagged.get(vpc.id, [])) for vpc in found]


def describe_attribute(tx: Transaction, caller: Caller, vpc_id: str, attribute: str) -> dict[str, Any]:
    """Show one attribute of a VPC in EC2's shape; raises MalformedId, NotFound, InvalidParameter."""
    vpc = lookup.find(tx, caller, "vpc", Vpc, vpc_id)
    attributes = {
        "enableDnsSupport": ("EnableDnsSupport", vpc.dns_support),
        "enableDnsHostnames": ("EnableDnsHostnames", vpc.dns_hostnames),
        "enableNetworkAddressUsageMetrics": ("EnableNetworkAddressUsageMetrics", False),
    }
    if attribute not in attributes:
        raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")
    member, value = attributes[attribute]
    return {"VpcId": vpc.id, member: {"Value": value}}


def find_default(tx: Transaction, caller: Caller) -> Vpc:
    """Give the caller's default VPC; raises NotFound."""
    query = select(Vpc).where(Vpc.account_id == caller.account_id, Vpc.is_default.is_(True))
    found = tx.session.scalar(query)
    if found is None:
        raise NotFound("vpc", "default", code="VPCIdNotSpecified")
    return found


def has_ipv6(tx: Transaction, vpc_id: str) -> bool:
    """Tell whether a VPC has an IPv6 block."""
    del tx, vpc_id
    return False


def _shown(vpc: Vpc, vpc_tags: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "VpcId": vpc.id,
        "OwnerId": vpc.account_id,
        "State": "available",
        "CidrBlock": vpc.cidr_block,
        "CidrBlockAssociationSet": [
            {
                "AssociationId": vpc.cidr_association_id,
                "CidrBlock": vpc.cidr_block,
                "CidrBlockState": {"State": "associated"},
            }
        ],
        "DhcpOptionsId": vpc.dhcp_options_id,
        "InstanceTenancy": "default",
        "IsDefault": vpc.is_default,
        "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
        "Tags": vpc_tags,
    }
