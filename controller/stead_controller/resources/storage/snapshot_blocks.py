"""The blocks of snapshots as the EBS direct APIs list and compare them, a page at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Snapshot, SnapshotSegment
from stead_controller.errors import InvalidParameter
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import segments, snapshots
from stead_controller.resources.storage.snapshots import NO_VOLUME
from stead_proto.blocks import SEGMENT_BLOCKS, digests_of

_SEGMENTS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class ChangedBlock:
    """A block in which two snapshots differ: its digest in each, None where it is all zero."""

    index: int
    first: bytes | None
    second: bytes | None


def find_readable(tx: Transaction, caller: Caller, snapshot_id: str) -> Snapshot:
    """Return a completed snapshot whose blocks the caller may read; raises MalformedId, NotFound, WrongState."""
    return snapshots.find_usable(tx, caller, snapshot_id)


def stored(tx: Transaction, snapshot_id: str, first: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the blocks of a snapshot that are not all zero, from an index on: at most `limit`, as index and digest."""
    found: list[tuple[int, bytes]] = []
    for position, digests in _segments(tx, snapshot_id, first // SEGMENT_BLOCKS):
        for slot, digest in digests.items():
            index = position * SEGMENT_BLOCKS + slot
            if index >= first:
                found.append((index, digest))
        if len(found) >= limit:
            break
    return found[:limit]


def changed(tx: Transaction, first: Snapshot, second: Snapshot, start: int, limit: int) -> list[ChangedBlock]:
    """Return the blocks in which two snapshots differ, from an index on, at most `limit`."""
    found: list[ChangedBlock] = []
    for position in _differing(tx, first.id, second.id, start // SEGMENT_BLOCKS):
        before, after = (_digests_at(tx, snapshot.id, position) for snapshot in (first, second))
        for slot in sorted(before.keys() | after.keys()):
            index = position * SEGMENT_BLOCKS + slot
            if index >= start and before.get(slot) != after.get(slot):
                found.append(ChangedBlock(index, before.get(slot), after.get(slot)))
        if len(found) >= limit:
            break
    return found[:limit]


def require_related(first: Snapshot, second: Snapshot) -> None:
    """Raise InvalidParameter unless both are of one volume, or one was made over the other."""
    of_one_volume = first.volume_id == second.volume_id != NO_VOLUME
    if not of_one_volume and first.id not in (second.parent_id, second.id) and first.parent_id != second.id:
        raise InvalidParameter(f"The snapshots {first.id} and {second.id} are not of the same volume.")


def _segments(tx: Transaction, snapshot_id: str, position: int) -> Iterator[tuple[int, dict[int, bytes]]]:
    while True:
        page = segments.page(tx, snapshot_id, position, _SEGMENTS_AT_ONCE)
        for segment in page:
            yield segment.position, digests_of(segment)
        if len(page) < _SEGMENTS_AT_ONCE:
            return
        position = page[-1].position + 1


def _differing(tx: Transaction, first_id: str, second_id: str, start: int) -> list[int]:
    """Return the positions from one on at which other segments stand: two short rows for each 512 MiB of disk."""
    standing: list[set[tuple[int, bytes]]] = []
    for snapshot_id in (first_id, second_id):
        query = select(SnapshotSegment.position, SnapshotSegment.segment_digest).where(
            SnapshotSegment.snapshot_id == snapshot_id, SnapshotSegment.position >= start
        )
        standing.append({(position, digest) for position, digest in tx.session.execute(query)})
    return sorted({position for position, _ in standing[0] ^ standing[1]})


def _digests_at(tx: Transaction, snapshot_id: str, position: int) -> dict[int, bytes]:
    segment = segments.at(tx, snapshot_id, position)
    return {} if segment is None else digests_of(segment)
