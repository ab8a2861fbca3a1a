"""Builds an interface's `Mapping` from its rows: its location, for all hosts subscribed to its VPC."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.db.prepared import Prepared, Question
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, Instance, InterfaceAddress, InterfaceGroup, NetworkInterface
from stead_controller.desired.messages.interface import public_dns_name
from stead_controller.desired.messages.region import region_of
from stead_controller.names import private_name, resource_name
from stead_proto.v1 import desired_pb2 as pb

# Queried for each interface of each launch.
_OTHER_ADDRESSES: Final = Prepared(
    select(InterfaceAddress.address).where(
        InterfaceAddress.interface_id == bindparam("interface_id"), InterfaceAddress.address != bindparam("primary")
    )
)
_GROUPS: Final = Prepared(
    select(InterfaceGroup.group_id).where(InterfaceGroup.interface_id == bindparam("interface_id"))
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
    region = region_of(tx)
    records = None
    if interface.instance_id is not None and interface.device_index == 0:
        records = _RECORDS.first(tx.connection, {"instance_id": interface.instance_id})
    return _mapping(
        interface,
        region,
        addresses=addresses,
        groups=groups,
        at=host_address(tx, interface.host_id),
        public_name=public_dns_name(tx, interface, region),
        resolved=_resolved(tx, interface, records),
    )


def of_placed(
    tx: Transaction, interface: NetworkInterface, instance: Instance, *, sent: pb.Interface, at: str, region: str
) -> pb.Mapping:
    """Return what `draw` would, of what is known: an interface, what its host is sent of it, and the host's address."""
    records = None
    if interface.device_index == 0:
        records = (instance.resource_name_a_record, instance.resource_name_aaaa_record)
    return _mapping(
        interface,
        region,
        addresses=[*sent.secondary_addresses, *sent.ipv6_addresses],
        groups=sent.security_group_ids,
        at=at,
        # What is sent leaves out a public address that an unclaimed interface has as well.
        public_name=sent.public_dns_name or public_dns_name(tx, interface, region),
        resolved=_resolved(tx, interface, records),
    )


def question_of_address(host_id: str) -> Question:
    """Return what `host_address` asks, so that the database can answer it with others."""
    return _HOST_ADDRESS, {"host_id": host_id}


def host_address(tx: Transaction, host_id: str | None) -> str:
    """Return the address by which other hosts reach a host; empty for none."""
    return (_HOST_ADDRESS.scalar(tx.connection, {"host_id": host_id}) or "") if host_id is not None else ""


def _mapping(
    interface: NetworkInterface,
    region: str,
    *,
    addresses: Iterable[str],
    groups: Iterable[str],
    at: str,
    public_name: str,
    resolved: list[str],
) -> pb.Mapping:
    """Join the parts, addresses and groups in an order that is always the same: what is equal is not sent again."""
    primary = interface.private_address or ""
    return pb.Mapping(
        vpc_id=interface.vpc_id,
        subnet_id=interface.subnet_id,
        mac_address=interface.mac_address,
        addresses=[primary, *sorted(addresses)] if primary else sorted(addresses),
        host_address=at,
        security_group_ids=sorted(groups),
        private_dns_name=private_name(primary, region) if primary else "",
        public_dns_name=public_name,
        source_dest_check=interface.source_dest_check,
        resource_name=resource_name(interface.instance_id or "", region) if resolved else "",
        resource_name_addresses=resolved,
    )


def _resolved(tx: Transaction, interface: NetworkInterface, records: tuple[bool, bool] | None) -> list[str]:
    """The addresses, one per family, that an instance's resource name resolves to: those of its primary interface."""
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
