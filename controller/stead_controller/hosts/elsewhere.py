"""Questions to hosts that have their stream to another controller: that one asks them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
from sqlalchemy import select

from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import ControllerRow, Host
from stead_controller.errors import SteadError
from stead_controller.hosts.peers import require_controller
from stead_proto import tls
from stead_proto.certificates import Authority
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import host_pb2_grpc

_SECONDS: Final = 22.0  # longer than the other one waits for the host


class HostUnavailable(SteadError):
    """The host cannot be reached now."""


@dataclass(slots=True)
class _Shared:
    """A channel to another controller, and how many questions use it."""

    channel: grpc.aio.Channel
    users: int = 0


class Elsewhere:
    """Asks other controllers; to be used on one event loop.

    Questions that are asked at the same moment, as of all hosts, share a connection; it ends with the last of them.
    """

    def __init__(self, database: Database, authority: Authority) -> None:
        """Store the dependencies."""
        self._database = database
        self._authority = authority
        self._shared: dict[str, _Shared] = {}  # by address

    async def ask(self, host_id: str, question: pb.Question) -> pb.Answer | None:
        """Ask a host, None where it is at no other controller; raises HostUnavailable, Unavailable."""
        address = await self._database.run(
            lambda tx: _where(tx, host_id, self._database.id), writes=False, answered_within=_SECONDS
        )
        if not address:
            return None
        async with self._channel(address) as channel:
            stub = host_pb2_grpc.PeersStub(channel)
            try:
                asked = pb.PeerQuestion(host_id=host_id, question=question)
                answer: pb.Answer = await stub.Ask(asked, timeout=_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise HostUnavailable(error.details() or error.code().name, code="Unavailable") from error
        return answer

    @asynccontextmanager
    async def _channel(self, address: str) -> AsyncIterator[grpc.aio.Channel]:
        """Give a channel to another controller."""
        shared = self._shared.get(address)
        if shared is None:
            identity = self._authority.issue_peer(self._database.id)
            shared = self._shared[address] = _Shared(tls.channel_to_controller(address, identity))
        shared.users += 1
        try:
            yield shared.channel
        finally:
            shared.users -= 1
            if shared.users == 0:
                del self._shared[address]
                await shared.channel.close()


def _where(tx: Transaction, host_id: str, own_id: str) -> str:
    """Return the address of the other controller to which a host last said Hello; empty if it is at this one."""
    query = (
        select(ControllerRow.address)
        .join(Host, Host.controller_id == ControllerRow.id)
        .where(Host.id == host_id, ControllerRow.id != own_id)
    )
    return tx.session.scalar(query) or ""


class PeerQuestions(host_pb2_grpc.PeersServicer):
    """The `Peers` service: asks hosts that are here for other controllers."""

    def __init__(self, ask: Callable[[str, pb.Question], Awaitable[pb.Answer]]) -> None:
        """Take what asks a host whose stream is here."""
        self._ask = ask

    async def Ask(  # noqa: N802 - the name of the RPC
        self, request: pb.PeerQuestion, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Answer:
        """Ask a host."""
        await require_controller(context)
        try:
            answer = await self._ask(request.host_id, request.question)
        except HostUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return answer
