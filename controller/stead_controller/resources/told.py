"""What hosts are told after a change to what filters traffic: one call at the end of each mutation."""

from stead_controller.db.tables import NetworkAcl, Subnet
from stead_controller.resources.transaction import Transaction


def network_acl(tx: Transaction, acl: NetworkAcl) -> None:
    """Tell every host with an interface in a subnet of this ACL its rules as they are now."""
    del tx, acl


def subnet_acl(tx: Transaction, subnet: Subnet) -> None:
    """Tell every host with an interface in this subnet which ACL it has now."""
    del tx, subnet
