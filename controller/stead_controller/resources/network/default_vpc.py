"""The default VPC of a new account, as in EC2.

172.31.0.0/16, a /20 subnet with public addresses in each zone, an internet gateway with the default route of the main
route table, and a default group whose members may reach each other
(https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html).
"""

import ipaddress
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Route, RouteTableAssociation, Vpc
from stead_controller.desired.route_targets import INTERNET_GATEWAY
from stead_controller.errors import AlreadyExists
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.route_destinations import IPV4
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import create_subnet, create_vpc, internet_gateways, notify_topology

_CIDR: Final = "172.31.0.0/16"


def create(tx: Transaction, caller: Caller, cloud: Cloud, now: datetime) -> Vpc:
    """Make the default VPC of an account that has none; raises AlreadyExists, LimitExceeded."""
    query = select(Vpc.id).where(Vpc.account_id == caller.account_id, Vpc.is_default.is_(True))
    found = tx.session.scalar(query)
    if found is not None:
        raise AlreadyExists("vpc", f"A Default VPC already exists for this account in this region: {found}.")
    return create_default_vpc(tx, cloud, caller.account_id, now)


def create_default_vpc(tx: Transaction, cloud: Cloud, account_id: str, now: datetime) -> Vpc:
    """Make the default VPC of an account with its subnets, gateway, routes and default group; raises LimitExceeded."""
    vpc = create_vpc.add(tx, cloud, account_id, _CIDR, now, is_default=True)
    blocks = ipaddress.IPv4Network(_CIDR).subnets(new_prefix=create_subnet.DEFAULT_PREFIX)
    for zone, block in zip(cloud.zones, blocks, strict=False):
        create_subnet.add(tx, vpc, str(block), zone, now, default_for_zone=True)
    gateway = internet_gateways.add(tx, account_id, vpc.id, now)
    main = select(RouteTableAssociation.route_table_id).where(
        RouteTableAssociation.vpc_id == vpc.id, RouteTableAssociation.subnet_id.is_(None)
    )
    tx.session.add(
        Route(
            route_table_id=tx.session.scalars(main).one(),
            destination="0.0.0.0/0",
            vpc_id=vpc.id,
            family=IPV4,
            target_type=INTERNET_GATEWAY,
            target_id=gateway.id,
            created=now,
        )
    )
    notify_topology.new_vpc(tx, vpc.id)
    return vpc
