"""The block store as hosts see it, over gRPC with their certificates."""

import asyncio
import contextlib
import secrets
from datetime import timedelta

import grpc
import pytest

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.store import BlockStore
from stead_controller.db.tables import HostError, Snapshot
from stead_controller.desired import outbox
from stead_controller.hosts import block_service
from stead_controller.hosts.block_service import BlockService, BlockSet
from stead_proto import limits, tls
from stead_proto.blocks import BLOCK_BYTES, make_segment, pack, unpack
from stead_proto.certificates import Authority
from stead_proto.v1 import blocks_pb2 as pb
from stead_proto.v1 import blocks_pb2_grpc
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows

SECONDS = 60


def noise():
    return pack(secrets.token_bytes(BLOCK_BYTES))


def spoil(content):
    """Give bytes with the last one changed, whatever it was."""
    return content[:-1] + bytes([content[-1] ^ 1])


def ask(**body):
    return pb.StoreSnapshotRequest(**body)


@pytest.fixture(scope="module")
def authority():
    return Authority.create()


@pytest.fixture
async def blocks(database, tmp_path):
    store = BlockStore(database, BlockDirectory(tmp_path / "blocks"), lambda: rows.NOW, grace=timedelta(hours=1))
    yield store
    store.close()


@pytest.fixture
async def port(authority, database, blocks):
    """The port of a server with the service alone."""
    server = grpc.aio.server(options=limits.server_options())
    blocks_pb2_grpc.add_BlockStoreServicer_to_server(BlockService(database, blocks, lambda: rows.NOW), server)
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(authority.issue_server(["127.0.0.1"])))
    await server.start()
    yield port
    await server.stop(0)


@pytest.fixture
async def connect(authority, port):
    """Give a stub that shows an identity."""
    async with contextlib.AsyncExitStack() as stack:

        async def dial(identity):
            channel = tls.channel_to_controller(f"127.0.0.1:{port}", identity)
            return blocks_pb2_grpc.BlockStoreStub(await stack.enter_async_context(channel))

        yield dial


@pytest.fixture
async def host(authority, connect, world):
    """The stub of the world's host."""
    return await connect(authority.issue_host(world.host_id))


@pytest.fixture
async def stranger(authority, connect):
    """The stub of another host of the cloud."""
    return await connect(authority.issue_host("h-00000000000000000"))


@pytest.fixture
def pending(run, world):
    """Add a snapshot that the world's host is to take, and give its id."""

    def add(**changes):
        values = {"state": "pending", "host_id": world.host_id, "progress": 0, "completed": None}
        row = rows.snapshot(world.one.caller.account_id, **values | changes)
        run(lambda tx: tx.session.add(row))
        return row.id

    return add


async def refusal(call):
    """What a call, of either kind, is refused with."""

    async def read_all():
        return [one async for one in call]

    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asyncio.wait_for(read_all(), SECONDS)
    return error.value.code()


class Storing:
    """One StoreSnapshot call, step by step."""

    def __init__(self, stub, snapshot_id, parent_id=""):
        self.call = stub.StoreSnapshot()
        self.header = pb.SnapshotHeader(snapshot_id=snapshot_id, parent_id=parent_id)

    async def begin(self):
        await self.call.write(ask(header=self.header))
        return list((await self.next()).stored.positions)

    async def next(self):
        async with asyncio.timeout(SECONDS):
            return await self.call.read()

    async def offer(self, segment):
        await self.call.write(ask(segment=segment))
        missing = (await self.next()).missing
        assert missing.position == segment.position
        return list(missing.slots)

    async def bring(self, position, blocks):
        """Offer a segment of blocks by slot and send what is missing; gives how many were."""
        slots = await self.offer(make_segment(position, {slot: block.digest for slot, block in blocks.items()}))
        for slot in slots:
            await self.call.write(ask(block=blocks[slot]))
        if slots:
            assert (await self.next()).segment.position == position
        return len(slots)

    async def end(self):
        await self.call.write(ask(end=pb.SnapshotEnd()))
        return (await self.next()).finished.stored_size


def fetch(stub, snapshot_id, digests):
    return stub.FetchBlocks(iter([pb.FetchBlocksRequest(snapshot_id=snapshot_id, digests=digests)]))


