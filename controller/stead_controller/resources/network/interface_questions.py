"""Questions about a network interface that only its host can answer."""

from ipaddress import ip_address

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import InterfaceAddress, NetworkInterface
from stead_controller.errors import InvalidParameter, MalformedId, NotFound, WrongState
from stead_controller.request.questions import Look
from stead_controller.request.transaction import Transaction


def interface_on_host(tx: Transaction, resource_id: str) -> tuple[str, str]:
    """Find an interface of any account by its id or its instance's id, and its host, for an operator.

    Returns interface id and host id; raises MalformedId, NotFound, WrongState when it is on no host now.
    """
    interface = _interface_of(tx, resource_id)
    return interface.id, interface.host_id or ""


def look(tx: Transaction, resource_id: str, to_address: str) -> Look:
    """Prepare the question how an interface's host sends packets to an address.

    Raises MalformedId, NotFound, WrongState as `interface_on_host`; InvalidParameter for an invalid address, or one of
    an IP version that the interface does not have.
    """
    try:
        version = ip_address(to_address).version
    except ValueError:
        raise InvalidParameter(f"'{to_address}' is no IPv4 or IPv6 address") from None
    interface = _interface_of(tx, resource_id)
    source: str | None = interface.private_address
    if version == 6:
        source = tx.session.scalar(
            select(InterfaceAddress.address)
            .where(InterfaceAddress.interface_id == interface.id, InterfaceAddress.address.contains(":"))
            .limit(1)
        )
    if source is None:
        raise InvalidParameter(f"{interface.id} has no IPv{version} address, so nothing of it goes to {to_address}")
    return Look(interface.host_id or "", interface.vpc_id, interface.subnet_id, interface.id, source, to_address)


def _interface_of(tx: Transaction, resource_id: str) -> NetworkInterface:
    kind = ids.resource_type_of(resource_id)
    query = select(NetworkInterface)
    if kind == "instance":
        query = query.where(NetworkInterface.instance_id == resource_id, NetworkInterface.device_index == 0)
    elif kind == "network-interface":
        query = query.where(NetworkInterface.id == resource_id)
    else:
        raise MalformedId("network-interface", resource_id)
    interface = tx.session.scalar(query)
    if interface is None:
        raise NotFound(kind, resource_id)
    if interface.host_id is None:
        raise WrongState(kind, f"{interface.id} is on no host now: its instance is stopped, or it is attached to none")
    return interface
