"""Which hosts are subscribed to which VPCs: those with an interface in the VPC or in a peered one.

A NAT gateway counts by its interface. Peerings are read from the topics themselves, which hold the active ones.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam, select, update

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared, Question, ask
from stead_controller.db.session import Transaction
from stead_controller.db.tables import NetworkInterface, VpcHost, VpcResource
from stead_controller.desired.revisions import next_revision
from stead_proto.v1 import desired_pb2 as pb

_PEERINGS: Final = Prepared(
    select(VpcResource.body).where(
        VpcResource.vpc_id == bindparam("vpc_id"), VpcResource.kind == pb.KIND_PEERING, VpcResource.body.is_not(None)
    )
)
_SOME_INTERFACE: Final = Prepared(
    select(NetworkInterface.id)
    .where(
        NetworkInterface.host_id == bindparam("host_id"),
        NetworkInterface.vpc_id.in_(bindparam("vpc_ids", expanding=True)),
    )
    .limit(1)
)
_GONE: Final = Prepared(
    select(VpcHost.gone_revision).where(VpcHost.host_id == bindparam("host_id"), VpcHost.vpc_id == bindparam("vpc_id"))
)


def questions(vpc_id: str, host_id: str, *, has_interface: bool) -> list[Question]:
    """Return what `refresh` asks, so that the database can answer it at once."""
    asked: list[Question] = [
        (_PEERINGS, {"vpc_id": vpc_id}),
        (_GONE, {"host_id": host_id, "vpc_id": vpc_id}),
    ]
    if not has_interface:
        asked.append((_SOME_INTERFACE, {"host_id": host_id, "vpc_ids": [vpc_id]}))  # if it has no peers
    return asked


def refresh(tx: Transaction, vpc_id: str, host_id: str, *, has_interface: bool = False) -> set[str]:
    """Begin or end a host's subscription to a VPC and its peered VPCs; return the VPCs to which it is new.

    With `has_interface` the host is known to have one in the VPC.
    """
    begun: set[str] = set()
    ask(tx.connection, *questions(vpc_id, host_id, has_interface=has_interface))
    peers = peers_of(tx, vpc_id)
    for each in sorted({vpc_id, *peers}):
        around = peers if each == vpc_id else peers_of(tx, each)
        # A peering is a part of both VPCs, so each that is looked at has this one around it, or is it.
        wanted = has_interface or _has_interface(tx, host_id, {each, *around})
        if _set(tx, each, host_id, wanted=wanted):
            begun.add(each)
    return begun


def refresh_peers(tx: Transaction, vpc_id: str, peer_id: str) -> set[str]:
    """Begin or end the subscriptions of the hosts of two VPCs to both, when a peering between them began or ended.

    The cost grows with the number of hosts. Returns the VPCs to which any host is newly subscribed.
    """
    hosts = select(NetworkInterface.host_id).where(NetworkInterface.vpc_id.in_([vpc_id, peer_id])).distinct()
    begun: set[str] = set()
    for host_id in tx.session.scalars(hosts).all():
        for each in (vpc_id, peer_id):
            if host_id is None:
                continue
            if _set(tx, each, host_id, wanted=_has_interface(tx, host_id, {each, *peers_of(tx, each)})):
                begun.add(each)
    return begun


def peers_of(tx: Transaction, vpc_id: str) -> set[str]:
    """The VPCs that have an active peering with a VPC, according to its topic."""
    bodies = _PEERINGS.scalars(tx.connection, {"vpc_id": vpc_id})
    return {peer_of(body) for body in bodies if body is not None}


def peer_of(body: bytes) -> str:
    """The other VPC of a peering, from the serialized `Resource` of one side."""
    return pb.Resource.FromString(body).peering.peer_vpc_id


def _has_interface(tx: Transaction, host_id: str, vpc_ids: Iterable[str]) -> bool:
    return _SOME_INTERFACE.first(tx.connection, {"host_id": host_id, "vpc_ids": list(vpc_ids)}) is not None


def _set(tx: Transaction, vpc_id: str, host_id: str, *, wanted: bool) -> bool:
    """Write whether a host is subscribed to a VPC, if that changed; tell whether the subscription begins now."""
    known = _GONE.first(tx.connection, {"host_id": host_id, "vpc_id": vpc_id})
    if wanted == (known is not None and known[0] is None):
        return False
    revision = next_revision(tx)
    if wanted:
        row = {"host_id": host_id, "vpc_id": vpc_id, "since_revision": revision, "gone_revision": None}
        upsert(tx.session, VpcHost, [row])
    else:
        mine = (VpcHost.host_id == host_id, VpcHost.vpc_id == vpc_id)
        changed = update(VpcHost).where(*mine).values(gone_revision=revision)
        tx.session.execute(changed.execution_options(synchronize_session=False))
    return wanted