async def test_a_snapshot_comes_and_goes_out_again(host, pending, run, world):
    snapshot_id = pending()
    blocks = {slot: noise() for slot in range(40)}
    storing = Storing(host, snapshot_id)
    assert await storing.begin() == []
    assert await storing.bring(0, blocks) == 40
    assert await storing.bring(3, {9: blocks[0]}) == 0
    assert await storing.end() == 41 * BLOCK_BYTES
    row = run(lambda tx: tx.session.get_one(Snapshot, snapshot_id))
    assert (row.state, row.progress, row.stored_size, row.host_id) == ("completed", 100, 41 * BLOCK_BYTES, None)
    # Whoever took it is not sent it, and sees it no longer; as a base it may be read.
    call = host.ListSegments(pb.ListSegmentsRequest(snapshot_id=snapshot_id))
    assert await refusal(call) is grpc.StatusCode.NOT_FOUND
    run(outbox.write, world.host_id, {(desired.KIND_BASE, snapshot_id): desired.Base(size=1)})
    listed = [one async for one in host.ListSegments(pb.ListSegmentsRequest(snapshot_id=snapshot_id))]
    assert [(one.position, list(one.slots)) for one in listed] == [(0, list(range(40))), (3, [9])]
    wanted = [block.digest for block in reversed(blocks.values())]
    fetched = [block async for block in fetch(host, snapshot_id, wanted)]
    assert [block.digest for block in fetched] == wanted
    assert unpack(fetched[0]) == unpack(blocks[39])


async def test_the_blocks_of_a_complete_snapshot_are_looked_up_once(host, pending, run, world, monkeypatch):
    listed = []
    page = block_service.segments.page

    def noting(tx, snapshot_id, first, limit):
        listed.append(snapshot_id)
        return page(tx, snapshot_id, first, limit)

    monkeypatch.setattr(block_service.segments, "page", noting)
    monkeypatch.setattr(block_service, "_REMEMBERED_BLOCKS", 3)
    blocks = {slot: noise() for slot in range(2)}
    made = [pending() for _ in range(2)]
    for snapshot_id in made:
        storing = Storing(host, snapshot_id)
        await storing.begin()
        await storing.bring(0, blocks)
        for _ in range(2):  # while it is pending it may get more
            assert [block async for block in fetch(host, snapshot_id, [blocks[0].digest])] == [blocks[0]]
        await storing.end()
        run(outbox.write, world.host_id, {(desired.KIND_BASE, snapshot_id): desired.Base(size=1)})
    assert listed == [made[0]] * 2 + [made[1]] * 2
    for which in (0, 0, 1, 1, 0):
        assert [block async for block in fetch(host, made[which], [blocks[1].digest])] == [blocks[1]]
    assert listed[4:] == [made[0], made[1], made[0]]


async def test_a_block_comes_before_the_next_is_asked_for(host, pending, run, world):
    snapshot_id = pending()
    blocks = {0: noise(), 1: noise()}
    storing = Storing(host, snapshot_id)
    await storing.begin()
    await storing.bring(0, blocks)
    call = host.FetchBlocks()
    for block in blocks.values():
        await call.write(pb.FetchBlocksRequest(snapshot_id=snapshot_id, digests=[block.digest]))
        async with asyncio.timeout(SECONDS):
            assert (await call.read()).digest == block.digest
    await call.done_writing()
    storing.call.cancel()


async def test_a_broken_off_snapshot_goes_on(host, pending, run):
    snapshot_id = pending()
    blocks = {0: noise(), 1: noise()}
    storing = Storing(host, snapshot_id)
    await storing.begin()
    await storing.bring(5, blocks)
    await storing.offer(make_segment(6, {0: noise().digest}))
    storing.call.cancel()
    again = Storing(host, snapshot_id)
    assert await again.begin() == [5]
    assert await again.bring(6, {0: blocks[0]}) == 0
    assert await again.end() == 3 * BLOCK_BYTES


async def test_what_did_not_change_is_the_parents(host, pending, run):
    parent_id = pending()
    blocks = {slot: noise() for slot in range(3)}
    storing = Storing(host, parent_id)
    await storing.begin()
    for position in range(3):
        await storing.bring(position, blocks)
    await storing.end()
    child_id = pending(parent_id=parent_id)
    # While the child is taken its parent may be read.
    assert len([one async for one in host.ListSegments(pb.ListSegmentsRequest(snapshot_id=parent_id))]) == 3
    storing = Storing(host, child_id, parent_id)
    assert await storing.begin() == []
    assert await storing.bring(1, {0: noise()}) == 1
    assert await storing.bring(2, {}) == 0
    assert await storing.end() == 4 * BLOCK_BYTES
    whole_id = pending(parent_id=parent_id)
    storing = Storing(host, whole_id)
    await storing.begin()
    assert await storing.bring(0, {0: blocks[0]}) == 0
    assert await storing.end() == BLOCK_BYTES


