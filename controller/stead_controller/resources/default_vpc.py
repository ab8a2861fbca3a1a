"""The default VPC that each account begins with, as EC2 makes it.

172.31.0.0/16, a /20 subnet with public addresses in each zone, and a default group whose members may reach each
other (https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html).
"""

import ipaddress
import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Subnet, Vpc
from stead_controller.hosts import topics
from stead_controller.resources import network_acls, security_groups
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.transaction import Transaction
from stead_proto import ids

_CIDR: Final = "172.31.0.0/16"
_SUBNET_PREFIX: Final = 20
_VNI_BITS: Final = 24


def create_default_vpc(tx: Transaction, cloud: Cloud, account_id: str, now: datetime) -> Vpc:
    """Make the default VPC of an account with its subnets and its default group."""
    vpc = Vpc(
        id=ids.new_id("vpc"),
        account_id=account_id,
        cidr_block=_CIDR,
        cidr_association_id=ids.new_id("vpc-cidr-association"),
        dhcp_options_id=ids.new_id("dhcp-options"),
        vni=_free_vni(tx),
        is_default=True,
        dns_hostnames=True,
        created=now,
    )
    tx.session.add(vpc)
    tx.session.flush()
    blocks = ipaddress.IPv4Network(_CIDR).subnets(new_prefix=_SUBNET_PREFIX)
    for zone, block in zip(cloud.zones, blocks, strict=False):
        tx.session.add(
            Subnet(
                id=ids.new_id("subnet"),
                account_id=account_id,
                vpc_id=vpc.id,
                cidr_block=str(block),
                zone=zone,
                default_for_zone=True,
                map_public_address=True,
                internet=True,
                created=now,
            )
        )
    tx.session.flush()
    add_default_filters(tx, vpc, now)
    topics.draw_vpc(tx, vpc.id)
    return vpc


def add_default_filters(tx: Transaction, vpc: Vpc, now: datetime) -> None:
    """Make what filters the traffic of a new VPC: its default group, and its default ACL with all its subnets."""
    security_groups.create_default(tx, vpc, now)
    network_acls.create_default(tx, vpc, now)
    for subnet in tx.session.scalars(select(Subnet).where(Subnet.vpc_id == vpc.id)).all():
        network_acls.associate_new_subnet(tx, subnet)


def _free_vni(tx: Transaction) -> int:
    while True:
        vni = secrets.randbelow((1 << _VNI_BITS) - 1) + 1
        if tx.session.scalar(select(Vpc.id).where(Vpc.vni == vni)) is None:
            return vni
