"""The consequences of each change of a network interface: its instance's row is updated, and hosts are notified."""

from sqlalchemy import select

from stead_controller.db.tables import Instance, NetworkInterface, PublicAddress
from stead_controller.desired import desired_state, topics
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import address_pools, notify_topology
from stead_proto.v1 import desired_pb2 as pb


def changed(tx: Transaction, interface: NetworkInterface) -> None:
    """Publish an interface whose row, addresses or groups changed; call it when all of them are final."""
    topics.refresh_part(tx, pb.KIND_MAPPING, interface.id, interface.vpc_id)
    notify_topology.target(tx, interface.id)
    if interface.instance_id is None:
        return
    instance = tx.session.get_one(Instance, interface.instance_id)
    if interface.device_index == 0:
        instance.public_address = address_pools.public_of(tx, interface)
    tx.events.add(instance.id)
    desired_state.refresh_instance(tx, instance.id)


def renamed(tx: Transaction, vpc_id: str) -> None:
    """Publish all interfaces of a VPC with public addresses: the VPC's DNS names were switched on or off."""
    public = select(PublicAddress.interface_id).where(PublicAddress.interface_id == NetworkInterface.id)
    query = select(NetworkInterface).where(NetworkInterface.vpc_id == vpc_id, public.exists())
    for interface in tx.session.scalars(query).all():
        changed(tx, interface)


def gone(tx: Transaction, interface: NetworkInterface) -> None:
    """Publish that an interface was deleted."""
    topics.refresh_part(tx, pb.KIND_MAPPING, interface.id, interface.vpc_id)
    notify_topology.target(tx, interface.id)
