"""A host's outbox rows become the updates that it is sent."""

from dataclasses import dataclass

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact, Host, HostResource
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
    current = tx.session.scalar(select(Host.revision).where(Host.id == host_id)) or 0
    if current <= revision:
        return None
    rows = select(HostResource).where(HostResource.host_id == host_id, HostResource.revision > revision)
    return _update(tx, current, list(tx.session.scalars(rows)), full=False)


def everything(tx: Transaction, host_id: str) -> Update:
    """Collect the whole desired state of a host: whatever is not in it must go."""
    current = tx.session.scalar(select(Host.revision).where(Host.id == host_id)) or 0
    rows = select(HostResource).where(HostResource.host_id == host_id)
    return _update(tx, current, list(tx.session.scalars(rows)), full=True)


def _update(tx: Transaction, revision: int, rows: list[HostResource], *, full: bool) -> Update:
    state = pb.DesiredState(revision=revision, full=full, epoch=epoch_of(tx))
    for row in sorted(rows, key=lambda row: (row.kind, row.resource_id)):
        if row.body is None:
            state.removals.add(
                kind=desired.Kind.ValueType(row.kind), id=row.resource_id, revision=row.revision, force=row.force
            )
        else:
            state.resources.add().ParseFromString(row.body)
            state.resources[-1].revision = row.revision
    return Update(pb.HostUpdate(state=state), revision)


def is_wanted(tx: Transaction, host_id: str, image_id: str) -> bool:
    """Tell whether a host is told to have an image."""
    row = tx.session.get(HostResource, (host_id, int(desired.KIND_IMAGE), image_id))
    return row is not None and row.body is not None
