"""What follows each change of a network interface: its instance's row shows it, and hosts are told."""

from stead_controller.db.tables import Instance, NetworkInterface
from stead_controller.hosts import desired_state
from stead_controller.resources import addresses, interface_groups
from stead_controller.resources.transaction import Transaction


def changed(tx: Transaction, interface: NetworkInterface) -> None:
    """Tell of an interface whose row, addresses or groups changed; call it when all of them are as they shall be."""
    tx.session.flush()
    if interface.instance_id is None:
        interface_groups.tell_hosts(tx, interface_groups.of(tx, interface.id))
        return
    instance = tx.session.get_one(Instance, interface.instance_id)
    if interface.device_index == 0:
        instance.public_address = addresses.public_of(tx, interface)
    tx.events.add(instance.id)
    desired_state.refresh_instance(tx, instance.id)


def gone(tx: Transaction, group_ids: list[str]) -> None:
    """Tell of an interface that was in these groups and is no more."""
    tx.session.flush()
    interface_groups.tell_hosts(tx, group_ids)
