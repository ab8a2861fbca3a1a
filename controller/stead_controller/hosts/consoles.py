"""Sessions at guests' serial ports: one for each instance at a time, carried by a call of its host's agent.

open -> question to the agent -> its call of Console, by the session's secret id -> text and keys -> either side ends

The id is good for one call, of the host that was asked, with a certificate that counts still.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from stead_controller.db.session import Database
from stead_controller.errors import InUse, WrongState
from stead_controller.hosts.peers import require_present_host
from stead_proto.v1 import host_pb2 as pb

_JOIN_SECONDS: Final = 20.0
_MOST_PIECES: Final = 256  # that wait for a slow reader; then the agent, or who types, waits
_LARGEST: Final = 1 << 16  # bytes that an agent sends at a time: ours sends less


class ConsoleSession:
    """One session, from the side of the person at the console."""

    def __init__(self, host_id: str) -> None:
        """Begin before the agent has called."""
        self.host_id = host_id
        self.id = secrets.token_urlsafe(24)
        self.joined = asyncio.Event()
        self.text: asyncio.Queue[bytes] = asyncio.Queue(_MOST_PIECES)  # an empty one is the end
        self.keys: asyncio.Queue[bytes] = asyncio.Queue(_MOST_PIECES)  # likewise
        self._has_ended = False

    async def read(self) -> bytes:
        """Return what the guest wrote next; empty when the session has ended."""
        return b"" if self._has_ended and self.text.empty() else await self.text.get()

    async def write(self, keys: bytes) -> None:
        """Type something, once there is room for it."""
        if keys:
            await self.keys.put(keys)

    async def typed(self) -> bytes:
        """Return what was typed next; empty when the session has ended."""
        return b"" if self._has_ended and self.keys.empty() else await self.keys.get()

    def end(self) -> None:
        """End it for both sides."""
        self._has_ended = True
        for queue in (self.text, self.keys):
            if not queue.full():
                queue.put_nowait(b"")


class Consoles:
    """The sessions of this controller; all methods run on the event loop."""

    def __init__(self, ask: Callable[[str, pb.Question], Awaitable[pb.Answer]], database: Database) -> None:
        """Store how a host's agent is asked, which raises HostUnavailable, and what knows the hosts' certificates."""
        self._ask = ask
        self._database = database
        self._open: set[str] = set()  # ids of instances
        self._awaited: dict[str, ConsoleSession] = {}  # by the session's id, until the agent has called

    def is_open(self, instance_id: str) -> bool:
        """Tell whether somebody has a session at an instance."""
        return instance_id in self._open

    @asynccontextmanager
    async def session(self, host_id: str, instance_id: str) -> AsyncIterator[ConsoleSession]:
        """Open a session and end it afterwards; raises InUse, HostUnavailable, or WrongState with the agent's words."""
        if instance_id in self._open:
            raise InUse(
                "The instance currently has 1 active serial console session. Only 1 session is supported at a time.",
                code="SerialConsoleSessionLimitExceededException",
            )
        session = ConsoleSession(host_id)
        self._open.add(instance_id)
        self._awaited[session.id] = session
        try:
            await self._begin(session, instance_id)
            yield session
        finally:
            session.end()
            self._open.discard(instance_id)
            self._awaited.pop(session.id, None)

    async def _begin(self, session: ConsoleSession, instance_id: str) -> None:
        wanted = pb.ConsoleQuestion(machine_id=instance_id, session_id=session.id)
        answer = await self._ask(session.host_id, pb.Question(console=wanted))
        if answer.error:
            raise WrongState("instance", f"The serial port of {instance_id} cannot be opened: {answer.error}")
        try:
            async with asyncio.timeout(_JOIN_SECONDS):
                await session.joined.wait()
        except TimeoutError:
            raise WrongState("instance", f"The host of {instance_id} did not open the session in time.") from None

    async def Console(  # noqa: N802 - the name of the RPC
        self, request_iterator: AsyncIterator[pb.ConsoleText], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ConsoleKeys]:
        """Serve an agent's call until either side ends it."""
        host_id = await require_present_host(context, self._database)
        first = await anext(aiter(request_iterator), None)
        session = self._awaited.get(first.session_id) if first is not None else None
        if session is None or session.host_id != host_id:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this host is not awaited at such a console")
        del self._awaited[session.id]
        session.joined.set()
        receiver = asyncio.create_task(_receive(session, request_iterator))
        try:
            while keys := await session.typed():
                yield pb.ConsoleKeys(content=keys)
        finally:
            receiver.cancel()
            session.end()


async def _receive(session: ConsoleSession, texts: AsyncIterator[pb.ConsoleText]) -> None:
    """Take what the guest writes, until its machine or the call ends."""
    try:
        async for text in texts:
            if len(text.content) > _LARGEST:
                break
            if text.content:
                await session.text.put(text.content)
    finally:
        session.end()
