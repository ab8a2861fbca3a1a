"""Sessions at serial ports: who may join which, and how each side learns that the other has ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from stead_controller.errors import InUse, WrongState
from stead_controller.hosts import consoles as module
from stead_controller.hosts.consoles import Consoles, ConsoleSession
from stead_proto.v1 import host_pb2 as pb

HOST, STRANGER, INSTANCE, OTHER = "host-1", "host-2", "i-1", "i-2"


class RefusedError(Exception):
    """A call was ended with a status."""


class Call:
    """An agent's call of Console: it says what is put into `said`, and has what it is sent in `typed`."""

    def __init__(self, consoles: Consoles, host: str = HOST) -> None:
        self.host = host
        self.said: asyncio.Queue[pb.ConsoleText | None] = asyncio.Queue()
        self.typed: list[bytes] = []
        self.task = asyncio.create_task(self._run(consoles))

    def say(self, session_id: str = "", content: bytes = b"") -> None:
        self.said.put_nowait(pb.ConsoleText(session_id=session_id, content=content))

    def hang_up(self) -> None:
        self.said.put_nowait(None)

    async def abort(self, code: grpc.StatusCode, _details: str) -> None:
        raise RefusedError(code)

    async def _run(self, consoles: Consoles) -> None:
        async for keys in consoles.Console(self._texts(), self):  # type: ignore[arg-type]  # a context as far as used
            self.typed.append(keys.content)

    async def _texts(self) -> AsyncIterator[pb.ConsoleText]:
        while (text := await self.said.get()) is not None:
            yield text


class Bench:
    """The consoles of a controller whose hosts' agents call back at once, unless `calls` is false."""

    def __init__(self) -> None:
        self.calls = True
        self.error = ""
        self.call: Call | None = None
        self.ids: list[str] = []
        self.consoles = Consoles(self.ask, None)  # type: ignore[arg-type]  # asked by what the fixture replaces

    async def ask(self, host_id: str, question: pb.Question) -> pb.Answer:
        assert (host_id, question.console.machine_id) in {(HOST, INSTANCE), (HOST, OTHER)}
        self.ids.append(question.console.session_id)
        if self.calls and not self.error:
            self.call = Call(self.consoles)
            self.call.say(self.ids[-1])
        return pb.Answer(error=self.error)

    @contextlib.asynccontextmanager
    async def session(self, instance_id: str = INSTANCE) -> AsyncIterator[tuple[ConsoleSession, Call]]:
        async with asyncio.timeout(60), self.consoles.session(HOST, instance_id) as session:
            assert self.call is not None
            yield session, self.call


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    async def require(context: Any, _database: Any) -> str:
        return str(context.host)

    monkeypatch.setattr(module, "require_present_host", require)
    return Bench()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0)


async def test_text_and_keys_go_both_ways_until_the_person_leaves(bench: Bench) -> None:
    async with bench.session() as (session, call):
        assert bench.consoles.is_open(INSTANCE)
        assert not bench.consoles.is_open(OTHER)
        call.say(content=b"")  # which is no end
        call.say(content=b"login: ")
        assert await session.read() == b"login: "
        await session.write(b"")  # likewise
        await session.write(b"root\n")
        await until(lambda: call.typed)
    assert call.typed == [b"root\n"]
    await asyncio.wait_for(call.task, 60)
    assert not bench.consoles.is_open(INSTANCE)
    assert len(bench.ids[0]) >= 32, "it is a secret"


async def test_one_session_an_instance(bench: Bench) -> None:
    async with bench.session():
        with pytest.raises(InUse, match="Only 1 session"):
            async with bench.consoles.session(HOST, INSTANCE):
                pass
        assert bench.consoles.is_open(INSTANCE), "the refused one has ended no other"
        async with bench.session(OTHER):
            pass
    async with bench.session():
        pass
    assert len(set(bench.ids)) == 3


async def test_what_the_agent_refuses_is_said_and_blocks_nobody(bench: Bench) -> None:
    bench.error = "i-1 is off"
    with pytest.raises(WrongState, match="i-1 is off"):
        async with bench.session():
            pass
    assert not bench.consoles.is_open(INSTANCE)
    bench.error = ""
    async with bench.session():
        pass


