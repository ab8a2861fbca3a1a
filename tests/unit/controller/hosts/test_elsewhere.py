"""Questions to hosts of another controller, over real gRPC and TLS."""

import asyncio

import grpc
import pytest

from stead_controller.db.tables import ControllerRow, Host
from stead_controller.hosts.elsewhere import Elsewhere, HostUnavailable, PeerQuestions
from stead_proto import limits, tls
from stead_proto.certificates import Authority
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import host_pb2_grpc

QUESTION = pb.Question(activity=pb.ActivityQuestion())


@pytest.fixture(scope="module")
def authority():
    return Authority.create()


class Other:
    """Another controller, of which only this service is there."""

    def __init__(self):
        self.asked = []
        self.address = ""
        self.waits_for = 1  # questions, before it answers the first
        self._all_came = asyncio.Event()

    async def ask(self, host_id, question):
        self.asked.append((host_id, question.WhichOneof("body")))
        if len(self.asked) >= self.waits_for:
            self._all_came.set()
        await self._all_came.wait()
        if question.HasField("repair"):
            raise HostUnavailable("It does not answer.", code="Unavailable")
        return pb.Answer(content=b"here")


@pytest.fixture
async def other(authority):
    made = Other()
    server = grpc.aio.server(options=limits.server_options())
    host_pb2_grpc.add_PeersServicer_to_server(PeerQuestions(made.ask), server)
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(authority.issue_server()))
    made.address = f"127.0.0.1:{port}"
    await server.start()
    yield made
    await server.stop(None)


@pytest.fixture
def at(run, world):
    """Let the world's host be at a controller."""

    def put(controller_id, address):
        def write(tx):
            tx.session.get_one(Host, world.host_id).controller_id = controller_id
            tx.session.add(ControllerRow(id=controller_id, address=address, seen=0))

        run(write)

    return put


@pytest.fixture
def elsewhere(database, at, other, authority):
    at("other", other.address)
    return Elsewhere(database, authority)


async def test_a_host_of_another_controller_is_asked_by_that(database, world, at, other, authority):
    at("other", other.address)
    answer = await Elsewhere(database, authority).ask(world.host_id, QUESTION)
    assert answer.content == b"here"
    assert other.asked == [(world.host_id, "activity")]


async def test_questions_of_one_moment_share_a_connection_which_ends_with_them(elsewhere, other, world, monkeypatch):
    other.waits_for, opened, channel_to = 5, [], tls.channel_to_controller

    def noted(address, identity):
        opened.append(channel_to(address, identity))
        return opened[-1]

    monkeypatch.setattr(tls, "channel_to_controller", noted)
    answers = await asyncio.gather(*(elsewhere.ask(world.host_id, QUESTION) for _ in range(5)))
    assert [each.content for each in answers] == [b"here"] * 5
    assert [each.get_state() for each in opened] == [grpc.ChannelConnectivity.SHUTDOWN]
    assert (await elsewhere.ask(world.host_id, QUESTION)).content == b"here"
    assert len(opened) == 2


async def test_what_ails_there_is_said_here(database, world, at, other, authority):
    at("other", other.address)
    with pytest.raises(HostUnavailable, match="It does not answer"):
        await Elsewhere(database, authority).ask(world.host_id, pb.Question(repair=pb.RepairQuestion()))


async def test_a_host_of_this_or_of_no_controller_is_not_elsewhere(database, world, at, other, authority):
    elsewhere = Elsewhere(database, authority)
    assert await elsewhere.ask(world.host_id, QUESTION) is None
    at(database.id, other.address)
    assert await elsewhere.ask(world.host_id, QUESTION) is None
    assert await elsewhere.ask("h-00000000000000000", QUESTION) is None
    assert other.asked == []


async def test_who_waits_for_the_answer_waits_no_longer_for_the_database(database, authority, monkeypatch):
    told, run = [], database.run

    def noted(function, **options):
        told.append(options["answered_within"])
        return run(function, **options)

    monkeypatch.setattr(database, "run", noted)
    await Elsewhere(database, authority).ask("h-00000000000000000", QUESTION)
    assert told == [22.0]


@pytest.mark.parametrize("who", ["issue_host", "issue_operator"])
async def test_only_controllers_may_ask(other, authority, who):
    async with tls.channel_to_controller(other.address, getattr(authority, who)("somebody")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await host_pb2_grpc.PeersStub(channel).Ask(pb.PeerQuestion(host_id="h-1", question=QUESTION))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert other.asked == []
