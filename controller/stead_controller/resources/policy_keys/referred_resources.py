"""Resources that a request names by something other than their id, for authorization."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import (
    InstanceProfileAssociation,
    KeyPair,
    LaunchTemplate,
    NetworkAclAssociation,
    NetworkInterface,
    PlacementGroup,
    PublicAddress,
    RouteTableAssociation,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
    VpcCidrBlock,
)
from stead_controller.request.caller import Caller
from stead_controller.request.lookup import batches
from stead_controller.request.transaction import Transaction

# The wanted kind, and the kind by which it is named: the given column, the wanted column, how they are joined, and the
# account column that must be the caller's.
_COLUMNS: Final[dict[tuple[str, str], tuple[Any, Any, tuple[tuple[Any, Any], ...], Any]]] = {
    ("elastic-ip", "address"): (PublicAddress.address, PublicAddress.allocation_id, (), PublicAddress.account_id),
    ("elastic-ip", "association"): (
        PublicAddress.association_id,
        PublicAddress.allocation_id,
        (),
        PublicAddress.account_id,
    ),
    ("network-interface", "address"): (
        PublicAddress.address,
        PublicAddress.interface_id,
        (),
        PublicAddress.account_id,
    ),
    ("network-interface", "association"): (
        PublicAddress.association_id,
        PublicAddress.interface_id,
        (),
        PublicAddress.account_id,
    ),
    ("network-interface", "attachment"): (
        NetworkInterface.attachment_id,
        NetworkInterface.id,
        (),
        NetworkInterface.account_id,
    ),
    ("instance", "profile-association"): (
        InstanceProfileAssociation.id,
        InstanceProfileAssociation.instance_id,
        (),
        InstanceProfileAssociation.account_id,
    ),
    ("instance", "attachment"): (
        NetworkInterface.attachment_id,
        NetworkInterface.instance_id,
        (),
        NetworkInterface.account_id,
    ),
    ("route-table", "association"): (
        RouteTableAssociation.id,
        RouteTableAssociation.route_table_id,
        (),
        RouteTableAssociation.account_id,
    ),
    ("subnet", "association"): (
        RouteTableAssociation.id,
        RouteTableAssociation.subnet_id,
        (),
        RouteTableAssociation.account_id,
    ),
    ("subnet", "acl-association"): (
        NetworkAclAssociation.id,
        NetworkAclAssociation.subnet_id,
        (),
        NetworkAclAssociation.account_id,
    ),
    ("subnet", "cidr-association"): (Subnet.ipv6_association_id, Subnet.id, (), Subnet.account_id),
    ("vpc", "cidr-association"): (VpcCidrBlock.id, VpcCidrBlock.vpc_id, (), VpcCidrBlock.account_id),
    ("security-group", "name"): (
        SecurityGroup.name,
        SecurityGroup.id,
        ((Vpc, (Vpc.id == SecurityGroup.vpc_id) & Vpc.is_default.is_(True)),),
        SecurityGroup.account_id,
    ),
    ("security-group", "rule"): (
        SecurityGroupRule.id,
        SecurityGroupRule.group_id,
        (),
        SecurityGroupRule.account_id,
    ),
    ("launch-template", "name"): (LaunchTemplate.name, LaunchTemplate.id, (), LaunchTemplate.account_id),
    ("placement-group", "id"): (PlacementGroup.id, PlacementGroup.name, (), PlacementGroup.account_id),
    ("key-pair", "id"): (KeyPair.id, KeyPair.name, (), KeyPair.account_id),
}


def find(tx: Transaction, caller: Caller, kind: str, by: str, texts: Sequence[str]) -> list[str]:
    """Return the ids of the caller's resources of a kind; of key pairs and placement groups, their names."""
    given, wanted, joins, account = _COLUMNS[kind, by]
    found: list[str] = []
    for batch in batches(texts):
        query = select(wanted).where(given.in_(batch), account == caller.account_id, wanted.is_not(None))
        for table, condition in joins:
            query = query.join(table, condition)
        found += tx.session.scalars(query)
    return sorted(set(found))
