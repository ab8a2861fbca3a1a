"""Associate and disassociate a subnet's IPv6 block."""

from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import EndedCidrBlock, InterfaceAddress, Subnet, SubnetCidrReservation
from stead_controller.errors import InUse, LimitExceeded, NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import create_subnet, notify_topology, subnets
from stead_controller.resources.network.subnets import SubnetCidrBlock


def associate(tx: Transaction, caller: Caller, subnet_id: str, cidr: str) -> SubnetCidrBlock:
    """Associate with a subnet a /64 of its VPC's IPv6 blocks.

    Raises MalformedId, NotFound, InvalidParameter (also as InvalidSubnet.Range), AlreadyExists, LimitExceeded where it
    has one already.
    """
    subnet = subnets.find(tx, caller, subnet_id)
    if subnet.ipv6_cidr_block is not None:
        raise LimitExceeded(
            f"The subnet '{subnet.id}' has met its maximum number of allowed IPv6 CIDRs: 1",
            code="SubnetCidrBlockLimitExceeded",
        )
    create_subnet.give_ipv6(tx, subnet, cidr)
    notify_topology.subnet(tx, subnet.id, subnet.vpc_id)
    return subnets.ipv6_block(subnet, "associating")


def disassociate(tx: Transaction, caller: Caller, association_id: str, now: datetime) -> SubnetCidrBlock:
    """Take a subnet's IPv6 block from it; it stays described as disassociated for a while.

    Raises MalformedId, NotFound, InUse while it has addresses, or while interfaces get one automatically, as always in
    an IPv6-only subnet.
    """
    lookup.check_form("subnet-cidr-association", [association_id])
    query = select(Subnet).where(Subnet.ipv6_association_id == association_id, Subnet.account_id == caller.account_id)
    subnet = tx.session.scalar(query)
    if subnet is None:
        raise NotFound("subnet-cidr-association", association_id)
    if subnet.assign_ipv6_address:
        raise InUse(
            f"The subnet IPv6 CIDR block with association ID {association_id} may not be disassociated, because its "
            "subnet has assign-ipv6-address-on-creation set to true.",
            code="InvalidCidrBlock.InUse",
        )
    held = select(InterfaceAddress.address).where(
        InterfaceAddress.subnet_id == subnet.id, InterfaceAddress.ipv6.is_(True)
    )
    if tx.session.scalar(held.limit(1)) is not None:
        raise InUse(f"The IPv6 CIDR block of the subnet '{subnet.id}' has dependencies and cannot be disassociated.")
    reserved = select(SubnetCidrReservation.id).where(
        SubnetCidrReservation.subnet_id == subnet.id, SubnetCidrReservation.ipv6.is_(True)
    )
    if subnet.has_reservations and tx.session.scalar(reserved.limit(1)) is not None:
        raise InUse(
            f"The IPv6 CIDR block of the subnet '{subnet.id}' has CIDR reservations and cannot be disassociated."
        )
    ended = EndedCidrBlock(
        id=association_id,
        account_id=subnet.account_id,
        resource_id=subnet.id,
        cidr_block=subnet.ipv6_cidr_block,
        ipv6=True,
        ended=now,
    )
    tx.session.add(ended)
    subnet.ipv6_cidr_block = subnet.ipv6_association_id = None
    subnet.dns64 = subnet.resource_name_aaaa_record = False
    notify_topology.subnet(tx, subnet.id, subnet.vpc_id)
    return SubnetCidrBlock(subnet.id, ended.id, ended.cidr_block, "disassociating")
