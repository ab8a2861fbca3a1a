"""The `BlockStore` service: hosts upload the snapshots in their desired state, and download the bases in it.

A host's blocks are read and written as fast as its stream allows: gRPC applies backpressure while the store is busy.
"""

import asyncio
import logging
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import grpc
from sqlalchemy import select

from stead_controller.blocks.interface import BlockStoreError, MissingBlockError
from stead_controller.blocks.store import BATCH, BlockStore
from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Snapshot
from stead_controller.desired import host_errors, outbox
from stead_controller.errors import NotFound
from stead_controller.hosts.peers import require_present_host
from stead_controller.resources.storage import segments, snapshot_life
from stead_proto.blocks import BadBlockError, digests_of
from stead_proto.v1 import blocks_pb2 as pb
from stead_proto.v1 import blocks_pb2_grpc
from stead_proto.v1 import desired_pb2 as desired

_log = logging.getLogger(__name__)

type Context = grpc.aio.ServicerContext[Any, Any]

_SEGMENTS_AT_ONCE: Final = 16
_SEGMENTS_IN_FLIGHT: Final = 64
_READ_AHEAD: Final = 8
_PREFIX_BYTES: Final = 8
_REMEMBERED_BLOCKS: Final = 1 << 22  # of all snapshots in the cache: 32 MiB


