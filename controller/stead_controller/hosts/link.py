"""The controller's end of the stream to each agent: changes are sent as they are committed, reports are stored as rows.

Hello -> facts -> what the host missed (or everything) -> [next change]*     (sender: `feed.py`)
Progress -> rows, Heartbeat -> liveness, Answer -> the caller of `ask`       (receiver)
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import grpc

from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.wakes import Wakes
from stead_controller.desired import host_networks
from stead_controller.desired.batched_writes import Together
from stead_controller.desired.changes import epoch_of, is_ahead
from stead_controller.desired.messages.identity import SignDocument, signed, with_session
from stead_controller.desired.messages.keys import Addition
from stead_controller.desired.messages.role import with_secret
from stead_controller.hosts import attachment_rights, facts, reports
from stead_controller.hosts.awaited_hosts import AwaitedHosts
from stead_controller.hosts.consoles import Consoles
from stead_controller.hosts.elsewhere import Elsewhere, HostUnavailable, PeerQuestions
from stead_controller.hosts.feed import Feed, Stream
from stead_controller.hosts.first_reports import FirstReports
from stead_controller.hosts.liveness import Liveness
from stead_controller.hosts.measurements import MeasurementIntake
from stead_controller.hosts.peers import FORMER, Presented, former, presented, require_host, require_present_host
from stead_controller.hosts.report_intake import ReportIntake, SessionOver
from stead_controller.hosts.traced_changes import record_report
from stead_controller.metrics.datum import Store
from stead_controller.request import session_tokens
from stead_controller.request.cloud import Cloud
from stead_controller.resources.iam import instance_credentials, instance_identity
from stead_controller.resources.storage import volume_keys
from stead_controller.secrets.sealing import Sealer
from stead_proto import traces
from stead_proto.certificates import VALIDITY, Authority
from stead_proto.digests import digest_of
from stead_proto.tls import authorities_digest
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import host_pb2_grpc

_log = logging.getLogger(__name__)

_REMOVED: Final = "this host was removed from the cloud"
_UNKNOWN: Final = "this cloud knows no such host"
_AWAY: Final = "this controller has lost its database"
_ANSWER_SECONDS: Final = 20.0


class HostLink:
    """The `HostLink` service."""

    def __init__(
        self,
        database: Database,
        cloud: Cloud,
        liveness: Liveness,
        first_reports: FirstReports,
        *,
        clock: Clock,
        authority: Authority,
        metrics: Store,
        sign: SignDocument | None = None,
        heartbeat_seconds: int,
    ) -> None:
        """Store the dependencies; the running event loop is the one that serves."""
        self._database = database
        self._cloud = cloud
        self._liveness = liveness
        self._first_reports = first_reports
        self._clock = clock
        self._authority = authority
        self._heartbeat_seconds = heartbeat_seconds
        self._addresses: tuple[str, ...] = ()
        self._serves = True
        self._moves = self._moves_sent = 0  # how often hosts got another underlay address
        self._feed = Feed(
            database, lambda sealed: cloud.sealer.open(sealed, volume_keys.CONTEXT), _additions(cloud.sealer, sign)
        )
        self.awaited = AwaitedHosts(database, self._feed)
        self._hellos = Together(database, self._take_facts)
        self._reports = ReportIntake(database, clock)
        self._measurements = MeasurementIntake(database, metrics, clock)
        self._storing: set[asyncio.Task[None]] = set()
        self._certified: dict[str, bytes] = {}  # by host: the authorities that it has told
        self._questions: dict[tuple[str, int], asyncio.Future[pb.Answer]] = {}  # by host and question id
        self._question_ids = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._elsewhere = Elsewhere(database, authority)
        self.consoles = Consoles(self.ask_here, database)
        database.on_commit(self._committed)
        database.before_calls(self._feed.traced.note)

    def connected(self) -> set[str]:
        """The ids of the hosts that have a stream to this controller."""
        return self._feed.hosts()

    async def run(self) -> None:
        """Send changes until cancelled."""
        await self._feed.run()

    async def ask(self, host_id: str, question: pb.Question) -> pb.Answer:
        """Ask an agent, by the controller that it is at; raises HostUnavailable as `ask_here` does."""
        if self._feed.find(host_id) is None and (answer := await self._elsewhere.ask(host_id, question)) is not None:
            return answer
        return await self.ask_here(host_id, question)

    async def ask_here(self, host_id: str, question: pb.Question) -> pb.Answer:
        """Ask an agent and wait for its answer; raises HostUnavailable when it is not connected or does not answer."""
        stream = self._feed.find(host_id)
        if stream is None:
            raise HostUnavailable(
                "The host of this instance is not connected now. Try again later.", code="Unavailable"
            )
        question.id = next(self._question_ids)
        future: asyncio.Future[pb.Answer] = self._loop.create_future()
        self._questions[host_id, question.id] = future
        try:
            stream.put(pb.HostUpdate(question=question).SerializeToString())
            return await asyncio.wait_for(future, _ANSWER_SECONDS)
        except TimeoutError as error:
            raise HostUnavailable(
                "The host of this instance did not answer in time. Try again later.", code="Unavailable"
            ) from error
        finally:
            self._questions.pop((host_id, question.id), None)

    async def send_host_addresses(self) -> None:
        """Write the addresses of all hosts for all hosts, if any has changed; to be called periodically."""
        moves = self._moves
        if moves > self._moves_sent:
            await self._database.run(lambda tx: host_networks.refresh_all(tx, self._cloud))
            self._moves_sent = moves

    def send_authorities(self) -> None:
        """Tell all hosts the authorities of now: those that have others renew their certificates."""
        self._feed.put_to_all(_encoded(self._throttle()))

    def is_certified(self, host_id: str) -> bool:
        """Tell whether a host has said to this controller that all it has uses certificates of these authorities."""
        return self._certified.get(host_id) == authorities_digest(self._authority.ca_pem)

    async def write_liveness(self) -> None:
        """Store which hosts live and how far they are; to be called periodically.

        A host whose stream is here may be another controller's by its row, which stored a Hello late, as after a pause:
        what only this one could ask it would be refused there. It says Hello again.
        """
        for host_id in await self._liveness.write(self._database):
            self._end_session(host_id)

    def _end_session(self, host_id: str) -> None:
        """End the session of a host, if it has one here: its agent connects again, or learns that it was removed."""
        stream = self._feed.find(host_id)
        if stream is not None:
            stream.end()

    def share(self, addresses: Sequence[str], *, serves: bool) -> None:
        """Tell all hosts of the controllers that they may use; without `serves` send them to the others.

        To be called when either has changed, on the event loop; an empty list tells nothing.
        """
        self._addresses, self._serves = tuple(addresses), serves
        if serves:
            self._feed.put_to_all(_encoded(self._throttle()))
        else:
            self._feed.end_all()

    def _throttle(self) -> pb.Throttle:
        return pb.Throttle(
            heartbeat_seconds=self._heartbeat_seconds,
            controllers=self._addresses,
            authorities=authorities_digest(self._authority.ca_pem),
        )

    def _begin(self, stream: Stream, hello: pb.Hello) -> None:
        """Send a host how often and where it is to call, unless it has heard that and is certified accordingly."""
        throttle = self._throttle()
        if hello.certified == throttle.authorities and hello.throttle == digest_of(throttle):
            self._certified[stream.host_id] = hello.certified
        else:
            stream.put(_encoded(throttle))

    async def Session(  # noqa: N802 - the name of the RPC
        self, request_iterator: AsyncIterator[pb.HostReport], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        """Serve one agent until either side ends; yields encoded HostUpdates.

        NOT_FOUND tells a host that it was removed: then it ends its guests. An unknown host keeps its guests: the
        database may have been restored from a backup, or be a new one.
        """
        host_id = await require_host(context)
        hello = await anext(aiter(request_iterator), None)
        if hello is None or not hello.HasField("hello"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be a Hello")
        if not self._serves:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _AWAY)
        taken, is_newer, session, unsettled = await self._hellos.run(
            (host_id, hello.hello, presented(context, host_id))
        )
        if taken is facts.Taken.REMOVED:
            await context.abort(grpc.StatusCode.NOT_FOUND, _REMOVED)
        if taken is facts.Taken.FORMER:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, FORMER)
        if taken is facts.Taken.UNKNOWN:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, _UNKNOWN)
        self._moves += taken is facts.Taken.MOVED
        self._liveness.seen(host_id)
        if not is_newer:
            self._first_reports.came(host_id)
        _log.info("host_connected", extra={"host": host_id, "revision": hello.hello.revision})
        stream = Stream(host_id, hello.hello.revision, hello.hello.desired_epoch, _known(hello.hello), session)
        stream.unsettled = unsettled
        self._begin(stream, hello.hello)
        await self._settle(stream, hello.hello.certified)
        await self.awaited.begin(stream, hello.hello)
        self._feed.join(stream)
        receiver = asyncio.create_task(self._receive(stream, request_iterator))
        try:
            async for update in stream.updates():
                yield update
        finally:
            receiver.cancel()
            self._feed.leave(stream)
            _log.info("host_disconnected", extra={"host": host_id})

    async def RenewCertificate(  # noqa: N802 - the name of the RPC
        self, request: pb.RenewCertificateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RenewCertificateResponse:
        """Sign another certificate for the calling host."""
        host_id = await require_present_host(context, self._database)
        ends = self._clock() + VALIDITY
        enrolment = await self._database.run(lambda tx: facts.renews(tx, host_id, ends))
        if enrolment is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, _REMOVED)
        certificate = self._authority.sign_host(request.csr_pem, host_id, enrolment)
        return pb.RenewCertificateResponse(certificate_pem=certificate, ca_pem=self._authority.ca_pem)

    async def AttachmentCredentials(  # noqa: N802 - the name of the RPC
        self, request: pb.AttachmentCredentialsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AttachmentCredentialsResponse:
        """Return what a guest's QEMU needs to reach the volume's home directly, to the host that has the attachment."""
        host_id = await require_present_host(context, self._database)
        volume_id, generation = request.volume_id, request.generation
        may = await self._database.run(
            lambda tx: attachment_rights.may_reach_home(tx, host_id, volume_id, generation), writes=False
        )
        if not may:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this host has no such attachment to another home")
        made = self._authority.issue_attachment(volume_id, generation, host_id)
        return pb.AttachmentCredentialsResponse(
            key_pem=made.key_pem, certificate_pem=made.certificate_pem, ca_pem=made.ca_pem
        )

    async def _receive(self, stream: Stream, incoming: AsyncIterator[pb.HostReport]) -> None:
        try:
            async for report in incoming:
                match report.WhichOneof("body"):
                    case "progress":
                        arrived = traces.now()
                        await self._progress(stream, report.progress)
                        if report.progress.traces:
                            record_report(stream.host_id, report.progress, arrived)
                        self._liveness.seen(stream.host_id, sent=stream.sent, reached=report.progress.revision)
                        self._reached(stream, report.progress.revision)
                    case "heartbeat":
                        beat = report.heartbeat
                        self._liveness.seen(stream.host_id, sent=stream.sent, reached=beat.revision, pools=beat.pools)
                        self._reached(stream, beat.revision)
                    case "answer":
                        self._liveness.seen(stream.host_id)
                        future = self._questions.get((stream.host_id, report.answer.id))
                        if future is not None and not future.done():
                            future.set_result(report.answer)
                    case "certified":
                        self._certified[stream.host_id] = report.certified.authorities
                        await self._settle(stream, report.certified.authorities)
                    case "measurements":
                        self._liveness.seen(stream.host_id)
                        storing = asyncio.create_task(self._store(stream, report.measurements))
                        self._storing.add(storing)
                        storing.add_done_callback(self._storing.discard)
        except grpc.RpcError:
            _log.info("host_stream_broke", extra={"host": stream.host_id})
        except SessionOver:
            _log.info("host_said_hello_again", extra={"host": stream.host_id})
        except Exception:  # the session ends, the agent says Hello again and reports all statuses again
            _log.exception("host_report_failed", extra={"host": stream.host_id})
        finally:
            stream.end()

    async def _settle(self, stream: Stream, certified: bytes) -> None:
        """Have no certificate of before a host enrolled again admitted, if all that runs there has one of these."""
        if stream.unsettled and certified == authorities_digest(self._authority.ca_pem):
            stream.unsettled = False
            await self._database.run(lambda tx: facts.settle_enrolment(tx, stream.host_id))

    async def _store(self, stream: Stream, measurements: pb.Measurements) -> None:
        """Store measurements, and say so; the host sends again what is not said to be stored."""
        try:
            if await self._measurements.take(stream.host_id, measurements):
                stream.put(pb.HostUpdate(stored=pb.Stored(number=measurements.number)).SerializeToString())
        except Exception:  # nothing waits for this task
            _log.exception("measurements_failed", extra={"host": stream.host_id})

    def _reached(self, stream: Stream, revision: int) -> None:
        """Store that a host has reported all that it has, if it is as far as what it was sent."""
        if revision >= stream.sent:
            self._first_reports.came(stream.host_id)

    async def _progress(self, stream: Stream, progress: pb.Progress) -> None:
        """Store the news in a report; most statuses only report that nothing is wrong."""
        news = [status for status in progress.statuses if reports.is_news(status, stream.failing)]
        if not news:
            return
        left_out = await self._reports.take(stream.host_id, news, stream.session)
        for status in news:
            if status.condition in reports.FAILURES or (status.kind, status.id) in left_out:
                stream.failing.add((status.kind, status.id))
            elif status.condition in (pb.CONDITION_READY, pb.CONDITION_ABSENT):
                stream.failing.discard((status.kind, status.id))

    def _take_facts(
        self, tx: Transaction, hellos: Sequence[tuple[str, pb.Hello, Presented]]
    ) -> list[tuple[facts.Taken, bool, int | None, bool]]:
        """Store hosts' facts; return of each how it is regarded, if it has what is unknown here, its session.

        At last whether it is still to say that all that runs on it has a certificate of after it enrolled again.
        """
        refused = former(tx, {(host_id, shown.begin) for host_id, _, shown in hellos})
        is_former = [(host_id, shown.begin) in refused for host_id, _, shown in hellos]
        present = [(host_id, hello) for (host_id, hello, _), is_it in zip(hellos, is_former, strict=True) if not is_it]
        found = iter(facts.take_facts(tx, present, self._cloud, self._clock(), self._database.id))
        taken = [facts.Taken.FORMER if is_it else next(found) for is_it in is_former]
        unsettled = [
            not is_it and facts.take_enrolment(tx, host_id, shown.begin, shown.enrolment)
            for (host_id, _, shown), is_it in zip(hellos, is_former, strict=True)
        ]
        here = epoch_of(tx)
        ahead = [is_ahead(tx, _known(hello), hello.desired_epoch, here=here) for _, hello, _ in hellos]
        tx.flush()
        sessions = facts.sessions(tx, {host_id for host_id, _ in present})
        return list(zip(taken, ahead, [sessions.get(host_id) for host_id, _, _ in hellos], unsettled, strict=True))

    def _committed(self, tx: Wakes) -> None:
        """Wake the feed when a transaction has changed desired state; called in the thread that committed."""
        for host_id in tx.removed_hosts:
            self._loop.call_soon_threadsafe(self._end_session, host_id)
        if tx.revision is not None:
            if tx.trace or tx.request:  # for the second time, unless another controller committed it
                self._feed.traced.note(tx)
            self._feed.committed(tx.revision, gathers=tx.gathers)


def _encoded(throttle: pb.Throttle) -> bytes:
    return pb.HostUpdate(throttle=throttle).SerializeToString()


def _known(hello: pb.Hello) -> int:
    """Return the last revision that a host has stored; an agent of an earlier release that asks for all says none."""
    return max(hello.revision, hello.known_revision)


def _additions(sealer: Sealer, sign: SignDocument | None) -> list[Addition]:
    """List what is added to machines as they are sent: identity documents, roles' secret keys, identity credentials."""
    open_session = partial(session_tokens.open_token, sealer)
    twin = partial(instance_credentials.without_token, sealer)
    mint = partial(instance_identity.credentials, sealer)
    made: list[Addition] = [
        partial(with_secret, open_session=open_session, mint_twin=twin),
        partial(with_session, mint=mint),
    ]
    return made if sign is None else [partial(signed, sign=sign), *made]


def serve(link: HostLink, server: grpc.aio.Server) -> None:
    """Add the `HostLink` and `Peers` services to a server; a session sends updates that are encoded already."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Session": grpc.stream_stream_rpc_method_handler(
            link.Session, request_deserializer=pb.HostReport.FromString, response_serializer=bytes
        ),
        "RenewCertificate": grpc.unary_unary_rpc_method_handler(
            link.RenewCertificate,
            request_deserializer=pb.RenewCertificateRequest.FromString,
            response_serializer=pb.RenewCertificateResponse.SerializeToString,
        ),
        "Console": grpc.stream_stream_rpc_method_handler(
            link.consoles.Console,
            request_deserializer=pb.ConsoleText.FromString,
            response_serializer=pb.ConsoleKeys.SerializeToString,
        ),
        "AttachmentCredentials": grpc.unary_unary_rpc_method_handler(
            link.AttachmentCredentials,
            request_deserializer=pb.AttachmentCredentialsRequest.FromString,
            response_serializer=pb.AttachmentCredentialsResponse.SerializeToString,
        ),
    }
    host_pb2_grpc.add_PeersServicer_to_server(PeerQuestions(link.ask_here), server)
    name = pb.DESCRIPTOR.services_by_name["HostLink"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