async def test_an_agent_that_does_not_call_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_JOIN_SECONDS", 0.0)
    bench.calls = False
    with pytest.raises(WrongState, match="in time"):
        async with bench.consoles.session(HOST, INSTANCE):
            pass
    assert not bench.consoles.is_open(INSTANCE)
    late = Call(bench.consoles)
    late.say(bench.ids[0])
    with pytest.raises(RefusedError):
        await asyncio.wait_for(late.task, 60)


async def test_only_the_host_that_was_asked_joins_and_only_once(bench: Bench) -> None:
    async def refused(host: str, *said: str) -> None:
        call = Call(bench.consoles, host)
        for each in said:
            call.say(each)
        call.hang_up()
        with pytest.raises(RefusedError, match="NOT_FOUND"):
            await asyncio.wait_for(call.task, 60)

    bench.calls = False
    async with asyncio.TaskGroup() as tasks:
        opened = asyncio.Event()

        async def join() -> None:
            async with bench.consoles.session(HOST, INSTANCE) as session:
                opened.set()
                assert await session.read() == b"x"

        tasks.create_task(join())
        await until(lambda: bench.ids)
        await refused(HOST)
        await refused(HOST, "another")
        await refused(STRANGER, bench.ids[0])
        assert not opened.is_set()
        call = Call(bench.consoles)
        call.say(bench.ids[0])
        await asyncio.wait_for(opened.wait(), 60)
        await refused(HOST, bench.ids[0])
        call.say(content=b"x")


async def test_the_end_of_the_agents_call_is_read_after_all_that_was_said(bench: Bench) -> None:
    async with bench.session() as (session, call):
        call.say(content=b"one")
        call.say(content=b"two")
        call.hang_up()
        assert [await session.read() for _ in range(4)] == [b"one", b"two", b"", b""]
        await asyncio.wait_for(call.task, 60)


async def test_an_end_while_nobody_reads_loses_nothing_and_is_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is full, so no mark of the end has room in it."""
    monkeypatch.setattr(module, "_MOST_PIECES", 2)
    async with bench.session() as (session, call):
        for number in range(2):
            call.say(content=b"%d" % number)
        await until(session.text.full)
        session.end()
        await asyncio.wait_for(call.task, 60)
        assert [await session.read() for _ in range(3)] == [b"0", b"1", b""]


async def test_what_a_slow_reader_has_not_read_makes_the_agent_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_PIECES", 2)
    async with bench.session() as (session, call):
        for number in range(9):
            call.say(content=b"%d" % number)
        await until(session.text.full)
        assert call.said.qsize() >= 5
        assert [await session.read() for _ in range(9)] == [b"%d" % number for number in range(9)]


async def test_who_types_waits_for_the_agent_and_all_that_was_typed_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PIECES", 2)
    session = ConsoleSession(HOST)
    for keys in (b"a", b"b"):
        await session.write(keys)
    third = asyncio.create_task(session.write(b"c"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not third.done()
    assert await session.typed() == b"a"
    await asyncio.wait_for(third, 60)
    session.end()
    assert [await asyncio.wait_for(session.typed(), 10) for _ in range(3)] == [b"b", b"c", b""]


async def test_an_agent_that_sends_too_much_at_a_time_ends_the_session(bench: Bench) -> None:
    async with bench.session() as (session, call):
        call.say(content=b"x" * (1 << 16))
        call.say(content=b"x" * ((1 << 16) + 1))
        assert [len(await asyncio.wait_for(session.read(), 60)) for _ in range(2)] == [1 << 16, 0]
        await asyncio.wait_for(call.task, 60)


async def test_when_the_person_leaves_the_agents_text_is_no_longer_read(bench: Bench) -> None:
    async with bench.session() as (_, call):
        pass
    await asyncio.wait_for(call.task, 60)
    before = asyncio.all_tasks()
    call.say(content=b"nobody hears it")
    await asyncio.sleep(0)
    assert call.said.qsize() == 1
    assert before == asyncio.all_tasks()
