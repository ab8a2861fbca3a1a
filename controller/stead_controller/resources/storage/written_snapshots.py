"""Snapshots that clients write block by block: StartSnapshot, PutSnapshotBlock, CompleteSnapshot.

A block that was written is a row until the snapshot is ended; then segments are made of them, one at a time.
See https://docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, exists, func, select

from stead_controller.catalog import ids
from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Snapshot, WrittenBlock
from stead_controller.errors import InvalidParameter, LimitExceeded, WrongState
from stead_controller.request import client_tokens
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.storage import (
    ebs_encryption,
    segments,
    snapshot_life,
    snapshots,
    stored_blocks,
    volume_keys,
)
from stead_controller.resources.storage.segments import MissingBlocksError
from stead_controller.resources.storage.snapshots import NO_VOLUME
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, ZERO_BLOCK, digest_of, digests_of, make_segment

PENDING_PER_ACCOUNT: Final = 100
"""EC2's default quota of pending snapshots that were started so."""

TOO_LATE: Final = "The snapshot was not completed in time."
DAMAGED: Final = "Blocks of the snapshot are damaged."
_GIB: Final = 1 << 30
_ZERO: Final = digest_of(ZERO_BLOCK)
_LATE_AT_ONCE: Final = 100
_ROWS_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Start:
    """What StartSnapshot asks for; `volume_size` in GiB, `timeout` in minutes."""

    volume_size: int
    parent_id: str | None = None
    description: str = ""
    timeout: int = 60
    encrypted: bool = False
    kms_key_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ending:
    """What CompleteSnapshot says of what was written; `checksum` is that of all blocks' checksums, or None."""

    changed_blocks: int
    checksum: bytes | None = None


def start(  # noqa: PLR0917 - who starts what, where, once and when
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Start, repeatable: Repeatable, now: datetime
) -> Snapshot:
    """Begin a snapshot that the caller writes; over an encrypted one it is encrypted with the same key.

    Raises MalformedId, NotFound, WrongState, InvalidParameter, LimitExceeded, IdempotencyMismatch.
    """
    snapshot_id = client_tokens.once(tx, caller, repeatable, now, lambda: _start(tx, caller, cloud, asked, now))
    return tx.session.get_one(Snapshot, snapshot_id)


def _start(tx: Transaction, caller: Caller, cloud: Cloud, asked: Start, now: datetime) -> str:
    parent = None
    if asked.parent_id is not None:
        parent = snapshots.find_usable(tx, caller, asked.parent_id)
        if asked.encrypted or asked.kms_key_id is not None:
            raise InvalidParameter("Whether a snapshot with a parent is encrypted follows from its parent.")
        if not parent.encrypted and ebs_encryption.is_by_default(tx, caller.account_id):
            raise InvalidParameter("The parent is not encrypted, and all new snapshots of the account are.")
        if asked.volume_size < parent.volume_size:
            raise InvalidParameter(f"The volume size must be at least that of the parent: {parent.volume_size} GiB.")
    mine = select(func.count()).where(
        Snapshot.account_id == caller.account_id, Snapshot.state == "pending", Snapshot.write_timeout.is_not(None)
    )
    if tx.session.scalars(mine).one() >= PENDING_PER_ACCOUNT:
        raise LimitExceeded(
            f"At most {PENDING_PER_ACCOUNT} started snapshots can be pending.", code="ConcurrentLimitExceededException"
        )
    snapshot = Snapshot(
        id=ids.new_id("snapshot"),
        account_id=caller.account_id,
        volume_id=NO_VOLUME,
        volume_size=asked.volume_size,
        size=asked.volume_size * _GIB,
        state="pending",
        description=asked.description,
        started=now,
        parent_id=None if parent is None else parent.id,
        write_timeout=asked.timeout,
        last_written=now,
        encrypted=False,
    )
    key_id = _key(tx, caller, cloud, asked, parent)
    if key_id is not None:
        volume_keys.encrypt(cloud, snapshot, key_id, parent)
    tx.session.add(snapshot)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [("snapshot", snapshot.id)], {"snapshot": asked.tags})
    return snapshot.id


def _key(tx: Transaction, caller: Caller, cloud: Cloud, asked: Start, parent: Snapshot | None) -> str | None:
    """Say under which key of KMS a new snapshot is; with a parent it has the parent's key, whoever owns it."""
    if parent is not None:
        return parent.kms_key_id
    by_default = ebs_encryption.is_by_default(tx, caller.account_id)
    if asked.kms_key_id is not None and not (asked.encrypted or by_default):
        raise InvalidParameter("A key is for a snapshot that is encrypted.")
    return ebs_encryption.key_for(tx, cloud, caller.account_id, None, encrypted=asked.encrypted, key=asked.kms_key_id)


def status_of_ended(tx: Transaction, caller: Caller, snapshot_id: str) -> str | None:
    """Say how far a started snapshot of the caller is whose writing has ended, else None; raises as `find_open`."""
    snapshot = snapshots.find_own(tx, caller, snapshot_id)
    is_ended = snapshot.write_timeout is not None and (snapshot.ended is not None or snapshot.state != "pending")
    return snapshot.state if is_ended else None


def find_open(tx: Transaction, caller: Caller, snapshot_id: str) -> Snapshot:
    """Return a started snapshot of the caller that may still be written; raises MalformedId, NotFound, WrongState."""
    snapshot = snapshots.find_own(tx, caller, snapshot_id)
    if snapshot.write_timeout is None or snapshot.state != "pending" or snapshot.ended is not None:
        raise WrongState("snapshot", f"The snapshot {snapshot_id} cannot be written any more.")
    return snapshot


