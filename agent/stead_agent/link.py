"""The agent's end of the one stream to the controller: receives the desired state, sends statuses.

    dial -> Hello -> [state -> desired, stored -> reconciler]*   (receiving)
                     [news -> Progress, quiet -> Heartbeat]*     (sending)
                     [question -> thread -> Answer]*             (asking)

Any error of the network or of ours ends a session, since Hello and the repetition of all statuses synchronise both
sides again. Then the next controller address is dialled: quickly at first, so that a restarted controller has its
hosts back soon (`channels.py`), and less often when it stays away. Where there are several, one that answers no ping
for a second is left for the next one, since its machine may be lost or paused.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import grpc

from stead_agent import console_session, enrol, questions
from stead_agent.channels import Channels
from stead_agent.controllers import Controllers
from stead_agent.desired import StoreError
from stead_agent.logs import Log
from stead_agent.metrics.outgoing import Outgoing
from stead_agent.reconcile.loop import Reconciler
from stead_agent.traced import TracedChanges
from stead_agent.wanted import Key, OtherEpochError, after_removal
from stead_proto import limits, tls
from stead_proto.digests import digest_of
from stead_proto.tls import Identity
from stead_proto.v1 import host_pb2, host_pb2_grpc
from stead_proto.v1.host_pb2 import HostReport, HostUpdate

_log = Log(__name__)

_SEVERAL: Final = "there are several controllers now, and this session would notice late that its own is gone"
_QUICK_SECONDS: Final = 60.0  # after the last session, dialling stays quick for so long
_QUICK_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_SURELY_READ_SECONDS: Final = 60.0  # the controller has read a report if the session still lives after this time
_UNSTORED_SECONDS: Final = 20.0  # after which measurements are sent again that the controller has not stored
_FETCH_SECONDS: Final = 60.0  # for the next piece of an image


class HostView(Protocol):
    """What the link must know of the host besides the reconciler."""

    def facts(self) -> host_pb2.HostFacts:
        """What the host is, as of now; may block."""

    def disk_free(self) -> int:
        """Bytes free for guests' disks; may block."""

    def pools(self) -> list[host_pb2.StoragePool]:
        """The storage pools, as of now; may block."""


@dataclass(frozen=True, slots=True)
class Dialling:
    """The controllers to connect to, and the identity to use."""

    controllers: Controllers
    identity: Callable[[], Identity]  # read again for each session: it may have been renewed
    version: str
    state_dir: Path | None = None  # where a renewed certificate is stored; None: it is not renewed


