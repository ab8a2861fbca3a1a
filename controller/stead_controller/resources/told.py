"""What hosts are told after a change to what filters traffic: one call at the end of each mutation."""

from stead_controller.db.tables import NetworkAcl, PrefixList, Subnet, VpcPeeringConnection
from stead_controller.resources.transaction import Transaction


def network_acl(tx: Transaction, acl: NetworkAcl) -> None:
    """Tell every host with an interface in a subnet of this ACL its rules as they are now."""
    del tx, acl


def subnet_acl(tx: Transaction, subnet: Subnet) -> None:
    """Tell every host with an interface in this subnet which ACL it has now."""
    del tx, subnet


def peering(tx: Transaction, connection: VpcPeeringConnection) -> None:
    """Tell the hosts of both VPCs of a connection that it is active, how it is now, or that it has ended."""
    del tx, connection


def prefix_list(tx: Transaction, changed: PrefixList) -> None:
    """Tell every host whose groups or routes name this prefix list its entries as they are now."""
    del tx, changed


def flow_log(tx: Transaction, flow_log_id: str, vpc_id: str) -> None:
    """Tell the hosts of a VPC that a flow log was made, or that it is gone."""
    del tx, flow_log_id, vpc_id
