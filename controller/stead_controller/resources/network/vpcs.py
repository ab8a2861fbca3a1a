"""Find VPCs by ids and filters, with their address blocks and tags."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import EndedCidrBlock, Vpc, VpcCidrBlock
from stead_controller.errors import NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, constant, exists_where, flag, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import ended_cidr_blocks

IPV6_POOL: Final = "Amazon"
"""The name of the cloud's own pool of IPv6 blocks, as clients know it from EC2."""

_BLOCKS: Final = select(VpcCidrBlock.id).where(VpcCidrBlock.vpc_id == Vpc.id).correlate(Vpc)
_IPV4: Final = _BLOCKS.where(VpcCidrBlock.ipv6.is_(False))
_IPV6: Final = _BLOCKS.where(VpcCidrBlock.ipv6.is_(True))

FILTERS: Final[dict[str, Condition]] = {
    "cidr": text(Vpc.cidr_block),
    "cidr-block": text(Vpc.cidr_block),  # as of subnets; documented for those alone, asked by Ansible
    "cidrBlock": text(Vpc.cidr_block),
    **ended_cidr_blocks.also(
        {
            "association-id": exists_where(_IPV4, text(VpcCidrBlock.id)),
            "cidr-block": exists_where(_IPV4, text(VpcCidrBlock.cidr_block)),
            "state": exists_where(_IPV4, constant("associated")),
        },
        "cidr-block-association",
        Vpc.id,
        ipv6=False,
    ),
    "dhcp-options-id": text(Vpc.dhcp_options_id),
    "ipv6-cidr-block-association.ipv6-pool": exists_where(_IPV6, constant(IPV6_POOL)),
    **ended_cidr_blocks.also(
        {
            "association-id": exists_where(_IPV6, text(VpcCidrBlock.id)),
            "ipv6-cidr-block": exists_where(_IPV6, text(VpcCidrBlock.cidr_block)),
            "state": exists_where(_IPV6, constant("associated")),
        },
        "ipv6-cidr-block-association",
        Vpc.id,
        ipv6=True,
    ),
    "is-default": flag(Vpc.is_default),
    "isDefault": flag(Vpc.is_default),
    "owner-id": text(Vpc.account_id),
    "state": constant("available"),
    "vpc-id": text(Vpc.id),
}


@dataclass(frozen=True, slots=True)
class VpcBlockAssociation:
    """An association of a block of addresses with a VPC; `state` is EC2's word."""

    vpc_id: str
    association_id: str
    cidr_block: str
    ipv6: bool
    state: str


@dataclass(frozen=True, slots=True)
class DescribedVpc:
    """A VPC with its blocks, the primary one first, those taken from it lately last, and its tags."""

    vpc: Vpc
    blocks: Sequence[VpcBlockAssociation]
    tags: Sequence[tuple[str, str]]


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedVpc]:
    """Find the caller's VPCs, sorted by id; raises MalformedId, NotFound."""
    return described(tx, caller, lookup.select_page(tx, caller, "vpc", Vpc, asked, conditions=FILTERS))


def described(tx: Transaction, caller: Caller, vpcs: Sequence[Vpc]) -> list[DescribedVpc]:
    """Find the blocks and tags of VPCs."""
    tx.session.flush()
    ids = [vpc.id for vpc in vpcs]
    tagged = tags.pairs_of(tx, caller.account_id, ids)
    blocks, ended = blocks_of(tx, ids), ended_cidr_blocks.of(tx, ids)
    return [
        DescribedVpc(
            vpc,
            [
                *(association(vpc, block, "associated") for block in blocks[vpc.id]),
                *(association(vpc, block, ended_cidr_blocks.STATE) for block in ended[vpc.id]),
            ],
            tagged.get(vpc.id, ()),
        )
        for vpc in vpcs
    ]


def association(vpc: Vpc, block: VpcCidrBlock | EndedCidrBlock, state: str) -> VpcBlockAssociation:
    """Return the association of a block with a VPC."""
    return VpcBlockAssociation(vpc.id, block.id, block.cidr_block, block.ipv6, state)


def blocks_of(tx: Transaction, vpc_ids: Iterable[str]) -> dict[str, list[VpcCidrBlock]]:
    """Return the blocks of each VPC, the primary one first."""
    found: dict[str, list[VpcCidrBlock]] = defaultdict(list)
    for batch in lookup.batches(vpc_ids):
        query = (
            select(VpcCidrBlock, Vpc.cidr_block)
            .join(Vpc, Vpc.id == VpcCidrBlock.vpc_id)
            .where(VpcCidrBlock.vpc_id.in_(batch))
            .order_by(VpcCidrBlock.created, VpcCidrBlock.id)
        )
        for block, primary in tx.session.execute(query):
            place = 0 if block.cidr_block == primary else len(found[block.vpc_id])
            found[block.vpc_id].insert(place, block)
    return found


def find(tx: Transaction, caller: Caller, vpc_id: str) -> Vpc:
    """Return one of the caller's VPCs; raises MalformedId, NotFound."""
    return lookup.find(tx, caller, "vpc", Vpc, vpc_id)


def find_default(tx: Transaction, caller: Caller) -> Vpc:
    """Return the caller's default VPC; raises NotFound."""
    query = select(Vpc).where(Vpc.account_id == caller.account_id, Vpc.is_default.is_(True))
    found = tx.session.scalar(query)
    if found is None:
        raise NotFound("vpc", "default", code="VPCIdNotSpecified")
    return found


def has_ipv6(tx: Transaction, vpc_id: str) -> bool:
    """Tell whether a VPC has an IPv6 block."""
    query = select(VpcCidrBlock.id).where(VpcCidrBlock.vpc_id == vpc_id, VpcCidrBlock.ipv6.is_(True)).limit(1)
    return tx.session.scalar(query) is not None
