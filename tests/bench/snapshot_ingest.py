"""Snapshots into the block store beside plain hashing of the same bytes, and P14: stores <= 1.1 x the changed blocks.

Run: python -m tests.bench.snapshot_ingest. The store is as shipped: every block packed by the host's side, sent over
gRPC with certificates, unpacked, checked and synced to a directory, each row in a synced SQLite. Half of the disk cannot
be compressed, half can, as on a system disk. A (hashing) and B (ingest) alternate.
"""

import asyncio
import hashlib
import os
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import grpc

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.store import BlockStore
from stead_controller.clock import now
from stead_controller.db import migrate
from stead_controller.db.session import Database
from stead_controller.db.tables import Snapshot
from stead_controller.hosts.block_service import BlockService
from stead_proto import limits, tls
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS, make_segment, pack
from stead_proto.certificates import Authority
from stead_proto.v1 import blocks_pb2 as pb
from stead_proto.v1 import blocks_pb2_grpc
from tests.support import rows

BLOCKS = 512  # 256 MiB
CHANGED = 50
ROUNDS = 3


def _disk() -> list[bytes]:
    """Make blocks of which every second one is text-like."""
    made = []
    for index in range(BLOCKS):
        noise = os.urandom(BLOCK_BYTES // 4)
        made.append(noise * 4 if index % 2 else os.urandom(BLOCK_BYTES))
    return made


async def _store(stub: blocks_pb2_grpc.BlockStoreStub, snapshot_id: str, parent_id: str, disk: dict[int, bytes]) -> int:
    """Bring a snapshot as an agent does; gives how many blocks were sent."""
    sent = 0

    async def requests() -> None:
        nonlocal sent
        await call.write(
            pb.StoreSnapshotRequest(header=pb.SnapshotHeader(snapshot_id=snapshot_id, parent_id=parent_id))
        )
        await call.read()
        for position in sorted({index // SEGMENT_BLOCKS for index in disk}):
            packed = {
                index % SEGMENT_BLOCKS: pack(content)
                for index, content in disk.items()
                if index // SEGMENT_BLOCKS == position
            }
            segment = make_segment(position, {slot: block.digest for slot, block in packed.items()})
            await call.write(pb.StoreSnapshotRequest(segment=segment))
            slots = (await call.read()).missing.slots
            for slot in slots:
                await call.write(pb.StoreSnapshotRequest(block=packed[slot]))
                sent += 1
            if slots:
                assert (await call.read()).HasField("segment")
        await call.write(pb.StoreSnapshotRequest(end=pb.SnapshotEnd()))
        assert (await call.read()).HasField("finished")

    call = stub.StoreSnapshot()
    await requests()
    return sent


def _new_snapshot(database: Database, host_id: str, parent_id: str | None = None) -> str:
    row = rows.snapshot(
        "111111111111", state="pending", host_id=host_id, parent_id=parent_id, size=BLOCKS * BLOCK_BYTES
    )
    snapshot_id = str(row.id)
    database.run_blocking(lambda tx: tx.session.add(row))
    return snapshot_id


def _stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def _measure(folder: Path) -> None:
    database = Database(f"sqlite:///{folder / 'stead.sqlite'}")
    migrate.upgrade(database.engine)
    host = rows.host()
    host_id = str(host.id)
    database.run_blocking(lambda tx: tx.session.add(host))
    store = BlockStore(database, BlockDirectory(folder / "blocks"), now, grace=timedelta(hours=1))
    authority = Authority.create()
    server = grpc.aio.server(options=limits.server_options())
    blocks_pb2_grpc.add_BlockStoreServicer_to_server(BlockService(database, store, now), server)
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(authority.issue_server(["127.0.0.1"])))
    await server.start()
    ratios = []
    async with tls.channel_to_controller(f"127.0.0.1:{port}", authority.issue_host(host_id)) as channel:
        stub = blocks_pb2_grpc.BlockStoreStub(channel)
        for number in range(ROUNDS):
            disk = _disk()
            begun = time.perf_counter()
            for content in disk:
                hashlib.sha256(content).digest()
            hashing = time.perf_counter() - begun
            snapshot_id = _new_snapshot(database, host_id)
            begun, processor = time.perf_counter(), time.process_time()
            await _store(stub, snapshot_id, "", dict(enumerate(disk)))
            ingest = time.perf_counter() - begun
            ratios.append(ingest / hashing)
            print(
                f"round {number}: hashing {hashing:.2f} s, ingest {ingest:.2f} s of {BLOCKS * BLOCK_BYTES >> 20} MiB, "
                f"{time.process_time() - processor:.2f} CPU-s of both ends, x {ratios[-1]:.1f}"
            )
        before = _stored(folder / "blocks")
        changed = {index: os.urandom(BLOCK_BYTES) for index in range(0, BLOCKS, BLOCKS // CHANGED)}
        whole = dict(enumerate(disk)) | changed
        child_id = _new_snapshot(database, host_id, snapshot_id)
        sent = await _store(stub, child_id, snapshot_id, whole)
        stored = _stored(folder / "blocks") - before
    await server.stop(0)
    store.close()
    database.run_blocking(lambda tx: tx.session.get_one(Snapshot, child_id))
    database.close()
    print(f"ingest relative to hashing: x {statistics.median(ratios):.1f} (median of {ratios})")
    relative = stored / (len(changed) * BLOCK_BYTES)
    verdict = "ok" if relative <= 1.1 else "OVER"
    print(
        f"P14: {len(changed)} changed blocks, {sent} sent, {stored} bytes stored: x {relative:.4f} (limit 1.1) {verdict}"
    )
    if verdict != "ok":
        raise SystemExit(1)


def main() -> None:
    """Measure in a temporary folder on the disk."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        asyncio.run(_measure(Path(folder)))


if __name__ == "__main__":
    main()
