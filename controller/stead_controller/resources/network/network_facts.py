"""Read the facts for the reachability analysis from rows, one by one on demand."""

import ipaddress
from collections.abc import Iterable
from functools import cache
from typing import Final

from sqlalchemy import ColumnElement, select

from stead_controller.db.tables import (
    Instance,
    InterfaceAddress,
    InterfaceGroup,
    InternetGateway,
    NatGateway,
    NetworkAclAssociation,
    NetworkAclEntry,
    NetworkInterface,
    PublicAddress,
    Route,
    RouteTable,
    RouteTableAssociation,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
    VpcPeeringConnection,
)
from stead_controller.desired import peered_vpcs, prefix_list_blocks, route_targets
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network.acl_entries import LAST_RULE
from stead_controller.resources.network.reachability import facts
from stead_controller.resources.network.reachability.packet import NUMBERS

_LOCAL: Final = "local"


class RowFacts:
    """Facts from rows within one transaction.

    With an account, other accounts' resources are hidden: their VPCs are opaque, their public addresses are the
    internet. Without one (for operators) everything is visible.
    """

    def __init__(self, tx: Transaction, account_id: str | None) -> None:
        """Take the transaction, and the account whose facts may be shown."""
        self._tx = tx
        self._account_id = account_id
        self._cached_interface = cache(self._read_interface)
        self._cached_routes = cache(self._read_routes)

    def vpc(self, vpc_id: str) -> facts.Vpc:
        """Return a VPC."""
        row = self._tx.session.get_one(Vpc, vpc_id)
        gateway = select(InternetGateway.id).where(InternetGateway.vpc_id == vpc_id)
        return facts.Vpc(
            vpc_id,
            tuple(peered_vpcs.blocks_of(self._tx, vpc_id)),
            self._tx.session.scalar(gateway),
            opaque=not self._mine(row.account_id),
        )

    def subnet(self, subnet_id: str) -> facts.Subnet:
        """Return a subnet."""
        row = self._tx.session.get_one(Subnet, subnet_id)
        acl = select(NetworkAclAssociation.acl_id).where(NetworkAclAssociation.subnet_id == subnet_id)
        blocks = (row.cidr_block, row.ipv6_cidr_block)
        return facts.Subnet(
            subnet_id,
            row.vpc_id,
            tuple(block for block in blocks if block),
            self._route_table(row),
            self._tx.session.scalars(acl).one(),
        )

    def routes(self, route_table_id: str) -> tuple[facts.Route, ...]:
        """Return the routes of a table, the local ones included."""
        return self._cached_routes(route_table_id)

    def acl(self, acl_id: str) -> tuple[facts.AclRule, ...]:
        """Return the rules of an ACL."""
        query = (
            select(NetworkAclEntry)
            .where(NetworkAclEntry.acl_id == acl_id, NetworkAclEntry.rule_number <= LAST_RULE)
            .order_by(NetworkAclEntry.rule_number)
        )
        return tuple(
            facts.AclRule(
                row.rule_number,
                row.egress,
                row.allow,
                row.protocol,
                row.cidr_ipv4 or row.cidr_ipv6 or "",
                row.from_port if row.icmp_type is None else row.icmp_type,
                row.to_port if row.icmp_type is None else row.icmp_code,
            )
            for row in self._tx.session.scalars(query)
        )

    def group(self, group_id: str) -> facts.Group:
        """Return a group with its rules, without those over ended peering connections."""
        rules = (
            select(SecurityGroupRule)
            .where(SecurityGroupRule.group_id == group_id, _lives())
            .order_by(SecurityGroupRule.id)
        )
        return facts.Group(group_id, tuple(self._group_rule(row) for row in self._tx.session.scalars(rules).all()))

    def interface(self, interface_id: str) -> facts.Interface | None:
        """Return an interface."""
        return self._cached_interface(interface_id)

    def interface_at(self, vpc_id: str, address: str) -> facts.Interface | None:
        """Return the interface that has a private address of a VPC."""
        query = (
            select(InterfaceAddress.interface_id)
            .join(Subnet, Subnet.id == InterfaceAddress.subnet_id)
            .where(InterfaceAddress.address == str(ipaddress.ip_address(address)), Subnet.vpc_id == vpc_id)
        )
        found = self._tx.session.scalar(query)
        return None if found is None else self.interface(found)

    def interface_of_public(self, address: str) -> facts.Interface | None:
        """Return the interface that a public address leads to, unless it is another account's."""
        query = select(PublicAddress).where(
            PublicAddress.address == address,
            PublicAddress.interface_id.is_not(None),
            PublicAddress.private_address.is_not(None),
        )
        row = self._tx.session.scalar(query)
        if row is None or row.interface_id is None or not self._mine(row.account_id):
            return None
        return self.interface(row.interface_id)

    def nat_gateway(self, gateway_id: str) -> facts.NatGateway | None:
        """Return a NAT gateway."""
        row = self._tx.session.get(NatGateway, gateway_id)
        return None if row is None else facts.NatGateway(row.id, row.interface_id, row.state)

    def peer(self, peering_id: str, vpc_id: str) -> str | None:
        """Return the VPC at the other end of an active peering connection."""
        return peered_vpcs.active_of(self._tx, vpc_id).get(peering_id)

    def peers(self, vpc_id: str) -> set[str]:
        """Return the VPCs that active peering connections join with a VPC."""
        return set(peered_vpcs.active_of(self._tx, vpc_id).values())

    def _mine(self, account_id: str) -> bool:
        return self._account_id in (None, account_id)

    def _route_table(self, subnet: Subnet) -> str:
        """Return the table that is associated with a subnet, or its VPC's main one."""
        query = select(RouteTableAssociation.subnet_id, RouteTableAssociation.route_table_id).where(
            RouteTableAssociation.vpc_id == subnet.vpc_id,
            (RouteTableAssociation.subnet_id == subnet.id) | RouteTableAssociation.subnet_id.is_(None),
        )
        tables = {row[0]: row[1] for row in self._tx.session.execute(query)}
        return tables.get(subnet.id) or tables[None]

    def _read_routes(self, route_table_id: str) -> tuple[facts.Route, ...]:
        table = self._tx.session.get_one(RouteTable, route_table_id)
        found = [facts.Route(block, _LOCAL, _LOCAL) for block in peered_vpcs.blocks_of(self._tx, table.vpc_id)]
        query = select(Route, route_targets.is_live()).where(Route.route_table_id == route_table_id)
        for row, live in self._tx.session.execute(query).all():
            listed = row.destination if row.family == "prefix-list" else None
            destinations = prefix_list_blocks.blocks(self._tx, listed) if listed else [row.destination]
            found += [
                facts.Route(one, row.target_type, row.target_id, dead=not live, prefix_list_id=listed)
                for one in destinations
            ]
        return tuple(found)

    def _group_rule(self, row: SecurityGroupRule) -> facts.GroupRule:
        blocks: Iterable[str] = [block for block in (row.cidr_ipv4, row.cidr_ipv6) if block]
        if row.prefix_list_id is not None:
            blocks = prefix_list_blocks.blocks(self._tx, row.prefix_list_id)
        return facts.GroupRule(
            row.id,
            row.egress,
            NUMBERS.get(row.protocol, row.protocol),
            row.from_port,
            row.to_port,
            tuple(blocks),
            row.peer_group_id,
            row.prefix_list_id,
        )

    def _read_interface(self, interface_id: str) -> facts.Interface | None:
        row = self._tx.session.get(NetworkInterface, interface_id)
        if row is None:
            return None
        addresses = (
            select(InterfaceAddress.address)
            .where(InterfaceAddress.interface_id == interface_id)
            .order_by(InterfaceAddress.primary.desc(), InterfaceAddress.ipv6, InterfaceAddress.address)
        )
        groups = select(InterfaceGroup.group_id).where(InterfaceGroup.interface_id == interface_id)
        public = select(PublicAddress.private_address, PublicAddress.address).where(
            PublicAddress.interface_id == interface_id, PublicAddress.private_address.is_not(None)
        )
        return facts.Interface(
            row.id,
            row.vpc_id,
            row.subnet_id,
            tuple(self._tx.session.scalars(addresses)),
            tuple(sorted(self._tx.session.scalars(groups))),
            {one[0]: one[1] for one in self._tx.session.execute(public) if one[0] is not None},
            row.source_dest_check,
            row.instance_id,
            unfiltered=row.nat_gateway_id is not None,
            down="" if row.requester_managed else self._why_down(row),
        )

    def _why_down(self, row: NetworkInterface) -> str:
        if row.instance_id is None:
            return "it is attached to no instance"
        instance = self._tx.session.get(Instance, row.instance_id)
        state = "gone" if instance is None else instance.state
        return "" if state == "running" else f"the instance is {state}"


def _lives() -> ColumnElement[bool]:
    """Require that a rule does not refer to a deleted object."""
    rule = SecurityGroupRule
    active = select(VpcPeeringConnection.id).where(
        VpcPeeringConnection.id == rule.peering_id, VpcPeeringConnection.status == peered_vpcs.ACTIVE
    )
    there = select(SecurityGroup.id).where(SecurityGroup.id == rule.peer_group_id)
    return rule.peering_id.is_(None) | (active.exists() & there.exists())
