"""A blocking client of the controller's block store: fetches blocks and stores snapshots.

Uses a channel of its own, separate from the link's, because gigabytes pass here. It is reopened when it broke, then to
the next controller, and when the host's certificate was renewed. Every received block is checked by its digest.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from stead_proto import blocks, tls
from stead_proto.tls import Identity
from stead_proto.v1 import blocks_pb2, blocks_pb2_grpc
from stead_proto.v1.blocks_pb2 import Block, Segment

_BLOCKS_AHEAD: Final = 64
_REQUESTS_AHEAD: Final = 8
_AWAY: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


class BlockStoreError(Exception):
    """The block store refused, or sent invalid data; the message is for the operator."""


class BlockStoreAway(BlockStoreError):
    """The block store cannot be reached now."""


@dataclass(slots=True, eq=False)
class _Connection:
    """A channel, the certificate it was opened with, and how many calls use it."""

    channel: grpc.Channel
    certificate: bytes
    calls: int = 0
    dropped: bool = False


class BlockStore:
    """A client of the store; every method may be called from several threads. Raises BlockStoreError."""

    def __init__(self, controllers: Sequence[str], identity: Callable[[], Identity]) -> None:
        """Connect later; `identity` is read again for each call, since it may have been renewed."""
        self._controllers = controllers
        self._identity = identity
        self._lock = threading.Lock()
        self._failures = 0
        self._connection: _Connection | None = None

    def segments(self, snapshot_id: str) -> Iterator[Segment]:
        """List the segments of a snapshot."""
        with self._speaking() as stub:
            yield from stub.ListSegments(blocks_pb2.ListSegmentsRequest(snapshot_id=snapshot_id))

    def fetch(self, snapshot_id: str, digests: Iterable[bytes], *, ahead: int = _BLOCKS_AHEAD) -> Iterator[bytes]:
        """Fetch blocks of a snapshot, in the order given, each checked by its digest.

        `digests` is advanced in a thread of gRPC, when fewer than `ahead` blocks are in flight.
        """
        asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        ended = threading.Event()
        free = threading.Semaphore(ahead)

        def requests() -> Iterator[blocks_pb2.FetchBlocksRequest]:
            name = snapshot_id
            waiting = iter(digests)
            while free.acquire() and not ended.is_set():
                each = next(waiting, None)
                if each is None:
                    return
                asked.put(each)
                yield blocks_pb2.FetchBlocksRequest(snapshot_id=name, digests=[each])
                name = ""

        with self._speaking() as stub:
            call = stub.FetchBlocks(requests())
            try:
                for block in call:
                    if asked.empty() or asked.get() != block.digest:
                        raise BlockStoreError(f"{snapshot_id}: another block came than was asked for")
                    free.release()
                    try:
                        yield blocks.unpack(block)
                    except blocks.BadBlockError as error:
                        raise BlockStoreError(f"{snapshot_id}: {error}") from error
                if not asked.empty():
                    raise BlockStoreError(f"{snapshot_id}: blocks did not come")
            finally:
                ended.set()
                free.release()
                call.cancel()

    @contextlib.contextmanager
    def storing(self, snapshot_id: str, parent_id: str) -> Iterator["Storing"]:
        """Store a snapshot, or continue to; segments not offered stay as stored before, or are those of the parent."""
        with self._speaking() as stub:
            storing = Storing(snapshot_id)
            storing.begin(stub, parent_id)
            try:
                yield storing
            finally:
                storing.close()

    def close(self) -> None:
        """End all calls."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.channel.close()

    # -- the connection

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[blocks_pb2_grpc.BlockStoreStub]:
        """Yield the stub of a channel that should work, and translate errors."""
        try:
            connection = self._used()
        except (tls.NoIdentityError, OSError) as error:
            raise BlockStoreAway(str(error)) from error
        try:
            yield blocks_pb2_grpc.BlockStoreStub(connection.channel)
        except grpc.RpcError as error:
            code = error.code()
            reason = f"{code.name}: {error.details()}"
            if code not in _AWAY:
                raise BlockStoreError(reason) from error
            self._drop(connection)
            raise BlockStoreAway(reason) from error
        finally:
            self._leave(connection)

    def _used(self) -> _Connection:
        """Return the connection that new calls use, counting one more; opens it if there is none."""
        identity = self._identity()
        with self._lock:
            found = self._connection
            if found is None or identity.certificate_pem != found.certificate:
                if found is not None:
                    found.dropped = True
                known = tuple(self._controllers)  # a controller may tell of others meanwhile
                address = known[self._failures % len(known)]
                channel = tls.blocking_channel_to_controller(address, identity)
                found = self._connection = _Connection(channel, identity.certificate_pem)
            found.calls += 1
            return found

    def _drop(self, connection: _Connection) -> None:
        """Have the next call connect anew, to the next controller; another call on this one goes on."""
        with self._lock:
            connection.dropped = True
            if connection is self._connection:
                self._connection = None
                self._failures += 1

    def _leave(self, connection: _Connection) -> None:
        with self._lock:
            connection.calls -= 1
            unused = connection.dropped and not connection.calls
        if unused:
            connection.channel.close()


