"""Builds an interface's `Mapping` from its rows: its location, for all hosts subscribed to its VPC."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, Instance, InterfaceAddress, InterfaceGroup, NetworkInterface
from stead_controller.desired.messages.interface import public_dns_name
from stead_controller.desired.messages.region import region_of
from stead_controller.names import private_name, resource_name
from stead_proto.v1 import desired_pb2 as pb

# Queried for each interface of each launch.
_OTHER_ADDRESSES: Final = Prepared(
    select(InterfaceAddress.address)
    .where(InterfaceAddress.interface_id == bindparam("interface_id"), InterfaceAddress.address != bindparam("primary"))
    .order_by(InterfaceAddress.address)
)
_GROUPS: Final = Prepared(
    select(InterfaceGroup.group_id)
    .where(InterfaceGroup.interface_id == bindparam("interface_id"))
    .order_by(InterfaceGroup.group_id)
)
_IPV6: Final = Prepared(
    select(InterfaceAddress.address)
    .where(InterfaceAddress.interface_id == bindparam("interface_id"), InterfaceAddress.ipv6.is_(True))
    .order_by(InterfaceAddress.position, InterfaceAddress.address)
)
_RECORDS: Final = Prepared(
    select(Instance.resource_name_a_record, Instance.resource_name_aaaa_record).where(
        Instance.id == bindparam("instance_id")
    )
)
_HOST_ADDRESS: Final = Prepared(select(Host.underlay_address).where(Host.id == bindparam("host_id")))


def draw(tx: Transaction, interface_id: str) -> pb.Mapping | None:
    """Return an interface's host, addresses, names and groups; None when it is gone."""
    interface = tx.session.get(NetworkInterface, interface_id)
    if interface is None:
        return None
    primary = interface.private_address or ""
    addresses = _OTHER_ADDRESSES.scalars(tx.connection, {"interface_id": interface_id, "primary": primary})
    groups = _GROUPS.scalars(tx.connection, {"interface_id": interface_id})
    host_address = ""
    if interface.host_id is not None:
        host_address = _HOST_ADDRESS.scalar(tx.connection, {"host_id": interface.host_id}) or ""
    region = region_of(tx)
    resolved = _resolved(tx, interface)
    return pb.Mapping(
        vpc_id=interface.vpc_id,
        subnet_id=interface.subnet_id,
        mac_address=interface.mac_address,
        addresses=[primary, *addresses] if primary else addresses,
        host_address=host_address,
        security_group_ids=groups,
        private_dns_name=private_name(primary, region) if primary else "",
        public_dns_name=public_dns_name(tx, interface, region),
        source_dest_check=interface.source_dest_check,
        resource_name=resource_name(interface.instance_id or "", region) if resolved else "",
        resource_name_addresses=resolved,
    )


def _resolved(tx: Transaction, interface: NetworkInterface) -> list[str]:
    """The addresses, one per family, that an instance's resource name resolves to: those of its primary interface."""
    if interface.instance_id is None or interface.device_index != 0:
        return []
    records = _RECORDS.first(tx.connection, {"instance_id": interface.instance_id})
    if records is None:
        return []
    of_ipv4, of_ipv6 = records
    found = [interface.private_address] if of_ipv4 and interface.private_address else []
    if of_ipv6:
        found += _IPV6.scalars(tx.connection, {"interface_id": interface.id})[:1]
    return found


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All interfaces of a VPC."""
    return tx.session.scalars(select(NetworkInterface.id).where(NetworkInterface.vpc_id == vpc_id)).all()
