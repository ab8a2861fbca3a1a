"""A block store with only the agents' API: real gRPC and TLS on loopback, snapshots in memory."""

import hashlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from stead_agent.disks.block_store import BlockStore
from stead_proto import blocks, limits, tls
from stead_proto.certificates import Authority
from stead_proto.tls import Identity
from stead_proto.v1 import blocks_pb2 as pb
from stead_proto.v1 import blocks_pb2_grpc
from stead_proto.v1.blocks_pb2 import Block, Segment


@dataclass
class StoredSnapshot:
    """One snapshot: its segments by position."""

    parent_id: str = ""
    segments: dict[int, Segment] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)  # positions that were uploaded for it
    finished: bool = False


class FakeBlockStore(blocks_pb2_grpc.BlockStoreServicer):
    """The service on a port of loopback; a test may inject faults, and count the transfers."""

    def __init__(self) -> None:
        self.authority = Authority.create()
        self.snapshots: dict[str, StoredSnapshot] = {}
        self.blocks: dict[bytes, Block] = {}
        self.fetched: list[bytes] = []
        self.received: list[bytes] = []
        self.offered: list[int] = []
        self.break_after_fetched: int | None = None
        self.break_after_received: int | None = None
        self.hold_after_received: tuple[int, threading.Event] | None = None  # until it is set
        self.port = 0
        self._server: Any = None

    def start(self) -> None:
        """Listen; after a restart on the same port as before."""
        server = grpc.server(ThreadPoolExecutor(8), options=limits.server_options())
        blocks_pb2_grpc.add_BlockStoreServicer_to_server(self, server)
        credentials = tls.server_credentials(self.authority.issue_server())
        self.port = server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        """Stop, breaking all connections."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    @property
    def address(self) -> str:
        """The address to which hosts connect."""
        return f"127.0.0.1:{self.port}"

    def identity(self, host_id: str = "host-0123456789abcdef0") -> Identity:
        """A host's key and certificate."""
        return self.authority.issue_host(host_id)

    # -- what tests store and check

    def keep(self, snapshot_id: str, disk: bytes) -> None:
        """Store a snapshot of a whole disk."""
        snapshot = StoredSnapshot(finished=True)
        found: dict[int, dict[int, bytes]] = {}
        for number, start in enumerate(range(0, len(disk), blocks.BLOCK_BYTES)):
            content = disk[start : start + blocks.BLOCK_BYTES].ljust(blocks.BLOCK_BYTES, b"\0")
            if content != blocks.ZERO_BLOCK:
                block = blocks.pack(content)
                self.blocks[block.digest] = block
                found.setdefault(number // blocks.SEGMENT_BLOCKS, {})[number % blocks.SEGMENT_BLOCKS] = block.digest
        snapshot.segments = {position: blocks.make_segment(position, digests) for position, digests in found.items()}
        self.snapshots[snapshot_id] = snapshot

    def content(self, snapshot_id: str, size: int) -> bytes:
        """Return the disk of a completed snapshot."""
        snapshot = self.snapshots[snapshot_id]
        assert snapshot.finished, f"{snapshot_id} is not finished"
        disk = bytearray(size)
        for position, segment in snapshot.segments.items():
            for slot, digest in blocks.digests_of(segment).items():
                start = (position * blocks.SEGMENT_BLOCKS + slot) * blocks.BLOCK_BYTES
                content = blocks.unpack(self.blocks[digest])[: size - start]
                disk[start : start + len(content)] = content
        return bytes(disk)

    # -- the service

    def StoreSnapshot(self, request_iterator: Any, context: Any) -> Iterator[pb.StoreSnapshotResponse]:  # noqa: N802 - the name of the RPC
        header = next(request_iterator).header
        snapshot = self.snapshots.setdefault(header.snapshot_id, StoredSnapshot(header.parent_id))
        if header.parent_id and not self.snapshots[header.parent_id].finished:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{header.parent_id} is not complete")
        stored = pb.SegmentsStored(positions=sorted(snapshot.own))
        yield pb.StoreSnapshotResponse(stored=stored)
        for request in request_iterator:
            if request.WhichOneof("body") == "end":
                if header.parent_id:
                    for position, segment in self.snapshots[header.parent_id].segments.items():
                        if position not in snapshot.own:
                            snapshot.segments[position] = segment
                snapshot.finished = True
                size = sum(len(each.slots) for each in snapshot.segments.values()) * blocks.BLOCK_BYTES
                yield pb.StoreSnapshotResponse(finished=pb.SnapshotStored(stored_size=size))
                return
            segment = request.segment
            self.offered.append(segment.position)
            missing = [slot for slot, digest in blocks.digests_of(segment).items() if digest not in self.blocks]
            yield pb.StoreSnapshotResponse(missing=pb.MissingBlocks(position=segment.position, slots=missing))
            wanted = {blocks.digests_of(segment)[slot] for slot in missing}
            while missing and wanted:
                block = next(request_iterator).block
                assert hashlib.sha256(blocks.unpack(block)).digest() == block.digest
                if len(self.received) == self.break_after_received:
                    self.break_after_received = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")
                if self.hold_after_received is not None and len(self.received) == self.hold_after_received[0]:
                    self.hold_after_received[1].wait(60)
                self.received.append(block.digest)
                self.blocks[block.digest] = block
                wanted.discard(block.digest)
            snapshot.segments[segment.position] = segment
            snapshot.own.add(segment.position)
            if missing:
                yield pb.StoreSnapshotResponse(segment=pb.SegmentStored(position=segment.position))

    def ListSegments(self, request: pb.ListSegmentsRequest, context: Any) -> Iterator[Segment]:  # noqa: N802 - the name of the RPC
        if request.snapshot_id not in self.snapshots:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.snapshot_id} is not for this host")
        yield from self.snapshots[request.snapshot_id].segments.values()

    def FetchBlocks(self, request_iterator: Any, context: Any) -> Iterator[Block]:  # noqa: N802 - the name of the RPC
        for request in request_iterator:
            for digest in request.digests:
                if len(self.fetched) == self.break_after_fetched:
                    self.break_after_fetched = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")
                self.fetched.append(digest)
                yield self.blocks[digest]


def random_disk(seed: int, size: int, holes: float = 0.5) -> bytes:
    """A disk where some blocks are all zero, some are equal, and the last may be shorter."""
    source = random.Random(seed)
    same = source.randbytes(blocks.BLOCK_BYTES)
    disk = bytearray()
    while len(disk) < size:
        pick = source.random()
        if pick < holes:
            disk += blocks.ZERO_BLOCK
        elif pick < holes + 0.1:
            disk += same
        else:
            disk += source.randbytes(blocks.BLOCK_BYTES)
    return bytes(disk[:size])


@pytest.fixture
def fake() -> Iterator[FakeBlockStore]:
    """A block store on a port of loopback, without any snapshot."""
    store = FakeBlockStore()
    store.start()
    yield store
    store.stop()


@pytest.fixture
def store(fake: FakeBlockStore) -> Iterator[BlockStore]:
    """A host's client of the fake store."""
    identity = fake.identity()
    client = BlockStore([fake.address], lambda: identity)
    yield client
    client.close()
