"""Builds a `NetworkAcl` from its rows; without the final denials: what no entry matches is denied."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import NetworkAcl, NetworkAclEntry
from stead_controller.desired.messages import noted_rows
from stead_proto.v1 import desired_pb2 as pb

_LAST_RULE: Final = 32766
_ANY: Final = -1


def draw(tx: Transaction, acl_id: str) -> pb.NetworkAcl | None:
    """An ACL with its entries by rule number; None when it is gone."""
    acl = tx.session.scalar(select(NetworkAcl).where(NetworkAcl.id == acl_id))
    if acl is None:
        return None
    entries = (
        select(NetworkAclEntry)
        .where(NetworkAclEntry.acl_id == acl_id, NetworkAclEntry.rule_number <= _LAST_RULE)
        .order_by(NetworkAclEntry.egress, NetworkAclEntry.rule_number)
    )
    return pb.NetworkAcl(
        vpc_id=acl.vpc_id,
        entries=[_entry(entry) for entry in tx.session.scalars(entries)],
        rows=noted_rows.of(
            tx, (NetworkAcl, NetworkAcl.id == acl_id), (NetworkAclEntry, NetworkAclEntry.acl_id == acl_id)
        ),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All ACLs of a VPC."""
    return tx.session.scalars(select(NetworkAcl.id).where(NetworkAcl.vpc_id == vpc_id)).all()


def _entry(entry: NetworkAclEntry) -> pb.NetworkAclEntry:
    first, last = entry.from_port, entry.to_port
    if entry.icmp_type is not None:
        first, last = entry.icmp_type, entry.icmp_code
    return pb.NetworkAclEntry(
        rule_number=entry.rule_number,
        egress=entry.egress,
        allow=entry.allow,
        protocol=entry.protocol,
        cidr_block=entry.cidr_ipv4 or entry.cidr_ipv6 or "",
        from_port=_ANY if first is None else first,
        to_port=_ANY if last is None else last,
    )