async def test_only_hosts_that_have_the_base_may(host, stranger, connect, authority, pending):
    snapshot_id = pending()
    storing = Storing(host, snapshot_id)
    await storing.begin()
    block = noise()
    await storing.bring(0, {0: block})
    operator = await connect(authority.issue_operator("ann"))
    for stub, code in ((stranger, grpc.StatusCode.NOT_FOUND), (operator, grpc.StatusCode.PERMISSION_DENIED)):
        header = pb.SnapshotHeader(snapshot_id=snapshot_id)
        # Who is refused whatever he says must say nothing: a message sent meanwhile would end the call as INTERNAL.
        said = iter([ask(header=header)]) if stub is stranger else None
        assert await refusal(stub.StoreSnapshot(said)) is code
        assert await refusal(stub.ListSegments(pb.ListSegmentsRequest(snapshot_id=snapshot_id))) is code
        assert await refusal(fetch(stub, snapshot_id, [block.digest])) is code
    # Of a snapshot that a host may read it gets that snapshot's blocks alone.
    other = pending()
    assert await refusal(fetch(host, other, [block.digest])) is grpc.StatusCode.NOT_FOUND
    header = pb.SnapshotHeader(snapshot_id=snapshot_id, parent_id=other)
    assert await refusal(host.StoreSnapshot(iter([ask(header=header)]))) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ([ask(end=pb.SnapshotEnd())], grpc.StatusCode.INVALID_ARGUMENT),
        (["header", "header"], grpc.StatusCode.INVALID_ARGUMENT),
        (["header", ask(block=pack(b"x" * BLOCK_BYTES))], grpc.StatusCode.INVALID_ARGUMENT),
        (["header", ask(segment=pb.Segment(slots=[1], digests=b"short"))], grpc.StatusCode.INVALID_ARGUMENT),
        (["header", "segment", ask(end=pb.SnapshotEnd())], grpc.StatusCode.INVALID_ARGUMENT),
        (["header", "segment", "spoilt"], grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_is_wrong_is_refused(host, pending, run, wrong, code):
    snapshot_id = pending()
    block = noise()
    messages = {
        "header": ask(header=pb.SnapshotHeader(snapshot_id=snapshot_id)),
        "segment": ask(segment=make_segment(0, {0: block.digest})),
        "spoilt": ask(block=pb.Block(digest=block.digest, content=spoil(block.content))),
    }
    sent = [messages.get(one, one) if isinstance(one, str) else one for one in wrong]
    assert await refusal(host.StoreSnapshot(iter(sent))) is code
    assert run(lambda tx: tx.session.get_one(Snapshot, snapshot_id)).state == "pending"


async def test_corruption_in_the_store_never_reaches_a_host(host, pending, tmp_path):
    snapshot_id = pending()
    storing = Storing(host, snapshot_id)
    await storing.begin()
    block = noise()
    await storing.bring(0, {0: block})
    (path,) = (path for path in (tmp_path / "blocks").rglob("*") if path.is_file())
    path.write_bytes(spoil(path.read_bytes()))
    assert await refusal(fetch(host, snapshot_id, [block.digest])) is grpc.StatusCode.DATA_LOSS
    path.unlink()
    assert await refusal(fetch(host, snapshot_id, [block.digest])) is grpc.StatusCode.DATA_LOSS


async def test_a_host_that_cannot_fetch_a_base_is_noted_with_the_damage(host, pending, tmp_path, run, world):
    snapshot_id = pending()
    storing = Storing(host, snapshot_id)
    await storing.begin()
    block = noise()
    await storing.bring(0, {0: block})
    await storing.end()
    run(outbox.write, world.host_id, {(desired.KIND_BASE, snapshot_id): desired.Base(size=1)})

    def seen(tx):
        return tx.session.get_one(Snapshot, snapshot_id).state, tx.session.query(HostError.resource_id).all()

    (path,) = (path for path in (tmp_path / "blocks").rglob("*") if path.is_file())
    content = path.read_bytes()
    path.write_bytes(spoil(content))
    assert await refusal(fetch(host, snapshot_id, [block.digest])) is grpc.StatusCode.DATA_LOSS
    assert run(seen) == ("error", [(snapshot_id,)])
    path.write_bytes(content)
    assert [one async for one in fetch(host, snapshot_id, [block.digest])] == [block]
    assert run(seen) == ("completed", [])


def test_a_set_of_blocks():
    known = BlockSet()
    digests = [secrets.token_bytes(32) for _ in range(100)]
    known.add(b"".join(digests[:50]))
    known.add(b"".join(digests[40:90]))
    known.seal()
    assert [digest in known for digest in digests] == [True] * 90 + [False] * 10
    assert b"" not in known
