"""What a host has missed since a revision, or all that it must make true, becomes the state that it is sent.

A part of a VPC is told at the revision of its last change or, where that is older, at that of the host's subscription:
so what a host was told to remove, when it had nothing to do with the VPC, comes back as news.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact, HostResource, VpcHost, VpcResource
from stead_controller.hosts import revisions
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb


@dataclass(frozen=True, slots=True)
class Update:
    """A change to send, and the revision that the host will know afterwards."""

    message: pb.HostUpdate
    revision: int


def epoch_of(tx: Transaction) -> str:
    """The name of this database's life: revisions of another one mean nothing."""
    return tx.session.get_one(CloudFact, "epoch").value


def changes_since(tx: Transaction, host_id: str, revision: int) -> Update | None:
    """Collect what a host has missed since a revision; None when it missed nothing."""
    current = revisions.current(tx)
    if current <= revision:
        return None
    state = pb.DesiredState(revision=current, epoch=epoch_of(tx))
    own = select(HostResource).where(HostResource.host_id == host_id, HostResource.revision > revision)
    _add_own(state, tx.session.scalars(own))
    for topic in tx.session.scalars(select(VpcHost).where(VpcHost.host_id == host_id)):
        _add_topic(tx, state, topic, revision)
    if not state.resources and not state.removals:
        return None
    return Update(pb.HostUpdate(state=state), current)


def everything(tx: Transaction, host_id: str) -> Update:
    """Collect the whole desired state of a host: whatever is not in it must go."""
    current = revisions.current(tx)
    state = pb.DesiredState(revision=current, full=True, epoch=epoch_of(tx))
    _add_own(state, tx.session.scalars(select(HostResource).where(HostResource.host_id == host_id)))
    subscribed = select(VpcHost).where(VpcHost.host_id == host_id, VpcHost.gone_revision.is_(None))
    for topic in tx.session.scalars(subscribed):
        live = VpcResource.body.is_not(None)
        _add_parts(
            state, tx.session.scalars(select(VpcResource).where(VpcResource.vpc_id == topic.vpc_id, live)), topic
        )
    return Update(pb.HostUpdate(state=state), current)


def _add_own(state: pb.DesiredState, rows: Iterable[HostResource]) -> None:
    for row in rows:
        if row.body is None:
            _add_removal(state, row.kind, row.resource_id, row.revision, force=row.force)
        else:
            _add_resource(state, row.body, row.revision)


def _add_topic(tx: Transaction, state: pb.DesiredState, topic: VpcHost, revision: int) -> None:
    """Add what a host missed of one VPC that it is told of, or was until it missed something."""
    rows = select(VpcResource).where(VpcResource.vpc_id == topic.vpc_id)
    if topic.gone_revision is not None:
        if topic.gone_revision > revision:
            for row in tx.session.scalars(rows):
                _add_removal(state, row.kind, row.resource_id, topic.gone_revision)
    elif topic.since_revision <= revision:
        _add_parts(state, tx.session.scalars(rows.where(VpcResource.revision > revision)), topic)
    else:
        # The host may have been told of the VPC at an earlier time, so it is told the removals that it missed, too.
        news = VpcResource.body.is_not(None) | (VpcResource.revision > revision)
        _add_parts(state, tx.session.scalars(rows.where(news)), topic)


def _add_parts(state: pb.DesiredState, rows: Iterable[VpcResource], topic: VpcHost) -> None:
    for row in rows:
        revision = max(row.revision, topic.since_revision)
        if row.body is None:
            _add_removal(state, row.kind, row.resource_id, revision)
        else:
            _add_resource(state, row.body, revision)


def _add_resource(state: pb.DesiredState, body: bytes, revision: int) -> None:
    state.resources.add().ParseFromString(body)
    state.resources[-1].revision = revision


def _add_removal(state: pb.DesiredState, kind: int, resource_id: str, revision: int, *, force: bool = False) -> None:
    state.removals.add(kind=desired.Kind.ValueType(kind), id=resource_id, revision=revision, force=force)
