"""Create subnets: one that a request describes, or the default one of a zone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import Subnet, Vpc
from stead_controller.errors import (
    AlreadyExists,
    BadRequest,
    InvalidCombination,
    InvalidParameter,
    MissingParameter,
    NotFound,
)
from stead_controller.request import cidr_blocks
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import network_acls, notify_topology, vpcs

DEFAULT_PREFIX: Final = 20


@dataclass(frozen=True, slots=True)
class SubnetRequest:
    """CreateSubnet, parsed; without a zone the cloud's first one is chosen."""

    vpc_id: str
    cidr_block: str | None
    ipv6_cidr_block: str | None = None
    ipv6_native: bool = False
    zone: str | None = None
    zone_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def create(tx: Transaction, caller: Caller, cloud: Cloud, request: SubnetRequest, now: datetime) -> Subnet:
    """Create a subnet, IPv6-only if the request says so.

    Raises InvalidCombination, MalformedId, NotFound, MissingParameter, InvalidParameter (also as InvalidSubnet.Range),
    AlreadyExists (InvalidSubnet.Conflict), LimitExceeded.
    """
    vpc = vpcs.find(tx, caller, request.vpc_id)
    zone = find_zone(cloud, request.zone, request.zone_id) or cloud.zones[0]
    _check_families(request)
    _check_quota(tx, vpc)
    block = None
    if request.cidr_block is not None:
        blocks = [each.cidr_block for each in vpcs.blocks_of(tx, [vpc.id])[vpc.id]]
        block = str(cidr_blocks.subnet_block(request.cidr_block, blocks, taken_blocks(tx, vpc.id)))
    subnet = add(tx, vpc, block, zone, now)
    if request.ipv6_cidr_block is not None:
        give_ipv6(tx, subnet, request.ipv6_cidr_block)
    tags.create_on_launch(tx, caller, [("subnet", subnet.id)], {"subnet": request.tags})
    notify_topology.subnet(tx, subnet.id, vpc.id)
    return subnet


def _check_families(request: SubnetRequest) -> None:
    """Refuse a subnet without addresses, or an IPv6-only one with IPv4 addresses, with EC2's messages."""
    if not request.ipv6_native:
        if request.cidr_block is None:
            raise MissingParameter("cidrBlock")
        return
    if request.cidr_block is not None:
        raise InvalidCombination(
            "When specifying ipv4 parameters, cidrBlock or ipv4IpamPoolId, you cannot set ipv6Native to true."
        )
    if request.ipv6_cidr_block is None:
        message = "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided."
        raise BadRequest(message, code="MissingParameter")


def create_default(tx: Transaction, caller: Caller, zone: str, now: datetime) -> Subnet:
    """Make the default subnet of a zone, a /20 with public addresses, in the default VPC.

    Raises InvalidParameter, NotFound (DefaultVpcDoesNotExist), AlreadyExists, LimitExceeded.
    """
    query = select(Vpc).where(Vpc.account_id == caller.account_id, Vpc.is_default.is_(True))
    vpc = tx.session.scalar(query)
    if vpc is None:
        raise NotFound("vpc", "default", code="DefaultVpcDoesNotExist")
    known = select(Subnet.id).where(Subnet.vpc_id == vpc.id, Subnet.zone == zone, Subnet.default_for_zone.is_(True))
    found = tx.session.scalar(known)
    if found is not None:
        raise AlreadyExists(
            "subnet",
            f"'{found}' is already the default subnet in {zone}.",
            code="DefaultSubnetAlreadyExistsInAvailabilityZone",
        )
    _check_quota(tx, vpc)
    block = cidr_blocks.free_block(vpc.cidr_block, DEFAULT_PREFIX, taken_blocks(tx, vpc.id))
    if block is None:
        raise InvalidParameter(
            f"There is no free /{DEFAULT_PREFIX} in the default VPC's block {vpc.cidr_block}.",
            code="InvalidSubnet.Range",
        )
    subnet = add(tx, vpc, str(block), zone, now, default_for_zone=True)
    notify_topology.subnet(tx, subnet.id, vpc.id)
    return subnet


def add(
    tx: Transaction, vpc: Vpc, cidr_block: str | None, zone: str, now: datetime, *, default_for_zone: bool = False
) -> Subnet:
    """Add a subnet's row; the block has been checked. A default subnet gives its instances public addresses.

    One without a block is IPv6-only: its interfaces get an IPv6 address each, its instances are named by their ids.
    """
    native = cidr_block is None
    subnet = Subnet(
        id=ids.new_id("subnet"),
        account_id=vpc.account_id,
        vpc_id=vpc.id,
        cidr_block=cidr_block,
        zone=zone,
        instance_tenancy=vpc.instance_tenancy,
        default_for_zone=default_for_zone,
        map_public_address=default_for_zone,
        assign_ipv6_address=native,
        hostname_type="resource-name" if native else "ip-name",
        resource_name_aaaa_record=native,
        created=now,
    )
    tx.session.add(subnet)
    tx.session.flush()
    network_acls.associate_new_subnet(tx, subnet)
    return subnet


def give_ipv6(tx: Transaction, subnet: Subnet, cidr: str) -> None:
    """Assign a /64 of the VPC's IPv6 blocks to a subnet; raises InvalidParameter, AlreadyExists."""
    blocks = [block.cidr_block for block in vpcs.blocks_of(tx, [subnet.vpc_id])[subnet.vpc_id] if block.ipv6]
    query = select(Subnet.ipv6_cidr_block).where(Subnet.vpc_id == subnet.vpc_id, Subnet.ipv6_cidr_block.is_not(None))
    taken = [block for block in tx.session.scalars(query) if block is not None]
    subnet.ipv6_cidr_block = str(cidr_blocks.subnet_ipv6_block(cidr, blocks, taken))
    subnet.ipv6_association_id = ids.new_id("subnet-cidr-association")
    tx.session.flush()


def taken_blocks(tx: Transaction, vpc_id: str) -> list[str]:
    """List the IPv4 blocks of a VPC's subnets."""
    query = select(Subnet.cidr_block).where(Subnet.vpc_id == vpc_id)
    return [block for block in tx.session.scalars(query) if block is not None]


def find_zone(cloud: Cloud, name: str | None, zone_id: str | None) -> str | None:
    """Return the zone's name by its name or id; raises InvalidParameter, InvalidCombination."""
    if name is not None and zone_id is not None:
        raise InvalidCombination("The parameters availabilityZone and availabilityZoneId cannot be used together")
    if zone_id is not None:
        name = next((zone for zone, known in zone_ids(cloud).items() if known == zone_id), zone_id)
    if name is not None and name not in cloud.zones:
        raise InvalidParameter(
            f"Value ({name}) for parameter availabilityZone is invalid. Subnets can currently only be created in the "
            f"following availability zones: {', '.join(cloud.zones)}."
        )
    return name


def _check_quota(tx: Transaction, vpc: Vpc) -> None:
    quotas.check(tx, vpc.account_id, quotas.SUBNETS_PER_VPC, Subnet.id, Subnet.vpc_id == vpc.id)