def check_index(snapshot: Snapshot, block_index: int) -> None:
    """Raise InvalidParameter for a block that is not of the disk."""
    if not 0 <= block_index * BLOCK_BYTES < snapshot.size:
        raise InvalidParameter(f"The block index {block_index} is beyond the volume of {snapshot.volume_size} GiB.")


def put(
    tx: Transaction,
    snapshot: Snapshot,
    block_index: int,
    digest: bytes,
    *,
    progress: int,
    now: datetime,
    checksum: bytes | None = None,
) -> None:
    """Put a block of the store into a started snapshot, replacing what was written there before.

    `checksum` is that of what was sent, where the block is encrypted. Raises WrongState where the block is not in the
    store any more.
    """
    before = tx.session.get(WrittenBlock, (snapshot.id, block_index))
    if before is None or before.digest != digest:
        if digest != _ZERO and not stored_blocks.refer(tx, [digest]):
            raise WrongState("snapshot", "The block took too long to come. Send it again.")
        if before is None:
            tx.session.add(
                WrittenBlock(snapshot_id=snapshot.id, block_index=block_index, digest=digest, checksum=checksum)
            )
        else:
            if before.digest != _ZERO:
                stored_blocks.release(tx, [before.digest], now)
            before.digest, before.checksum = digest, checksum
    snapshot.last_written = now
    snapshot.progress = max(snapshot.progress, min(progress, 99))


def end(tx: Transaction, snapshot: Snapshot, ending: Ending, now: datetime) -> None:
    """End the writing of a snapshot, which is completed soon; raises InvalidParameter."""
    sent = func.coalesce(WrittenBlock.checksum, WrittenBlock.digest)
    rows = select(sent).where(WrittenBlock.snapshot_id == snapshot.id).order_by(WrittenBlock.block_index)
    count, whole = 0, hashlib.sha256()
    for digest in tx.session.scalars(rows.execution_options(yield_per=_ROWS_AT_ONCE)):
        whole.update(digest)
        count += 1
    if count != ending.changed_blocks:
        raise InvalidParameter(f"{count} blocks were written to the snapshot, not {ending.changed_blocks}.")
    if ending.checksum is not None and whole.digest() != ending.checksum:
        raise InvalidParameter("The checksum is not that of the checksums of the blocks that were written.")
    snapshot.ended = now


_ENDED: Final = (Snapshot.state == "pending", Snapshot.ended.is_not(None))

DUE: Final = DueRows(exists().where(*_ENDED))
"""Whether there is something to make of what was written to a snapshot that was ended."""


def compose_one(tx: Transaction, now: datetime) -> bool:
    """Make one segment of what was written to a snapshot that was ended; with the last one it is complete.

    Tells whether there was anything to do.
    """
    query = select(Snapshot).where(*_ENDED).limit(1)
    snapshot = tx.session.scalar(query)
    if snapshot is None:
        return False
    first = tx.session.scalar(select(func.min(WrittenBlock.block_index)).where(WrittenBlock.snapshot_id == snapshot.id))
    if first is None:
        snapshot_life.complete(tx, snapshot, now, inherits=True)
        return True
    try:
        with tx.savepoint():
            _compose(tx, snapshot, first // SEGMENT_BLOCKS, now)
    except MissingBlocksError:  # found damaged meanwhile: those that were ended later must not wait for it
        snapshot_life.fail(tx, snapshot, DAMAGED)
    return True


def fail_late(tx: Transaction, now: datetime) -> None:
    """Fail started snapshots to which nothing was written for their timeout."""
    open_ones = select(Snapshot).where(
        Snapshot.state == "pending",
        Snapshot.write_timeout.is_not(None),
        Snapshot.ended.is_(None),
        Snapshot.last_written < now - timedelta(minutes=1),
    )
    late = [one for one in tx.session.scalars(open_ones) if _is_late(one, now)]
    for snapshot in late[:_LATE_AT_ONCE]:
        snapshot_life.fail(tx, snapshot, TOO_LATE)


def _is_late(snapshot: Snapshot, now: datetime) -> bool:
    written, timeout = snapshot.last_written, snapshot.write_timeout
    return written is not None and timeout is not None and written + timedelta(minutes=timeout) <= now


def _compose(tx: Transaction, snapshot: Snapshot, position: int, now: datetime) -> None:
    """Lay what was written over the parent's segment at a position."""
    inherited = None if snapshot.parent_id is None else segments.at(tx, snapshot.parent_id, position)
    digests = {} if inherited is None else digests_of(inherited)
    here = (
        WrittenBlock.snapshot_id == snapshot.id,
        WrittenBlock.block_index >= position * SEGMENT_BLOCKS,
        WrittenBlock.block_index < (position + 1) * SEGMENT_BLOCKS,
    )
    written: list[bytes] = []
    for index, digest in tx.session.execute(select(WrittenBlock.block_index, WrittenBlock.digest).where(*here)):
        if digest == _ZERO:
            digests.pop(index % SEGMENT_BLOCKS, None)
        else:
            digests[index % SEGMENT_BLOCKS] = digest
            written.append(digest)
    segments.place(tx, snapshot.id, make_segment(position, digests))
    for digest in written:
        stored_blocks.release(tx, [digest], now)
    tx.session.execute(delete(WrittenBlock).where(*here).execution_options(synchronize_session=False))
