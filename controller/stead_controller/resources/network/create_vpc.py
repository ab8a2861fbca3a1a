"""Create a VPC together with its main route table, default security group and default ACL."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    RouteTable,
    RouteTableAssociation,
    Vpc,
    VpcCidrBlock,
)
from stead_controller.errors import InvalidParameter
from stead_controller.request import cidr_blocks
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import (
    dhcp_options,
    network_acls,
    notify_topology,
    security_groups,
    vpc_cidr_blocks,
)

_VNI_BITS: Final = 24


@dataclass(frozen=True, slots=True)
class VpcRequest:
    """CreateVpc, parsed."""

    cidr_block: str
    instance_tenancy: str = "default"
    ipv6: bool = False
    tags: dict[str, str] = field(default_factory=dict)


def create(tx: Transaction, caller: Caller, cloud: Cloud, request: VpcRequest, now: datetime) -> Vpc:
    """Make a VPC; raises InvalidParameter (also as InvalidVpc.Range), Unsupported, LimitExceeded."""
    block = cidr_blocks.vpc_block(request.cidr_block)
    if request.instance_tenancy not in ("default", "dedicated"):
        raise InvalidParameter(
            f"Value ({request.instance_tenancy}) for parameter instanceTenancy is invalid. "
            "A VPC's tenancy is default or dedicated.",
            code="UnsupportedTenancy",
        )
    vpc = add(tx, cloud, caller.account_id, str(block), now)
    vpc.instance_tenancy = request.instance_tenancy
    if request.ipv6:
        vpc_cidr_blocks.add_ipv6(tx, cloud, vpc, now)
    tags.create_on_launch(tx, caller, [("vpc", vpc.id)], {"vpc": request.tags})
    notify_topology.new_vpc(tx, vpc.id)
    return vpc


def add(
    tx: Transaction, cloud: Cloud, account_id: str, cidr_block: str, now: datetime, *, is_default: bool = False
) -> Vpc:
    """Add a VPC with its main route table, its default group and its default ACL; raises LimitExceeded."""
    quotas.check(tx, account_id, quotas.VPCS, Vpc.id, Vpc.account_id == account_id)
    vpc = Vpc(
        id=ids.new_id("vpc"),
        account_id=account_id,
        cidr_block=cidr_block,
        dhcp_options_id=dhcp_options.initial(tx, cloud, account_id, now),
        vni=_free_vni(tx),
        is_default=is_default,
        dns_hostnames=is_default,
        created=now,
    )
    tx.session.add(vpc)
    tx.session.flush()
    tx.session.add(
        VpcCidrBlock(
            id=ids.new_id("vpc-cidr-association"),
            account_id=account_id,
            vpc_id=vpc.id,
            cidr_block=cidr_block,
            ipv6=False,
            created=now,
        )
    )
    add_main_route_table(tx, vpc, now)
    security_groups.create_default(tx, vpc, now)
    network_acls.create_default(tx, vpc, now)
    return vpc


def add_main_route_table(tx: Transaction, vpc: Vpc, now: datetime) -> RouteTable:
    """Add the route table that applies to all subnets without one of their own."""
    table = RouteTable(id=ids.new_id("route-table"), account_id=vpc.account_id, vpc_id=vpc.id, created=now)
    tx.session.add(table)
    tx.session.flush()
    tx.session.add(
        RouteTableAssociation(
            id=ids.new_id("route-table-association"),
            account_id=vpc.account_id,
            route_table_id=table.id,
            vpc_id=vpc.id,
        )
    )
    tx.session.flush()
    return table


def _free_vni(tx: Transaction) -> int:
    while True:
        vni = secrets.randbelow((1 << _VNI_BITS) - 1) + 1
        if tx.session.scalar(select(Vpc.id).where(Vpc.vni == vni)) is None:
            return vni
