"""Delete a VPC without dependencies, together with the resources that were created with it."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select

from stead_controller.db.tables import (
    EgressOnlyInternetGateway,
    InternetGateway,
    NetworkInterface,
    RouteTable,
    RouteTableAssociation,
    Subnet,
    Vpc,
    VpcEndpoint,
)
from stead_controller.errors import InUse
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import (
    ended_cidr_blocks,
    flow_logs,
    network_acls,
    notify_topology,
    security_groups,
    vpc_peering_connections,
    vpcs,
)

# Dependencies that prevent the deletion of a VPC, besides non-default groups and ACLs.
_DEPENDENTS: Final[tuple[Any, ...]] = (
    Subnet,
    NetworkInterface,
    InternetGateway,
    EgressOnlyInternetGateway,
    VpcEndpoint,
)


def remove(tx: Transaction, caller: Caller, vpc_id: str, now: datetime) -> None:
    """Delete a VPC; raises MalformedId, NotFound, InUse."""
    vpc = vpcs.find(tx, caller, vpc_id)
    main = select(RouteTableAssociation.route_table_id).where(
        RouteTableAssociation.vpc_id == vpc.id, RouteTableAssociation.subnet_id.is_(None)
    )
    queries = [select(table.id).where(table.vpc_id == vpc.id) for table in _DEPENDENTS]
    queries.append(select(RouteTable.id).where(RouteTable.vpc_id == vpc.id, RouteTable.id.not_in(main)))
    if (
        any(tx.session.scalar(query.limit(1)) is not None for query in queries)
        or security_groups.has_others(tx, vpc.id)
        or network_acls.has_others(tx, vpc.id)
    ):
        raise InUse(f"The vpc '{vpc.id}' has dependencies and cannot be deleted.")
    table_id = tx.session.scalars(main).one()
    vpc_peering_connections.end_of_vpc(tx, vpc.id, caller.account_id, now)
    flow_logs.end_of_vpc(tx, vpc.id)
    ended_cidr_blocks.forget_of(tx, vpc.id)
    security_groups.remove_default(tx, vpc.id)
    network_acls.remove_default(tx, vpc.id)
    for statement in (
        delete(RouteTableAssociation).where(RouteTableAssociation.vpc_id == vpc.id),
        delete(RouteTable).where(RouteTable.vpc_id == vpc.id),  # and its routes: the foreign key cascades
        delete(Vpc).where(Vpc.id == vpc.id),  # and its blocks
    ):
        tx.session.execute(statement.execution_options(synchronize_session=False))
    tags.remove_all(tx, [vpc.id, table_id])
    tx.session.expunge(vpc)  # its row was deleted without the session's knowledge
    notify_topology.removed_vpc(tx, vpc.id)
