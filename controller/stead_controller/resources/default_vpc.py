"""The default VPC that each account begins with, as EC2 makes it.

172.31.0.0/16, a /20 subnet with public addresses in each zone, and a default group whose members may reach each
other (https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html).
"""

import ipaddress
import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import SecurityGroup, SecurityGroupRule, Subnet, Vpc
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
    _add_default_group(tx, vpc, now)
    return vpc


def _add_default_group(tx: Transaction, vpc: Vpc, now: datetime) -> None:
    group = SecurityGroup(
        id=ids.new_id("security-group"),
        account_id=vpc.account_id,
        vpc_id=vpc.id,
        name="default",
        description="default VPC security group",
        created=now,
    )
    tx.session.add(group)
    tx.session.flush()
    common = {"account_id": vpc.account_id, "group_id": group.id, "protocol": "-1", "from_port": -1, "to_port": -1}
    tx.session.add(
        SecurityGroupRule(id=ids.new_id("security-group-rule"), egress=False, peer_group_id=group.id, **common)
    )
    tx.session.add(
        SecurityGroupRule(id=ids.new_id("security-group-rule"), egress=True, cidr_ipv4="0.0.0.0/0", **common)
    )
    tx.session.flush()


def _free_vni(tx: Transaction) -> int:
    while True:
        vni = secrets.randbelow((1 << _VNI_BITS) - 1) + 1
        if tx.session.scalar(select(Vpc.id).where(Vpc.vni == vni)) is None:
            return vni