class Link:
    """Maintains a session with a controller; belongs to the event loop it is run on."""

    def __init__(
        self,
        dialling: Dialling,
        reconciler: Reconciler,
        host: HostView,
        news: asyncio.Event,
        measurements: Outgoing,
        *,
        threads: concurrent.futures.Executor | None = None,
        repair: Callable[[], Awaitable[host_pb2.Repaired]] | None = None,
        renew_uses: Callable[[bytes], bool] = lambda _authorities: True,
        traced: TracedChanges,
    ) -> None:
        """Report when `news` is set, send `measurements`, and answer questions.

        That is in `threads`, or without them on the event loop (simulation). `repair` makes the host as it is wanted;
        `renew_uses` has all use the certificate that came with these authorities, and tells whether all do; may block.
        """
        self._repair = repair
        self._renew_uses = renew_uses
        self._traced = traced
        self._renewing: enrol.Renewing | None = None
        self._dialling = dialling
        self._reconciler = reconciler
        self._host = host
        self._threads = threads
        self._news = news
        self._measurements = measurements
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stub: host_pb2_grpc.HostLinkAsyncStub | None = None
        self._channels = Channels()
        self._random = random.Random()
        self._heartbeat_seconds = float(limits.HEARTBEAT_SECONDS)
        self._throttle = b""  # the digest of the last one
        self._certified = (b"", b"")  # the authorities that a controller was told, and with which certificate
        self._last_session = time.monotonic()  # as if there had been one: a new agent may expect a controller soon
        self._asking = asyncio.Semaphore(limits.QUESTIONS_AT_ONCE)
        self._consoles: set[asyncio.Task[None]] = set()
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Connect, and reconnect, until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._connect_again_and_again()
        finally:
            await self._channels.close()

    async def _connect_again_and_again(self) -> None:
        failures = 0
        address = self._random.choice(self._dialling.controllers)  # so that hosts are shared evenly
        while True:
            began = time.monotonic()
            reason = await self._session(address)
            failures = 0 if self._last_session >= began else failures + 1
            pause = self._pause(failures)
            say = _log.info if failures <= 1 else _log.debug
            say("controller_away", controller=address, reason=reason, retry_seconds=round(pause, 2))
            if reason == _SEVERAL:  # each may have its share
                address = self._random.choice(self._dialling.controllers)
            else:
                address = self._dialling.controllers.after(address)
            await self._channels.wait(address, pause, alone=len(self._dialling.controllers) == 1)

    @property
    def _is_quick(self) -> bool:
        return time.monotonic() - self._last_session < _QUICK_SECONDS

    def _pause(self, failures: int) -> float:
        """Return how long to wait before the next try, randomised so that a thousand hosts do not connect at once."""
        longest = _QUICK_PAUSE if self._is_quick else _LONGEST_PAUSE
        return min(longest, 0.1 * 2.0 ** min(failures, 10)) * self._random.uniform(0.5, 1.0)

    # -- one session

    async def _session(self, address: str) -> str:
        """Hold one session until it ends and return why it ended."""
        try:
            identity = await self._in_thread(self._dialling.identity)
            watchful = len(self._dialling.controllers) > 1  # then another one is waiting
            channel, patience = await self._channels.to(address, identity, watchful=watchful)
            try:
                await self._talk(channel, identity, address, watchful=watchful, patience=patience)
                if not watchful and len(self._dialling.controllers) > 1:
                    return _SEVERAL
            finally:
                keep = self._is_quick or self.connected.is_set()
                await self._channels.give_back(address, identity, channel, keep=keep)
        except Exception as error:  # no error may end the link: a new session synchronises both sides
            if _says_removed(error):
                await self._give_up()
            return _reason_of(error)
        finally:
            self._stub = None
            if self.connected.is_set():
                self._last_session = time.monotonic()
                self.connected.clear()
        return "the controller ended the session"

    async def _give_up(self) -> None:
        """Remove guests and their networks: the cloud has removed this host, and assigns their addresses to others."""
        state = after_removal(self._reconciler.wanted)
        if state is not None:
            _log.warning("removed_from_the_cloud", kept=len(state.resources))
            await self._reconciler.apply(state)

    async def _talk(
        self, channel: grpc.aio.Channel, identity: Identity, address: str, *, watchful: bool, patience: float
    ) -> None:
        """Talk until the controller ends it, or there is another one and this channel is not `watchful`."""
        stub = host_pb2_grpc.HostLinkStub(channel)
        call = stub.Session(wait_for_ready=patience > 0)
        outgoing = _Outgoing(call)
        hello = HostReport(hello=await self._hello(identity))
        try:
            async with asyncio.timeout(patience or None):
                await outgoing.write(hello)
        except TimeoutError as error:
            await channel.close()  # the next try is on another one, and tells its reason
            raise ConnectionError(f"no connection for {patience:.1f} s") from error
        self._stub = stub  # the first state may name images, which are fetched at once
        async with asyncio.TaskGroup() as tasks:
            helpers = []
            if self._dialling.state_dir is not None:
                self._renewing = self._new_renewing(channel, identity, self._dialling.state_dir, outgoing)
                helpers.append(tasks.create_task(self._renewing.run()))
            async for update in call:
                first = await self._take(update, outgoing, tasks)
                if first:
                    await self._channels.close()
                    helpers.append(tasks.create_task(self._report(outgoing)))
                    helpers.append(tasks.create_task(self._send_measurements(outgoing)))
                    self._begun(address, identity)
                if not watchful and len(self._dialling.controllers) > 1:
                    break
            for helper in (*helpers, *self._consoles):
                helper.cancel()

    def _new_renewing(
        self, channel: grpc.aio.Channel, identity: Identity, state_dir: Path, outgoing: "_Outgoing"
    ) -> enrol.Renewing:
        async def is_used(authorities: bytes) -> bool:
            return await self._in_thread(partial(self._renew_uses, authorities))

        async def tell(authorities: bytes) -> None:
            await outgoing.write(HostReport(certified=host_pb2.Certified(authorities=authorities)))
            self._certified = authorities, identity.certificate_pem

        return enrol.Renewing(channel, identity, state_dir, is_used=is_used, tell=tell)

    async def _hello(self, identity: Identity) -> host_pb2.Hello:
        wanted = self._reconciler.wanted
        certified, certificate = self._certified
        return host_pb2.Hello(
            # If an agent did not know some kinds of resources, the next one, perhaps newer, asks for all again.
            revision=0 if wanted.is_partial else wanted.revision,
            known_revision=wanted.revision,
            desired_epoch=wanted.epoch,
            agent_version=self._dialling.version,
            facts=await self._in_thread(self._host.facts),
            throttle=self._throttle,
            certified=certified if certificate == identity.certificate_pem else b"",
            has_former=await self._in_thread(self._has_former),
        )

    def _has_former(self) -> bool:
        folder = self._dialling.state_dir
        return folder is not None and enrol.former_identity(folder) is not None

    def _begun(self, address: str, identity: Identity) -> None:
        """The controller has answered our Hello."""
        self.connected.set()
        self._reconciler.controller_answered(identity.authorities)
        _log.info("controller_connected", controller=address, revision=self._reconciler.wanted.revision)

    async def _take(self, update: HostUpdate, outgoing: "_Outgoing", tasks: asyncio.TaskGroup) -> bool:
        """Handle one message; tell whether it was the state that answers our Hello."""
        match update.WhichOneof("body"):
            case "state":
                first = not self.connected.is_set()
                with self._traced.taking(update.state):
                    await self._reconciler.apply(update.state, answers_hello=first)
                return first
            case "question":
                if update.question.HasField("console"):
                    session = tasks.create_task(self._console(update.question, outgoing))
                    self._consoles.add(session)
                    session.add_done_callback(self._consoles.discard)
                else:
                    tasks.create_task(self._answer(update.question, outgoing))
            case "throttle":
                self._throttle = digest_of(update.throttle)
                self._heartbeat_seconds = float(max(1, update.throttle.heartbeat_seconds))
                if self._dialling.controllers.learn(update.throttle.controllers):
                    _log.info("controllers_told", controllers=list(self._dialling.controllers))
                if self._renewing is not None:
                    self._renewing.want(update.throttle.authorities)
            case "awaited":
                self._reconciler.await_hosts(update.awaited.host_ids)
            case "stored":
                self._measurements.stored(update.stored.number)
            case _:
                _log.warning("unknown_update")
        return False

    # -- reporting

    async def _report(self, outgoing: "_Outgoing") -> None:
        """Send new statuses at once, and a heartbeat when there are none.

        Begins after the state that answers our Hello: only then do both sides mean the same by a revision.
        """
        reports = self._reconciler.reports
        reports.resend_all()
        sent: deque[tuple[float, list[tuple[Key, int]]]] = deque()
        while True:
            self._news.clear()
            while reports.has_news():
                statuses = reports.take()
                revision = reports.reached(self._reconciler.wanted.revision)
                progress = host_pb2.Progress(
                    revision=revision, statuses=statuses, traces=self._traced.reported(statuses)
                )
                await outgoing.write(HostReport(progress=progress))
                gone = [each for each in statuses if each.condition == host_pb2.CONDITION_ABSENT]
                if gone:
                    now = time.monotonic()
                    sent.append((now, [(Key(each.kind, each.id), each.revision) for each in gone]))
            while sent and time.monotonic() - sent[0][0] > _SURELY_READ_SECONDS:
                self._reconciler.drop_tombstones(sent.popleft()[1])
            quiet = self._heartbeat_seconds - (time.monotonic() - outgoing.last_sent)
            try:
                async with asyncio.timeout(max(0.0, quiet)):
                    await self._news.wait()
            except TimeoutError:
                free = await self._in_thread(self._host.disk_free)
                pools = await self._in_thread(self._host.pools)
                reached = reports.reached(self._reconciler.wanted.revision)
                beat = host_pb2.Heartbeat(revision=reached, disk_free=free, pools=pools)
                await outgoing.write(HostReport(heartbeat=beat))

    async def _send_measurements(self, outgoing: "_Outgoing") -> None:
        """Send one message after the other, each again until the controller has stored it."""
        sent, again_at = 0, 0.0
        while True:
            message = self._measurements.first()
            if message is not None and (message.number != sent or time.monotonic() >= again_at):
                sent, again_at = message.number, time.monotonic() + _UNSTORED_SECONDS
                await outgoing.write(HostReport(measurements=message))
            with contextlib.suppress(TimeoutError):  # then it is sent again
                async with asyncio.timeout(None if message is None else max(0.0, again_at - time.monotonic())):
                    await self._measurements.has_more.wait()

    async def _answer(self, question: host_pb2.Question, outgoing: "_Outgoing") -> None:
        async with self._asking:
            parts = self._reconciler.parts
            if question.HasField("repair") and self._repair is not None:
                answer = questions.repaired(question, await self._repair())
            else:
                answer = await self._in_thread(partial(questions.answer, question, parts))
        await outgoing.write(HostReport(answer=answer))

    async def _console(self, question: host_pb2.Question, outgoing: "_Outgoing") -> None:
        """Open a guest's serial port, say so, and serve the session until it ends."""
        parts, stub = self._reconciler.parts, self._stub
        answer, terminal = await self._in_thread(partial(questions.open_console, question, parts))
        try:
            await outgoing.write(HostReport(answer=answer))
        except BaseException:
            if terminal is not None:
                os.close(terminal)
            raise
        if terminal is not None and stub is not None:
            await console_session.serve(stub, question.console.session_id, terminal)

    async def _in_thread[T](self, ask: Callable[[], T]) -> T:
        """Call something that may block."""
        if self._threads is None:
            return ask()
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)


