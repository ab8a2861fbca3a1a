"""Snapshots that lack data because one of their blocks is damaged, and what cannot be used meanwhile.

A completed snapshot that needs a damaged block is in state `error`, and so are images of it, until its last damaged
block is readable again. Unlike a failed snapshot it keeps all its references.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import batched
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select

from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import (
    HostError,
    Image,
    ImageBlockDevice,
    Snapshot,
    SnapshotDamage,
    StoredBlock,
    Volume,
)
from stead_controller.request.transaction import Transaction
from stead_proto.v1 import desired_pb2 as desired

_BATCH: Final = 500

MESSAGE: Final = "Data of the snapshot is damaged. It can be used again when the data is restored."
OF_IMAGE: Final = "Data of a snapshot of the image is damaged."

IS_DAMAGED: Final[ColumnElement[bool]] = exists().where(SnapshotDamage.snapshot_id == Snapshot.id).correlate(Snapshot)
"""Whether a row of `snapshots` lacks data."""

VOLUME_LACKS_DATA: Final[ColumnElement[bool]] = and_(
    exists().where(SnapshotDamage.snapshot_id == Volume.snapshot_id).correlate(Volume),
    or_(
        Volume.host_id.is_(None),
        exists()
        .where(
            HostError.host_id == Volume.host_id,
            HostError.kind == int(desired.KIND_BASE),
            HostError.resource_id == Volume.snapshot_id,
        )
        .correlate(Volume),
    ),
)
"""Whether a row of `volumes` lacks data of its snapshot: its home has not fetched it, or it has no home yet."""


def note(tx: Transaction, needing: Mapping[bytes, Collection[str]], now: datetime) -> None:
    """Note which snapshots need each of some blocks, of those that are damaged still.

    One that is not complete is left alone: it is looked at when it is (`snapshot_life.complete`).
    """
    pairs: dict[str, set[bytes]] = {}
    for digest in _damaged(tx, needing):
        for snapshot_id in needing[digest]:
            pairs.setdefault(snapshot_id, set()).add(digest)
    for batch in batched(sorted(pairs), _BATCH):
        whole = or_(Snapshot.state.in_(("completed", "deleting")), IS_DAMAGED)
        for snapshot in tx.session.scalars(select(Snapshot).where(Snapshot.id.in_(batch), whole)).all():
            for digest in sorted(pairs[snapshot.id]):
                insert_if_absent(
                    tx.session, SnapshotDamage, {"snapshot_id": snapshot.id, "digest": digest, "since": now}
                )
            if snapshot.state == "completed":
                snapshot.state, snapshot.state_message = "error", MESSAGE
        tx.session.flush()
        for image in _images(tx, batch, "available"):
            if lacks_data(tx, image.id):
                image.state, image.state_reason = "error", OF_IMAGE
    tx.session.flush()


def mend(tx: Transaction, digests: Iterable[bytes]) -> None:
    """Record that blocks are readable again: snapshots without other damaged blocks can be used again."""
    for batch in batched(sorted(set(digests)), _BATCH):
        struck = delete(SnapshotDamage).where(SnapshotDamage.digest.in_(batch)).returning(SnapshotDamage.snapshot_id)
        found = set(tx.session.scalars(struck.execution_options(synchronize_session=False)))
        for some in batched(sorted(found), _BATCH):
            _mend_snapshots(tx, some)
    tx.session.flush()


def forget_all_but(tx: Transaction, snapshot_id: str, digests: Collection[bytes]) -> None:
    """Record that a snapshot needs of its damaged blocks only some: without any it can be used again."""
    known = select(SnapshotDamage.digest).where(SnapshotDamage.snapshot_id == snapshot_id)
    gone = sorted(set(tx.session.scalars(known)).difference(digests))
    for batch in batched(gone, _BATCH):
        struck = SnapshotDamage.snapshot_id == snapshot_id, SnapshotDamage.digest.in_(batch)
        tx.session.execute(delete(SnapshotDamage).where(*struck).execution_options(synchronize_session=False))
    if gone:
        _mend_snapshots(tx, [snapshot_id])
        tx.session.flush()


def lacks_data(tx: Transaction, image_id: str) -> bool:
    """Tell whether a snapshot of an image lacks data."""
    query = (
        select(SnapshotDamage.snapshot_id)
        .join(ImageBlockDevice, ImageBlockDevice.snapshot_id == SnapshotDamage.snapshot_id)
        .where(ImageBlockDevice.image_id == image_id)
    )
    return tx.session.scalar(query.limit(1)) is not None


def volume_lacks_data(tx: Transaction, volume_id: str) -> bool:
    """Tell whether a volume lacks data of its snapshot."""
    return tx.session.scalar(select(Volume.id).where(Volume.id == volume_id, VOLUME_LACKS_DATA)) is not None


def _mend_snapshots(tx: Transaction, snapshot_ids: Collection[str]) -> None:
    whole = select(Snapshot).where(Snapshot.id.in_(snapshot_ids), ~IS_DAMAGED)
    mended = []
    for snapshot in tx.session.scalars(whole).all():
        mended.append(snapshot.id)
        if snapshot.state == "error":
            snapshot.state, snapshot.state_message = "completed", ""
    tx.session.flush()
    # Hosts that could not fetch it retry, and report another failure.
    fetching = (HostError.kind == int(desired.KIND_BASE), HostError.resource_id.in_(mended))
    tx.session.execute(delete(HostError).where(*fetching).execution_options(synchronize_session=False))
    for image in _images(tx, mended, "error"):
        if not lacks_data(tx, image.id):
            image.state, image.state_reason = "available", ""


def _images(tx: Transaction, snapshot_ids: Collection[str], state: str) -> list[Image]:
    """List images of some snapshots that are in a state."""
    theirs = select(ImageBlockDevice.image_id).where(ImageBlockDevice.snapshot_id.in_(snapshot_ids))
    return list(tx.session.scalars(select(Image).where(Image.id.in_(theirs), Image.state == state)))


def _damaged(tx: Transaction, digests: Iterable[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for batch in batched(sorted(digests), _BATCH):
        chosen = select(StoredBlock.digest).where(StoredBlock.damaged.is_(True), StoredBlock.digest.in_(batch))
        found += tx.session.scalars(chosen)
    return found
