"""Delete a subnet without interfaces."""

from sqlalchemy import delete, select

from stead_controller.db.tables import NetworkAclAssociation, NetworkInterface, RouteTableAssociation
from stead_controller.errors import InUse
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import ended_cidr_blocks, notify_topology, subnet_cidr_reservations, subnets


def remove(tx: Transaction, caller: Caller, subnet_id: str) -> None:
    """Delete a subnet and its associations; raises MalformedId, NotFound, InUse."""
    subnet = subnets.find(tx, caller, subnet_id)
    query = select(NetworkInterface.id).where(NetworkInterface.subnet_id == subnet.id).limit(1)
    if tx.session.scalar(query) is not None:
        raise InUse(f"The subnet '{subnet.id}' has dependencies and cannot be deleted.")
    for table in (RouteTableAssociation, NetworkAclAssociation):
        tx.session.execute(
            delete(table).where(table.subnet_id == subnet.id).execution_options(synchronize_session=False)
        )
    subnet_cidr_reservations.remove_of_subnet(tx, subnet.id)
    ended_cidr_blocks.forget_of(tx, subnet.id)
    tx.session.delete(subnet)
    tags.remove_all(tx, [subnet.id])
    notify_topology.subnet(tx, subnet.id, subnet.vpc_id)
