"""Associate route tables with subnets, or make them the main one of their VPC."""

from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import RouteTable, RouteTableAssociation
from stead_controller.errors import AlreadyExists, InvalidParameter
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import notify_topology, subnets

_KIND: Final = "route-table-association"


def associate(tx: Transaction, caller: Caller, table_id: str, subnet_id: str) -> str:
    """Associate a route table with a subnet and return the association's id; a repeated request returns the same one.

    Raises MalformedId, NotFound, InvalidParameter for different VPCs, AlreadyExists where another table applies.
    """
    table = lookup.find(tx, caller, "route-table", RouteTable, table_id)
    subnet = subnets.find(tx, caller, subnet_id)
    if table.vpc_id != subnet.vpc_id:
        raise InvalidParameter(f"Route table {table.id} and subnet {subnet.id} belong to different networks")
    known = tx.session.scalar(select(RouteTableAssociation).where(RouteTableAssociation.subnet_id == subnet.id))
    if known is not None:
        if known.route_table_id == table.id:
            return known.id
        raise AlreadyExists(
            "route-table-association",
            f"the specified association for route table {table.id} conflicts with an existing association",
        )
    return _add(tx, table, subnet.id)


def disassociate(tx: Transaction, caller: Caller, association_id: str) -> None:
    """Disassociate a subnet's table; raises MalformedId, NotFound, InvalidParameter for the main association."""
    row = lookup.find(tx, caller, _KIND, RouteTableAssociation, association_id)
    if row.subnet_id is None:
        raise InvalidParameter(f"cannot disassociate the main route table association {row.id}")
    tx.session.delete(row)
    notify_topology.subnet(tx, row.subnet_id, row.vpc_id)


def replace(tx: Transaction, caller: Caller, association_id: str, table_id: str) -> str:
    """Associate another table with a subnet, or make it the VPC's main one, and return the new association's id.

    Raises MalformedId, NotFound, InvalidParameter for a table of another VPC.
    """
    row = lookup.find(tx, caller, _KIND, RouteTableAssociation, association_id)
    table = lookup.find(tx, caller, "route-table", RouteTable, table_id)
    if table.vpc_id != row.vpc_id:
        raise InvalidParameter(f"Route table {table.id} and network {row.vpc_id} belong to different networks")
    if row.route_table_id == table.id:
        return row.id
    tx.session.delete(row)
    tx.session.flush()
    return _add(tx, table, row.subnet_id)


def _add(tx: Transaction, table: RouteTable, subnet_id: str | None) -> str:
    row = RouteTableAssociation(
        id=ids.new_id(_KIND),
        account_id=table.account_id,
        route_table_id=table.id,
        vpc_id=table.vpc_id,
        subnet_id=subnet_id,
    )
    tx.session.add(row)
    if subnet_id is None:
        notify_topology.main_table(tx, table.vpc_id)
    else:
        notify_topology.subnet(tx, subnet_id, table.vpc_id)
    return row.id