class _Outgoing:
    """The sending half of a session: one message at a time, from any task."""

    def __init__(self, call: "grpc.aio.StreamStreamCall[HostReport, HostUpdate]") -> None:
        self._call = call
        self._lock = asyncio.Lock()
        self.last_sent = time.monotonic()

    async def write(self, report: HostReport) -> None:
        """Send; returns when gRPC has accepted the message, which takes longer when the controller is slow.

        Raises ConnectionError when the controller has just ended the call, which gRPC itself reports as a misuse by us.
        """
        async with self._lock:
            self.last_sent = time.monotonic()
            try:
                await self._call.write(report)
            except asyncio.InvalidStateError as error:
                if not self._call.done():
                    raise
                raise ConnectionError(f"{(await self._call.code()).name}: {await self._call.details()}") from error


def _says_removed(error: BaseException) -> bool:
    """Tell whether a session ended because the controller, which is authenticated, no longer knows this host."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_says_removed, error.exceptions))
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.NOT_FOUND


def _reason_of(error: BaseException) -> str:
    """Return why a session ended; unexpected errors are logged with their stack."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_reason_of(each) for each in error.exceptions))
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    if not isinstance(error, OtherEpochError | StoreError | tls.NoIdentityError | OSError):
        _log.error("session_broke", error=error)
    return str(error) or repr(error)