class Storing:
    """One snapshot being stored; used by one thread."""

    def __init__(self, snapshot_id: str) -> None:
        self._snapshot_id = snapshot_id
        self._outgoing: queue.Queue[blocks_pb2.StoreSnapshotRequest | None] = queue.Queue(_REQUESTS_AHEAD)
        self._closed = threading.Event()
        self._call: Any = None
        self.stored: frozenset[int] = frozenset()
        """Positions of the segments that an earlier try has stored."""

    def begin(self, stub: blocks_pb2_grpc.BlockStoreStub, parent_id: str) -> None:
        """Open the stream and receive what is stored already."""
        self._call = stub.StoreSnapshot(self._requests())
        header = blocks_pb2.SnapshotHeader(snapshot_id=self._snapshot_id, parent_id=parent_id)
        self._put(blocks_pb2.StoreSnapshotRequest(header=header))
        self.stored = frozenset(self._next("stored").stored.positions)

    def offer(self, segment: Segment) -> list[int]:
        """Offer a segment's digests; return the slots of blocks that must be sent, none when the segment is stored."""
        self._put(blocks_pb2.StoreSnapshotRequest(segment=segment))
        return self._slots(self._next("missing").missing, segment)

    def send(self, block: Block) -> None:
        """Send a block that the store lacks; waits while the store is slower."""
        self._put(blocks_pb2.StoreSnapshotRequest(block=block))

    def sent(self, segment: Segment) -> list[int]:
        """Wait until the segment, all of whose missing blocks were sent, is stored.

        Returns the slots of blocks that must be sent again, which is rare: the store deleted them in between.
        """
        response = self._response()
        if response.WhichOneof("body") == "missing":
            return self._slots(response.missing, segment)
        if self._expected(response, "segment").segment.position != segment.position:
            raise BlockStoreError(f"{self._snapshot_id}: the store has another segment than was sent")
        return []

    def finish(self) -> int:
        """Complete the snapshot; returns the bytes of its blocks when it is stored."""
        self._put(blocks_pb2.StoreSnapshotRequest(end=blocks_pb2.SnapshotEnd()))
        return int(self._next("finished").finished.stored_size)

    def close(self) -> None:
        """End the stream."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()
        with contextlib.suppress(queue.Full):  # then the stream's thread is not waiting, and notices the end
            self._outgoing.put_nowait(None)

    def _requests(self) -> Iterator[blocks_pb2.StoreSnapshotRequest]:
        """Yield the messages to be sent, in a thread of gRPC."""
        while not self._closed.is_set():
            request = self._outgoing.get()
            if request is None:
                return
            yield request

    def _put(self, request: blocks_pb2.StoreSnapshotRequest) -> None:
        while True:
            try:
                self._outgoing.put(request, timeout=1.0)
                return
            except queue.Full:
                if not self._call.is_active():
                    self._raise_ended()

    def _slots(self, missing: blocks_pb2.MissingBlocks, segment: Segment) -> list[int]:
        if missing.position != segment.position or not set(missing.slots) <= set(segment.slots):
            raise BlockStoreError(f"{self._snapshot_id}: the store asks for what was not offered")
        return list(missing.slots)

    def _next(self, what: str) -> blocks_pb2.StoreSnapshotResponse:
        return self._expected(self._response(), what)

    def _response(self) -> blocks_pb2.StoreSnapshotResponse:
        response: blocks_pb2.StoreSnapshotResponse | None = next(self._call, None)
        if response is None:
            raise BlockStoreError(f"{self._snapshot_id}: the store ended without an answer")
        return response

    def _expected(self, response: blocks_pb2.StoreSnapshotResponse, what: str) -> blocks_pb2.StoreSnapshotResponse:
        if response.WhichOneof("body") != what:
            raise BlockStoreError(f"{self._snapshot_id}: the store answered {response.WhichOneof('body')}, not {what}")
        return response

    def _raise_ended(self) -> None:
        """Raise the error with which the stream ended."""
        for _response in self._call:
            pass
        raise BlockStoreError(f"{self._snapshot_id}: the store ended the stream")