class BlockService(blocks_pb2_grpc.BlockStoreServicer):
    """The service, for hosts that present a certificate."""

    def __init__(self, database: Database, store: BlockStore, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, BlockSet] = OrderedDict()

    async def StoreSnapshot(  # noqa: N802 - the name of the RPC
        self, request_iterator: AsyncIterator[pb.StoreSnapshotRequest], context: Context
    ) -> AsyncIterator[pb.StoreSnapshotResponse]:
        """Receive a snapshot, or the rest of one."""
        host_id = await require_present_host(context, self._database)
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.HasField("header"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be the header")
        header = first.header
        stored = await self._database.run(lambda tx: _begin(tx, host_id, header), writes=False)
        if stored is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{header.snapshot_id} is not to be taken by this host")
        yield pb.StoreSnapshotResponse(stored=pb.SegmentsStored(positions=stored))
        incoming = Incoming(self._store, header.snapshot_id)
        try:
            async for request in request_iterator:
                match request.WhichOneof("body"):
                    case "segment":
                        yield await incoming.segment(request.segment)
                    case "block":
                        for response in await incoming.block(request.block):
                            yield response
                    case "end":
                        incoming.require_whole()
                        size = await self._database.run(lambda tx: self._finish(tx, host_id, header))
                        yield pb.StoreSnapshotResponse(finished=pb.SnapshotStored(stored_size=size))
                        return
                    case _:
                        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a message that is not expected now")
        except (BadBlockError, NotFound, BlockStoreError) as error:
            await _refuse(context, error)
        finally:
            await incoming.close()

    async def ListSegments(  # noqa: N802 - the name of the RPC
        self, request: pb.ListSegmentsRequest, context: Context
    ) -> AsyncIterator[pb.Segment]:
        """Send the segments of a snapshot, in ascending order."""
        await self._require_desired(request.snapshot_id, context)
        async for segment in self._segments(request.snapshot_id):
            yield segment

    async def FetchBlocks(  # noqa: N802 - the name of the RPC
        self, request_iterator: AsyncIterator[pb.FetchBlocksRequest], context: Context
    ) -> AsyncIterator[pb.Block]:
        """Send blocks of a snapshot as they are requested, with some read-ahead."""
        incoming = aiter(request_iterator)
        first = await anext(incoming, None)
        if first is None:
            return
        host_id = await self._require_desired(first.snapshot_id, context)
        known = await self._blocks_of(first.snapshot_id)
        reading: asyncio.Queue[asyncio.Task[pb.Block] | None] = asyncio.Queue(_READ_AHEAD)

        async def ask() -> None:
            try:
                async for digest in _digests(first, incoming):
                    await reading.put(asyncio.create_task(self._read(known, digest)))
            finally:
                await reading.put(None)

        asking = asyncio.create_task(ask())
        try:
            while (task := await reading.get()) is not None:
                yield await task
            await asking
        except (NotFound, BlockStoreError) as error:
            await _refuse(context, error)
        except (MissingBlockError, BadBlockError) as error:  # the stored block is bad, not what the host sent
            await self._note_base(host_id, first.snapshot_id, str(error))
            await _refuse(context, MissingBlockError(str(error)))
        finally:
            asking.cancel()
            while not reading.empty():
                if (left := reading.get_nowait()) is not None:
                    left.cancel()

    async def _read(self, known: "BlockSet", digest: bytes) -> pb.Block:
        if digest not in known:
            raise NotFound("block", digest.hex())
        return await self._store.read(digest)

    def _finish(self, tx: Transaction, host_id: str, header: pb.SnapshotHeader) -> int:
        snapshot = tx.session.get(Snapshot, header.snapshot_id)
        if snapshot is None or snapshot.host_id != host_id:
            raise NotFound("snapshot", header.snapshot_id)
        snapshot_life.complete(tx, snapshot, self._clock(), inherits=bool(header.parent_id))
        return snapshot.stored_size

    async def _note_base(self, host_id: str, snapshot_id: str, error: str) -> None:
        """Store that a host cannot fetch a base, so that its volumes are shown impaired before this call ends."""

        def write(tx: Transaction) -> None:
            if outbox.is_desired(tx, host_id, desired.KIND_BASE, snapshot_id):
                host_errors.note_base(tx, host_id, snapshot_id, error, self._clock())

        await self._database.run(write)

    async def _require_desired(self, snapshot_id: str, context: Context) -> str:
        """Return the id of the calling host, which may read the snapshot."""
        host_id = await require_present_host(context, self._database)
        if not await self._database.run(lambda tx: _is_desired(tx, host_id, snapshot_id), writes=False):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{snapshot_id} is not for this host")
        return host_id

    async def _blocks_of(self, snapshot_id: str) -> "BlockSet":
        """Return the blocks of a snapshot, cached for the next call: a complete snapshot never changes."""
        known = self._known.pop(snapshot_id, None)
        if known is None:
            pending = await self._database.run(lambda tx: _is_pending(tx, snapshot_id), writes=False)
            known = BlockSet()
            async for segment in self._segments(snapshot_id):
                known.add(segment.digests)
            known.seal()
            if pending:
                return known
        self._known[snapshot_id] = known  # moved to the end: the first entry is the least recently used
        while len(self._known) > 1 and sum(map(len, self._known.values())) > _REMEMBERED_BLOCKS:
            self._known.popitem(last=False)
        return known

    async def _segments(self, snapshot_id: str) -> AsyncIterator[pb.Segment]:
        first = 0
        while True:
            page = await self._database.run(
                lambda tx, first=first: segments.page(tx, snapshot_id, first, _SEGMENTS_AT_ONCE),  # type: ignore[misc]  # mypy: a default is no parameter of Callable
                writes=False,
            )
            for segment in page:
                yield segment
            if len(page) < _SEGMENTS_AT_ONCE:
                return
            first = page[-1].position + 1


@dataclass(slots=True)
class _Awaited:
    """A segment, and the digests of its blocks that have not arrived yet."""

    segment: pb.Segment
    digests: set[bytes]


@dataclass(slots=True)
class Incoming:
    """The segments of one snapshot that are being uploaded; raises BadBlockError, NotFound, BlockStoreError.

    While some blocks are written the next ones may arrive: at most twice `BATCH` are in memory.
    """

    store: BlockStore
    snapshot_id: str
    _awaited: dict[int, _Awaited] = field(default_factory=dict)
    _blocks: dict[bytes, pb.Block] = field(default_factory=dict)
    _writing: "asyncio.Task[None] | None" = None

    async def segment(self, segment: pb.Segment) -> pb.StoreSnapshotResponse:
        """Store a segment, or request the blocks that it lacks."""
        slots = await self.store.place(self.snapshot_id, segment)
        if slots:
            if len(self._awaited) >= _SEGMENTS_IN_FLIGHT:
                raise BadBlockError(f"more than {_SEGMENTS_IN_FLIGHT} segments at once")
            digests = digests_of(segment)
            self._awaited[segment.position] = _Awaited(segment, {digests[slot] for slot in slots})
        return pb.StoreSnapshotResponse(missing=pb.MissingBlocks(position=segment.position, slots=slots))

    async def block(self, block: pb.Block) -> list[pb.StoreSnapshotResponse]:
        """Take a requested block; return responses for the segments that are now complete."""
        waiting = [awaited for awaited in self._awaited.values() if block.digest in awaited.digests]
        if not waiting:
            raise BadBlockError(f"block {block.digest.hex()} was not asked for")
        for awaited in waiting:
            awaited.digests.discard(block.digest)
        self._blocks[block.digest] = block
        whole = [awaited for awaited in waiting if not awaited.digests]
        if whole or len(self._blocks) >= BATCH:
            await self._written()
            self._writing = asyncio.create_task(self.store.bring(list(self._blocks.values())))
            self._blocks.clear()
        if not whole:
            return []
        await self._written()
        return [await self._stored(awaited.segment) for awaited in whole]

    def require_whole(self) -> None:
        """Raise BadBlockError where requested blocks have not arrived."""
        if self._awaited:
            raise BadBlockError(f"blocks of {len(self._awaited)} segments did not come")

    async def close(self) -> None:
        """Wait for blocks that are being written, even if that fails: nothing refers to them."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _stored(self, segment: pb.Segment) -> pb.StoreSnapshotResponse:
        del self._awaited[segment.position]
        response = await self.segment(segment)
        if response.missing.slots:  # collected in the meantime: they must be sent again
            return response
        return pb.StoreSnapshotResponse(segment=pb.SegmentStored(position=segment.position))


class BlockSet:
    """The digests of a snapshot's blocks, by their first 8 bytes: 16 MiB for a full disk of 1 TiB."""

    def __init__(self) -> None:
        """Create an empty set."""
        self._prefixes = array("Q")

    def add(self, digests: bytes) -> None:
        """Add digests of 32 bytes each."""
        for at in range(0, len(digests), 32):
            self._prefixes.append(int.from_bytes(digests[at : at + _PREFIX_BYTES], "big"))

    def seal(self) -> None:
        """Make it ready for lookups; nothing is added any more."""
        self._prefixes = array("Q", sorted(set(self._prefixes)))

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, digest: bytes) -> bool:
        prefix = int.from_bytes(digest[:_PREFIX_BYTES], "big")
        at = bisect_left(self._prefixes, prefix)
        return at < len(self._prefixes) and self._prefixes[at] == prefix


