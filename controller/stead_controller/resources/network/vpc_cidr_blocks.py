"""Associate address blocks with a VPC and disassociate them."""

import ipaddress
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import EndedCidrBlock, Subnet, Vpc, VpcCidrBlock
from stead_controller.errors import InvalidCombination, LimitExceeded, NotFound, WrongState
from stead_controller.request import cidr_blocks, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.network import (
    network_acls,
    notify_hosts,
    notify_topology,
    routes,
    security_groups,
    vpcs,
)
from stead_controller.resources.network.vpcs import VpcBlockAssociation
from stead_controller.resources.quotas import Quota

_TRIES: Final = 64


def associate(tx: Transaction, caller: Caller, vpc_id: str, cidr: str, now: datetime) -> VpcBlockAssociation:
    """Associate a further IPv4 block with a VPC.

    Raises MalformedId, NotFound, InvalidParameter (also as InvalidVpc.Range), LimitExceeded.
    """
    vpc = vpcs.find(tx, caller, vpc_id)
    block = cidr_blocks.vpc_block(cidr)
    mine = [ipaddress.IPv4Network(one.cidr_block) for one in vpcs.blocks_of(tx, [vpc.id])[vpc.id] if not one.ipv6]
    cidr_blocks.check_further_block(block, mine)
    _check_quota(tx, vpc, len(mine), quotas.IPV4_BLOCKS_PER_VPC)
    routes.refuse_covered(tx, vpc, block)
    row = VpcCidrBlock(
        id=ids.new_id("vpc-cidr-association"),
        account_id=vpc.account_id,
        vpc_id=vpc.id,
        cidr_block=str(block),
        ipv6=False,
        created=now,
    )
    tx.session.add(row)
    notify_topology.vpc(tx, vpc.id)
    notify_hosts.peerings_of(tx, vpc.id)
    return vpcs.association(vpc, row, "associating")


def associate_ipv6(tx: Transaction, caller: Caller, cloud: Cloud, vpc_id: str, now: datetime) -> VpcBlockAssociation:
    """Associate a /56 of the cloud's own IPv6 pool with a VPC.

    Raises MalformedId, NotFound, LimitExceeded.
    """
    vpc = vpcs.find(tx, caller, vpc_id)
    count = sum(one.ipv6 for one in vpcs.blocks_of(tx, [vpc.id])[vpc.id])
    _check_quota(tx, vpc, count, quotas.IPV6_BLOCKS_PER_VPC)
    row = add_ipv6(tx, cloud, vpc, now)
    notify_topology.vpc(tx, vpc.id)
    notify_hosts.peerings_of(tx, vpc.id)
    return vpcs.association(vpc, row, "associating")


def add_ipv6(tx: Transaction, cloud: Cloud, vpc: Vpc, now: datetime) -> VpcCidrBlock:
    """Add to a VPC a /56 that no other VPC of the cloud has; raises LimitExceeded when none is found."""
    tx.session.flush()
    for _ in range(_TRIES):
        values = {
            "id": ids.new_id("vpc-cidr-association"),
            "account_id": vpc.account_id,
            "vpc_id": vpc.id,
            "cidr_block": str(cidr_blocks.random_ipv6_block(cloud.ipv6_pool)),
            "ipv6": True,
            "created": now,
        }
        if insert_if_absent(tx.session, VpcCidrBlock, values):
            network_acls.allow_ipv6(tx, vpc.id)
            security_groups.allow_ipv6(tx, vpc.id)
            return tx.session.get_one(VpcCidrBlock, values["id"])
    raise LimitExceeded("No IPv6 block is free in the cloud's pool.", code="InsufficientAddressCapacity")


def disassociate(tx: Transaction, caller: Caller, association_id: str, now: datetime) -> VpcBlockAssociation:
    """Take a block from its VPC; it stays described as disassociated for a while.

    Raises MalformedId, NotFound, WrongState (OperationNotPermitted) for the primary block and one that a subnet uses.
    """
    lookup.check_form("vpc-cidr-association", [association_id])
    found = tx.session.execute(
        select(VpcCidrBlock, Vpc)
        .join(Vpc, Vpc.id == VpcCidrBlock.vpc_id)
        .where(VpcCidrBlock.id == association_id, VpcCidrBlock.account_id == caller.account_id)
    ).first()
    if found is None:
        raise NotFound("vpc-cidr-association", association_id)
    row, vpc = found
    if row.cidr_block == vpc.cidr_block:
        raise WrongState(
            "vpc-cidr-association",
            f"The vpc CIDR block with association ID {row.id} may not be disassociated. It is the primary IPv4 CIDR "
            "block of the VPC",
            code="OperationNotPermitted",
        )
    column = Subnet.ipv6_cidr_block if row.ipv6 else Subnet.cidr_block
    used = tx.session.scalars(select(column).where(Subnet.vpc_id == vpc.id, column.is_not(None)))
    block = ipaddress.ip_network(row.cidr_block)
    if any(one is not None and cidr_blocks.overlaps(block, one) for one in used):
        raise WrongState(
            "vpc-cidr-association",
            f"The vpc {vpc.id} currently has a subnet within CIDR block {row.cidr_block}",
            code="OperationNotPermitted",
        )
    tx.session.delete(row)
    tx.session.add(
        EndedCidrBlock(
            id=row.id,
            account_id=row.account_id,
            resource_id=vpc.id,
            cidr_block=row.cidr_block,
            ipv6=row.ipv6,
            ended=now,
        )
    )
    notify_topology.vpc(tx, vpc.id)
    notify_hosts.peerings_of(tx, vpc.id)
    return vpcs.association(vpc, row, "disassociating")


def _check_quota(tx: Transaction, vpc: Vpc, count: int, quota: Quota) -> None:
    most = quotas.limit(tx, vpc.account_id, quota)
    if count >= most:
        raise LimitExceeded(
            f"This network '{vpc.id}' has met its maximum number of allowed CIDRs: {most}", code="CidrLimitExceeded"
        )


def check_choice(chosen: int) -> None:
    """Raise InvalidCombination unless exactly one kind of block is asked for."""
    if chosen != 1:
        raise InvalidCombination("Exactly one of cidrBlock and amazonProvidedIpv6CidrBlock must be specified.")
