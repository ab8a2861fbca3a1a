"""Our end of the stream to each agent: changes go out as they are committed, reports come in and become rows.

Hello -> facts -> what the host missed (or everything) -> [woken: next change]*     (sender)
Progress -> rows, Heartbeat -> liveness, Answer -> whoever asked                    (receiver)
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.errors import SteadError
from stead_controller.hosts import changes, facts, host_networks, outbox, reports, revisions
from stead_controller.hosts.liveness import Liveness
from stead_controller.resources.cloud import Cloud
from stead_proto import limits, tls
from stead_proto.certificates import Authority
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import host_pb2_grpc

_log = logging.getLogger(__name__)

# Another controller's commits do not wake our streams: they are found by looking this often.
_LOOK_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 20.0


class HostUnavailable(SteadError):
    """The host cannot be asked now."""


@dataclass(slots=True)
class _Session:
    """One connected agent."""

    host_id: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    outgoing: asyncio.Queue[pb.HostUpdate] = field(default_factory=asyncio.Queue)
    revision: int = 0
    done: bool = False


class HostLink(host_pb2_grpc.HostLinkServicer):
    """The `HostLink` service; `wake` may be called from any thread."""

    def __init__(
        self,
        database: Database,
        cloud: Cloud,
        liveness: Liveness,
        *,
        clock: Clock,
        image_folder: Path,
        authority: Authority,
        heartbeat_seconds: int,
    ) -> None:
        """Take the parts; the running event loop is the one that serves."""
        self._database = database
        self._cloud = cloud
        self._liveness = liveness
        self._clock = clock
        self._image_folder = image_folder
        self._authority = authority
        self._heartbeat_seconds = heartbeat_seconds
        self._moves = self._moves_told = 0  # of hosts to another underlay address
        self._sessions: dict[str, _Session] = {}
        self._questions: dict[int, asyncio.Future[pb.Answer]] = {}
        self._question_ids = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        database.on_commit(self._committed)

    def connected(self) -> set[str]:
        """The ids of the hosts that have a stream to this controller."""
        return set(self._sessions)

    async def ask(self, host_id: str, question: pb.Question) -> pb.Answer:
        """Ask an agent and wait for its answer; raises HostUnavailable when it is not connected or does not answer."""
        session = self._sessions.get(host_id)
        if session is None:
            raise HostUnavailable(
                "The host of this instance is not connected now. Try again later.", code="Unavailable"
            )
        question.id = next(self._question_ids)
        future: asyncio.Future[pb.Answer] = self._loop.create_future()
        self._questions[question.id] = future
        try:
            await session.outgoing.put(pb.HostUpdate(question=question))
            session.wake.set()
            return await asyncio.wait_for(future, _ANSWER_SECONDS)
        except TimeoutError as error:
            raise HostUnavailable(
                "The host of this instance did not answer in time. Try again later.", code="Unavailable"
            ) from error
        finally:
            self._questions.pop(question.id, None)

    async def tell_where_hosts_are(self) -> None:
        """Tell all hosts where the others are, if that has changed; to be called again and again."""
        moves = self._moves
        if moves > self._moves_told:
            await self._database.run(lambda tx: host_networks.refresh_all(tx, self._cloud))
            self._moves_told = moves

    async def Session(  # noqa: N802 - the name of the RPC
        self, request_iterator: AsyncIterator[pb.HostReport], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.HostUpdate]:
        """Serve one agent until either side ends."""
        host_id = await self._host_of(context)
        hello = await anext(aiter(request_iterator), None)
        if hello is None or not hello.HasField("hello"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be a Hello")
        session = _Session(host_id)
        taken = await self._database.run(
            lambda tx: facts.take_facts(tx, host_id, hello.hello, self._cloud, self._clock())
        )
        if taken is facts.Taken.UNKNOWN:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this host was removed from the cloud")
        self._moves += taken is facts.Taken.MOVED
        before = self._sessions.get(host_id)
        if before is not None:
            before.done = True
            before.wake.set()
        self._sessions[host_id] = session
        self._liveness.seen(host_id)
        _log.info("host_connected", extra={"host": host_id, "revision": hello.hello.revision})
        receiver = asyncio.create_task(self._receive(session, request_iterator))
        try:
            async for update in self._updates(session, hello.hello):
                yield update
        finally:
            receiver.cancel()
            if self._sessions.get(host_id) is session:
                del self._sessions[host_id]
            _log.info("host_disconnected", extra={"host": host_id})

    async def FetchImage(  # noqa: N802 - the name of the RPC
        self, request: pb.FetchImageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ImageChunk]:
        """Send the bytes of an image that the host is told to have."""
        host_id = await self._host_of(context)
        wanted = await self._database.run(lambda tx: outbox.is_wanted(tx, host_id, request.image_id), writes=False)
        if not wanted:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.image_id} is not for this host")
        with (self._image_folder / request.image_id).open("rb") as file:
            file.seek(request.offset)
            while chunk := await asyncio.to_thread(file.read, limits.IMAGE_CHUNK_BYTES):
                yield pb.ImageChunk(content=chunk)

    async def RenewCertificate(  # noqa: N802 - the name of the RPC
        self, request: pb.RenewCertificateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RenewCertificateResponse:
        """Sign a further certificate for the host that asks."""
        host_id = await self._host_of(context)
        certificate = self._authority.sign_host(request.csr_pem, host_id)
        return pb.RenewCertificateResponse(certificate_pem=certificate, ca_pem=self._authority.certificate_pem)

    async def _host_of(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        try:
            peer = tls.peer_of(context)
        except tls.UnknownPeerError:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate of this cloud")
        if peer.kind is not tls.PeerKind.HOST:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this service is for hosts")
        return peer.name

    async def _updates(self, session: _Session, hello: pb.Hello) -> AsyncIterator[pb.HostUpdate]:
        yield pb.HostUpdate(throttle=pb.Throttle(heartbeat_seconds=self._heartbeat_seconds))
        first = await self._database.run(lambda tx: _first_update(tx, session.host_id, hello), writes=False)
        session.revision = first.revision
        yield first.message
        while not session.done:
            session.wake.clear()
            while not session.outgoing.empty():
                yield session.outgoing.get_nowait()
            update = await self._database.run(
                lambda tx: changes.changes_since(tx, session.host_id, session.revision), writes=False
            )
            if update is not None:
                session.revision = update.revision
                yield update.message
                continue
            with contextlib.suppress(TimeoutError):  # time to look whether another controller committed something
                await asyncio.wait_for(session.wake.wait(), _LOOK_SECONDS)

    async def _receive(self, session: _Session, incoming: AsyncIterator[pb.HostReport]) -> None:
        try:
            async for report in incoming:
                self._liveness.seen(session.host_id)
                body = report.WhichOneof("body")
                if body == "progress":
                    await self._progress(session.host_id, report.progress)
                elif body == "answer":
                    future = self._questions.get(report.answer.id)
                    if future is not None and not future.done():
                        future.set_result(report.answer)
        except grpc.RpcError:
            _log.info("host_stream_broke", extra={"host": session.host_id})
        except Exception:  # the session ends, the agent says Hello again and reports all statuses anew
            _log.exception("host_report_failed", extra={"host": session.host_id})
        finally:
            session.done = True
            session.wake.set()

    async def _progress(self, host_id: str, progress: pb.Progress) -> None:
        await self._database.run(lambda tx: reports.apply_progress(tx, host_id, progress, self._clock()))

    def _committed(self, tx: Transaction) -> None:
        """Wake the streams when a transaction has told hosts anything; called in the thread that committed."""
        if tx.revision is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for session in self._sessions.values():
            session.wake.set()


def _first_update(tx: Transaction, host_id: str, hello: pb.Hello) -> changes.Update:
    """Choose what a host gets after its Hello: what it missed, or everything when its revision means nothing here."""
    if not hello.revision or hello.desired_epoch != changes.epoch_of(tx) or hello.revision > revisions.current(tx):
        return changes.everything(tx, host_id)
    return changes.changes_since(tx, host_id, hello.revision) or changes.Update(
        pb.HostUpdate(state=pb.DesiredState(revision=hello.revision, epoch=hello.desired_epoch)), hello.revision
    )
