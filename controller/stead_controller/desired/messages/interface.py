"""Builds an `Interface` from its rows, for the host on which the interface is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, exists, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import InterfaceAddress, NetworkInterface, PublicAddress, UnclaimedAddress, Vpc
from stead_controller.names import private_name, public_name
from stead_proto.v1 import desired_pb2 as pb

# Queried for each interface of each launch.
_NAMES: Final = Prepared(select(Vpc.dns_support, Vpc.dns_hostnames).where(Vpc.id == bindparam("vpc_id")))
# An address that an unclaimed interface has too stays there alone: two hosts would answer for it.
_unclaimed = exists().where(UnclaimedAddress.place == "", UnclaimedAddress.address == PublicAddress.address)
_PUBLIC: Final = Prepared(
    select(PublicAddress.address, PublicAddress.private_address, PublicAddress.allocation_id)
    .where(PublicAddress.interface_id == bindparam("interface_id"), ~_unclaimed)
    .order_by(PublicAddress.address)
)
_PUBLIC_OF: Final = Prepared(
    select(PublicAddress.address).where(
        PublicAddress.interface_id == bindparam("interface_id"),
        PublicAddress.private_address == bindparam("private_address"),
    )
)
_HELD: Final = Prepared(
    select(InterfaceAddress.address, InterfaceAddress.ipv6)
    .where(InterfaceAddress.interface_id == bindparam("interface_id"), InterfaceAddress.primary.is_(False))
    .order_by(InterfaceAddress.position, InterfaceAddress.address)
)


@dataclass(frozen=True, slots=True)
class Belongings:
    """What an interface has beside its row, where that is known: who has just added it need not read it again.

    `groups` are names by ids, in the order of the ids; `public` is its only public address, that of its private one,
    which it has automatically. It has no further addresses. `names` are the VPC's `dns_support` and `dns_hostnames`.
    """

    groups: Mapping[str, str]
    public: str | None
    names: tuple[bool, bool]


def names_of(tx: Transaction, vpc_id: str) -> tuple[bool, bool]:
    """Return a VPC's `dns_support` and `dns_hostnames`."""
    found: tuple[bool, bool] | None = _NAMES.first(tx.connection, {"vpc_id": vpc_id})
    return found or (False, False)


def public_dns_name(tx: Transaction, interface: NetworkInterface, region: str) -> str:
    """The public DNS name of an interface; empty without public address, or where the VPC disables DNS host names."""
    if not _gives_names(tx, interface.vpc_id):
        return ""
    asked = {"interface_id": interface.id, "private_address": interface.private_address}
    address = _PUBLIC_OF.scalar(tx.connection, asked)
    return public_name(address, region) if address is not None else ""


def _gives_names(tx: Transaction, vpc_id: str) -> bool:
    return names_of(tx, vpc_id) == (True, True)


def questions(interface: NetworkInterface) -> tuple[tuple[Prepared, Mapping[str, Any]], ...]:
    """Return what `of_interface` asks, so that the database can answer all of it at once."""
    asked = {"interface_id": interface.id}
    return (_PUBLIC, asked), (_NAMES, {"vpc_id": interface.vpc_id}), (_HELD, asked)


def of_interface(
    tx: Transaction,
    interface: NetworkInterface,
    group_ids: Sequence[str],
    region: str,
    known: Belongings | None = None,
) -> pb.Interface:
    """An interface with its addresses and groups, without public ones that an unclaimed interface of a host has.

    What is `known` of it is not read.
    """
    public, held = _addresses(tx, interface, known)
    own = next((address for address, private, _ in public if private == interface.private_address), None)
    named = own is not None and (known.names if known else names_of(tx, interface.vpc_id)) == (True, True)
    return pb.Interface(
        vpc_id=interface.vpc_id,
        subnet_id=interface.subnet_id,
        mac_address=interface.mac_address,
        private_address=interface.private_address or "",
        secondary_addresses=[address for address, ipv6 in held if not ipv6],
        ipv6_addresses=[address for address, ipv6 in held if ipv6],
        public_addresses=[
            pb.PublicAddress(
                public_address=address,
                private_address=private or interface.private_address or "",
                allocation_id=allocation_id or "",
            )
            for address, private, allocation_id in public
        ],
        security_group_ids=group_ids,
        source_dest_check=interface.source_dest_check,
        private_dns_name=private_name(interface.private_address, region) if interface.private_address else "",
        public_dns_name=public_name(own, region) if own is not None and named else "",
        unfiltered=interface.nat_gateway_id is not None,
        instance_id=interface.instance_id or "",
        tcp_established_timeout=interface.tcp_established_timeout or 0,
        udp_timeout=interface.udp_timeout or 0,
        udp_stream_timeout=interface.udp_stream_timeout or 0,
        record=pb.InterfaceRecord(
            delete_on_termination=interface.delete_on_termination,
            description=interface.description,
            associate_public_address=interface.associate_public_address,
        ),
    )


def _addresses(
    tx: Transaction, interface: NetworkInterface, known: Belongings | None
) -> tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]]:
    """Return public addresses, with the private one and the allocation of each, and further ones, with their family."""
    if known is None:
        asked = {"interface_id": interface.id}
        return _PUBLIC.all(tx.connection, asked), _HELD.all(tx.connection, asked)
    return ([(known.public, interface.private_address, None)] if known.public is not None else []), ()
