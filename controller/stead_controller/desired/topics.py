"""The topic of each VPC: what all hosts that have to do with it are told alike, written once however many they are.

Callers change rows first, then call `refresh_part` for what they touched, in the same transaction: the part's picture
is drawn from the rows and written only if it differs. Nothing here costs more with more hosts, or with more of the VPC.
"""

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import Message
from sqlalchemy import bindparam, select

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import VpcResource
from stead_controller.desired import host_errors, subscriptions
from stead_controller.desired.parts import PARTS
from stead_controller.desired.pictures.body import encode
from stead_controller.desired.revisions import next_revision
from stead_proto.v1 import desired_pb2 as pb

# Asked for each interface of each launch.
_BODY: Final = Prepared(
    select(VpcResource.body).where(
        VpcResource.vpc_id == bindparam("vpc_id"),
        VpcResource.kind == bindparam("kind"),
        VpcResource.resource_id == bindparam("resource_id"),
    )
)


def refresh_part(tx: Transaction, kind: int, resource_id: str, vpc_id: str) -> None:
    """Tell the hosts of a VPC how a part of it is now, or that it is gone."""
    tx.session.flush()
    write_part(tx, kind, resource_id, vpc_id, PARTS[kind].draw(tx, resource_id))


def write_part(tx: Transaction, kind: int, resource_id: str, vpc_id: str, picture: Message | None) -> None:
    """Write a part's picture, None for its end, to the topic of its VPC unless the topic says so already."""
    known = _BODY.first(tx.connection, {"vpc_id": vpc_id, "kind": kind, "resource_id": resource_id})
    before = known[0] if known is not None else None
    body = None if picture is None else encode(resource_id, picture)
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


def refresh_host(tx: Transaction, vpc_id: str, host_id: str) -> None:
    """Begin or end to tell a host of a VPC (and those peered with it) after interfaces came to the host or left it."""
    tx.session.flush()
    _draw_missing(tx, subscriptions.refresh(tx, vpc_id, host_id))


def _draw_missing(tx: Transaction, vpc_ids: Iterable[str]) -> None:
    """Draw those VPCs whole that have no topic yet: they are older than topics."""
    for vpc_id in sorted(vpc_ids):
        asked = {"vpc_id": vpc_id, "kind": int(pb.KIND_VPC), "resource_id": vpc_id}
        if _BODY.first(tx.connection, asked) is None:
            draw_vpc(tx, vpc_id)


def draw_vpc(tx: Transaction, vpc_id: str) -> None:
    """Draw all of a VPC anew: what is as it was told is not written."""
    tx.session.flush()
    known = select(VpcResource.kind, VpcResource.resource_id).where(
        VpcResource.vpc_id == vpc_id, VpcResource.body.is_not(None)
    )
    keys = {(kind, resource_id) for kind, resource_id in tx.session.execute(known)}
    keys |= {(kind, resource_id) for kind, part in PARTS.items() for resource_id in part.ids(tx, vpc_id)}
    for kind, resource_id in sorted(keys):
        if kind in PARTS:
            write_part(tx, kind, resource_id, vpc_id, PARTS[kind].draw(tx, resource_id))