async def _digests(first: pb.FetchBlocksRequest, rest: AsyncIterator[pb.FetchBlocksRequest]) -> AsyncIterator[bytes]:
    for digest in first.digests:
        yield digest
    async for request in rest:
        for digest in request.digests:
            yield digest


def _begin(tx: Transaction, host_id: str, header: pb.SnapshotHeader) -> list[int] | None:
    """Return the positions that are stored already; None where the host is not to take such a snapshot."""
    snapshot = tx.session.get(Snapshot, header.snapshot_id)
    if snapshot is None or snapshot.host_id != host_id or snapshot.state != "pending":
        return None
    if header.parent_id not in ("", snapshot.parent_id):
        return None
    return segments.positions(tx, snapshot.id)


def _is_desired(tx: Transaction, host_id: str, snapshot_id: str) -> bool:
    """Tell whether a host may read a snapshot: a base of its volumes, one it takes, or the parent of one of these."""
    if outbox.is_desired(tx, host_id, desired.KIND_BASE, snapshot_id):
        return True
    taken = select(Snapshot.id).where(
        Snapshot.host_id == host_id,
        Snapshot.state == "pending",
        (Snapshot.id == snapshot_id) | (Snapshot.parent_id == snapshot_id),
    )
    return tx.session.scalar(taken.limit(1)) is not None


def _is_pending(tx: Transaction, snapshot_id: str) -> bool:
    return tx.session.scalar(select(Snapshot.state).where(Snapshot.id == snapshot_id)) == "pending"


async def _refuse(context: Context, error: BadBlockError | MissingBlockError | NotFound | BlockStoreError) -> NoReturn:
    match error:
        case NotFound():
            await context.abort(grpc.StatusCode.NOT_FOUND, error.message)
        case BlockStoreError():
            _log.error("block_store_failed", extra={"error": str(error)})
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        case MissingBlockError():
            _log.error("block_missing", extra={"error": str(error)})
            await context.abort(grpc.StatusCode.DATA_LOSS, str(error))
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
