"""The topic of each VPC: the state that all its subscribed hosts are sent, written once however many hosts there are.

Callers change rows first, then call `refresh_part` for what they changed, in the same transaction: the part's message
is built from the rows and written only if it differs. The cost does not grow with the hosts or the size of the VPC.
"""

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import Message
from sqlalchemy import bindparam, select

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import VpcHost, VpcResource
from stead_controller.desired import host_errors, subscriptions
from stead_controller.desired.messages.body import encode
from stead_controller.desired.parts import PARTS
from stead_controller.desired.revisions import next_revision
from stead_proto.v1 import desired_pb2 as pb

# Queried for each interface of each launch.
_BODY: Final = Prepared(
    select(VpcResource.body).where(
        VpcResource.vpc_id == bindparam("vpc_id"),
        VpcResource.kind == bindparam("kind"),
        VpcResource.resource_id == bindparam("resource_id"),
    )
)


def refresh_part(tx: Transaction, kind: int, resource_id: str, vpc_id: str) -> None:
    """Write the present state of a part, or its removal, to the topic of a VPC."""
    tx.session.flush()
    write_part(tx, kind, resource_id, vpc_id, PARTS[kind].draw(tx, resource_id))


def write_part(
    tx: Transaction, kind: int, resource_id: str, vpc_id: str, message: Message | None, *, is_new: bool = False
) -> None:
    """Write a part's message, None for its removal, to the topic of its VPC unless it is there already.

    A part that `is_new` cannot be there.
    """
    asked = {"vpc_id": vpc_id, "kind": kind, "resource_id": resource_id}
    known = None if is_new else _BODY.first(tx.connection, asked)
    before = known[0] if known is not None else None
    body = None if message is None else encode(resource_id, message)
    if before == body:
        return
    row = {"vpc_id": vpc_id, "kind": kind, "resource_id": resource_id}
    upsert(tx.session, VpcResource, [{**row, "revision": next_revision(tx), "body": body}])
    if body is None:
        host_errors.strike_out(tx, kind, resource_id)
    if kind == pb.KIND_PEERING:
        peers = {subscriptions.peer_of(each) for each in (before, body) if each is not None}
        for peer in sorted(peers):
            _draw_missing(tx, subscriptions.refresh_peers(tx, vpc_id, peer))


def refresh_host(tx: Transaction, vpc_id: str, host_id: str, *, has_interface: bool = False) -> None:
    """Begin or end a host's subscription to a VPC (and its peered ones) after interfaces came to or left the host.

    With `has_interface` the host is known to have one there.
    """
    tx.session.flush()
    _draw_missing(tx, subscriptions.refresh(tx, vpc_id, host_id, has_interface=has_interface))


def is_desired(tx: Transaction, host_id: str, kind: int, resource_id: str) -> bool:
    """Tell whether a resource is a part of a VPC to which a host is subscribed."""
    if kind not in PARTS:
        return False
    query = (
        select(VpcResource.resource_id)
        .join(VpcHost, VpcHost.vpc_id == VpcResource.vpc_id)
        .where(
            VpcHost.host_id == host_id,
            VpcHost.gone_revision.is_(None),
            VpcResource.kind == kind,
            VpcResource.resource_id == resource_id,
            VpcResource.body.is_not(None),
        )
    )
    return tx.session.scalar(query) is not None


def _draw_missing(tx: Transaction, vpc_ids: Iterable[str]) -> None:
    """Write the whole topic of those VPCs that have none yet: they are older than topics."""
    for vpc_id in sorted(vpc_ids):
        asked = {"vpc_id": vpc_id, "kind": int(pb.KIND_VPC), "resource_id": vpc_id}
        if _BODY.first(tx.connection, asked) is None:
            draw_vpc(tx, vpc_id)


def draw_vpc(tx: Transaction, vpc_id: str) -> None:
    """Build all parts of a VPC again: those that did not change are not written."""
    tx.session.flush()
    known = select(VpcResource.kind, VpcResource.resource_id).where(
        VpcResource.vpc_id == vpc_id, VpcResource.body.is_not(None)
    )
    keys = {(kind, resource_id) for kind, resource_id in tx.session.execute(known)}
    keys |= {(kind, resource_id) for kind, part in PARTS.items() for resource_id in part.ids(tx, vpc_id)}
    for kind, resource_id in sorted(keys):
        if kind in PARTS:
            write_part(tx, kind, resource_id, vpc_id, PARTS[kind].draw(tx, resource_id))
