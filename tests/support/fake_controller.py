"""A controller with only the agents' APIs: real gRPC and TLS on loopback, its state set by the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from stead_agent.wanted import Key
from stead_controller.catalog import ids
from stead_proto import limits, tls
from stead_proto.certificates import Authority, signer
from stead_proto.tls import Peer
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import host_pb2_grpc
from tests.support.desired_states import Sender


@dataclass
class HostSession:
    """One agent's session as the controller sees it."""

    host_id: str
    hello: pb.Hello
    outgoing: asyncio.Queue[pb.HostUpdate | None] = field(default_factory=asyncio.Queue)
    statuses: dict[Key, pb.ResourceStatus] = field(default_factory=dict)
    answers: dict[int, pb.Answer] = field(default_factory=dict)
    revision: int = 0
    heartbeats: int = 0
    messages: int = 0
    measured: list[pb.Measurements] = field(default_factory=list)
    certified: list[bytes] = field(default_factory=list)
    traces: list[pb.TracedStatus] = field(default_factory=list)

    def send(self, state: pb.DesiredState) -> None:
        """Send a change of the desired state."""
        self.outgoing.put_nowait(pb.HostUpdate(state=state))

    def ask(self, question: pb.Question) -> None:
        """Send a question."""
        self.outgoing.put_nowait(pb.HostUpdate(question=question))

    def stored(self, number: int) -> None:
        """Say that measurements are stored."""
        self.outgoing.put_nowait(pb.HostUpdate(stored=pb.Stored(number=number)))

    def trust(self, authorities: bytes) -> None:
        """Say which authorities there are now."""
        throttle = pb.Throttle(heartbeat_seconds=60, authorities=authorities)
        self.outgoing.put_nowait(pb.HostUpdate(throttle=throttle))

    def end(self) -> None:
        """End the session from the controller's side."""
        self.outgoing.put_nowait(None)


class FakeController(host_pb2_grpc.HostLinkServicer, host_pb2_grpc.EnrolmentServicer):
    """Both services, on two ports of loopback; `moved` is notified whenever an agent called or sent something."""

    def __init__(self, *, heartbeat_seconds: int = 60) -> None:
        self.authority = Authority.create()
        self.senders: dict[str, Sender] = {}
        self.sessions: dict[str, HostSession] = {}
        self.connections = 0
        self.tokens: set[str] = set()
        self.former_ids: list[str] = []  # that hosts said they had
        self.former_addresses: list[str] = []  # likewise
        self.shown: list[Peer | None] = []  # the hosts whose keys they have shown
        self.renewals = 0
        self.moved = asyncio.Condition()
        self.port = 0
        self.enrolment_port = 0
        self._heartbeat_seconds = heartbeat_seconds
        self.removed: set[str] = set()  # hosts that are refused
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """The address to which agents connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def enrolment_address(self) -> str:
        """The address at which machines enrol."""
        return f"127.0.0.1:{self.enrolment_port}"

    def sender(self, host_id: str) -> Sender:
        """The desired state of a host."""
        return self.senders.setdefault(host_id, Sender())

    async def start(self) -> None:
        """Listen; after a restart on the same ports as before."""
        server = grpc.aio.server(options=limits.server_options())
        host_pb2_grpc.add_HostLinkServicer_to_server(self, server)
        host_pb2_grpc.add_EnrolmentServicer_to_server(self, server)
        identity = self.authority.issue_server()
        self.port = server.add_secure_port(self.address, tls.server_credentials(identity))
        self.enrolment_port = server.add_secure_port(self.enrolment_address, tls.enrolment_server_credentials(identity))
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Stop, breaking all connections."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
            self.sessions.clear()

    async def until(self, condition: Any, what: str, seconds: float = 20.0) -> None:
        """Wait until a condition is true, checked whenever an agent called or sent something."""
        try:
            async with asyncio.timeout(seconds), self.moved:
                await self.moved.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"waited {seconds:g} s in vain until {what}") from None

    async def _note(self) -> None:
        async with self.moved:
            self.moved.notify_all()

    # -- HostLink

    async def Session(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.HostUpdate]:  # noqa: N802 - the name of the RPC
        peer = tls.peer_of(context)
        first = await anext(aiter(request_iterator))
        if peer.name in self.removed:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this host was removed from the cloud")
        session = HostSession(peer.name, first.hello)
        self.connections += 1
        self.sessions[peer.name] = session
        yield pb.HostUpdate(throttle=pb.Throttle(heartbeat_seconds=self._heartbeat_seconds))
        sender = self.sender(peer.name)
        if first.hello.revision == 0 or first.hello.desired_epoch != sender.epoch:
            yield pb.HostUpdate(state=sender.full())
        else:
            yield pb.HostUpdate(state=pb.DesiredState(revision=first.hello.revision, epoch=sender.epoch))
            for message in [each for each in sender.sent if each.revision > first.hello.revision]:
                yield pb.HostUpdate(state=message)
        await self._note()
        reading = asyncio.create_task(self._read(session, request_iterator))
        try:
            while (update := await session.outgoing.get()) is not None:
                yield update
        finally:
            reading.cancel()

    async def _read(self, session: HostSession, reports: Any) -> None:
        # Many tests break the stream; the session's sending half ends with it.
        with contextlib.suppress(grpc.RpcError, asyncio.CancelledError):
            async for report in reports:
                session.messages += 1
                match report.WhichOneof("body"):
                    case "progress":
                        session.revision = report.progress.revision
                        session.traces += report.progress.traces
                        for each in report.progress.statuses:
                            session.statuses[Key(each.kind, each.id)] = each
                    case "answer":
                        session.answers[report.answer.id] = report.answer
                    case "heartbeat":
                        session.heartbeats += 1
                    case "certified":
                        session.certified.append(report.certified.authorities)
                    case "measurements":
                        session.measured.append(report.measurements)
                await self._note()

    async def RenewCertificate(self, request: pb.RenewCertificateRequest, context: Any) -> pb.RenewCertificateResponse:  # noqa: N802 - the name of the RPC
        self.renewals += 1
        certificate = self.authority.sign_host(request.csr_pem, tls.peer_of(context).name)
        await self._note()
        return pb.RenewCertificateResponse(certificate_pem=certificate, ca_pem=self.authority.ca_pem)

    # -- Enrolment

    async def Enrol(self, request: pb.EnrolRequest, context: Any) -> pb.EnrolResponse:  # noqa: N802 - the name of the RPC
        if request.token not in self.tokens:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no such enrolment token")
        self.tokens.discard(request.token)
        self.former_ids.append(request.former_host_id)
        self.former_addresses.append(request.former_pool_address)
        self.shown.append(signer(request.former_certificate_pem, request.csr_pem, request.former_signature))
        host_id = request.former_host_id or ids.new_id("host")
        certificate = self.authority.sign_host(request.csr_pem, host_id)
        return pb.EnrolResponse(host_id=host_id, certificate_pem=certificate, ca_pem=self.authority.certificate_pem)


def write_ca(controller: FakeController, folder: Path) -> Path:
    """Write the CA's certificate to a file."""
    path = folder / "ca.pem"
    path.write_bytes(controller.authority.certificate_pem)
    return path
