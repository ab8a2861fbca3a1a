"""Builds a `Vpc` from its rows: its blocks, and its DHCP options."""

from collections.abc import Iterable

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    Account,
    DhcpOptions,
    DhcpOptionValue,
    EgressOnlyInternetGateway,
    InternetGateway,
    Vpc,
    VpcCidrBlock,
)
from stead_controller.desired.messages import noted_rows
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, vpc_id: str) -> pb.Vpc | None:
    """A VPC as its hosts see it, its primary block first; None when it is gone."""
    vpc = tx.session.get(Vpc, vpc_id)
    if vpc is None:
        return None
    blocks = tx.session.scalars(
        select(VpcCidrBlock).where(VpcCidrBlock.vpc_id == vpc.id).order_by(VpcCidrBlock.created, VpcCidrBlock.id)
    ).all()
    further = [block.cidr_block for block in blocks if not block.ipv6 and block.cidr_block != vpc.cidr_block]
    options = _options(tx, vpc.dhcp_options_id)
    return pb.Vpc(
        vni=vpc.vni,
        cidr_blocks=[vpc.cidr_block, *further],
        dns_support=vpc.dns_support,
        dns_hostnames=vpc.dns_hostnames,
        domain_name=_first(options, "domain-name"),
        ipv6_cidr_blocks=[block.cidr_block for block in blocks if block.ipv6],
        dhcp_options=pb.DhcpOptions(
            domain_name_servers=options.get("domain-name-servers", ()),
            ntp_servers=options.get("ntp-servers", ()),
            netbios_name_servers=options.get("netbios-name-servers", ()),
            netbios_node_type=int(_first(options, "netbios-node-type") or 0),
            ipv6_preferred_lease_seconds=int(_first(options, "ipv6-address-preferred-lease-time") or 0),
        ),
        rows=_rows(tx, vpc),
    )


def _rows(tx: Transaction, vpc: Vpc) -> bytes:
    return noted_rows.of(
        tx,
        (Account, Account.id == vpc.account_id),
        (Vpc, Vpc.id == vpc.id),
        (VpcCidrBlock, VpcCidrBlock.vpc_id == vpc.id),
        (DhcpOptions, DhcpOptions.id == vpc.dhcp_options_id),
        (DhcpOptionValue, DhcpOptionValue.options_id == vpc.dhcp_options_id),
        (InternetGateway, InternetGateway.vpc_id == vpc.id),
        (EgressOnlyInternetGateway, EgressOnlyInternetGateway.vpc_id == vpc.id),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """The VPC itself."""
    del tx
    return [vpc_id]


def _options(tx: Transaction, options_id: str) -> dict[str, list[str]]:
    """The values of each option of a set by its key; none for the set `default`, which has no rows."""
    options: dict[str, list[str]] = {}
    rows = select(DhcpOptionValue).where(DhcpOptionValue.options_id == options_id).order_by(DhcpOptionValue.position)
    for row in tx.session.scalars(rows):
        options.setdefault(row.key, []).append(row.value)
    return options


def _first(options: dict[str, list[str]], key: str) -> str:
    return next(iter(options.get(key, ())), "")
