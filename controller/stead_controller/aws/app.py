"""The AWS endpoint without its sockets: from a request to an answer through one visible chain.

    _choose_service → _authenticate → _parse → _throttle_account → _run

and _run does, inside one transaction, authorize → handler → refuse parameters that the handler did not read → write.

An error that a step raises is translated in one place, in `handle`. The answer is written inside the transaction: a
result that cannot be written is an internal error and changes nothing.
"""

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from stead_controller.aws import call_span
from stead_controller.aws.authenticate import KeyLookup, authenticate, begun_by
from stead_controller.aws.call import OPERATIONS, Call, Later, Operation, Params, Result, Then
from stead_controller.aws.call_record import CallRecord, OnCall
from stead_controller.aws.errors import translate
from stead_controller.aws.failed_logins import FailedLogins, counted_as
from stead_controller.aws.protocol import codec_for, wires
from stead_controller.aws.protocol.codec import Codec, Wire, WireError
from stead_controller.aws.protocol.compressed import opened
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import (
    SERVICES,
    SIGNING_NAMES,
    service_of_scope,
    service_of_target,
    service_of_version,
)
from stead_controller.aws.reading import Reading
from stead_controller.aws.signature import Claim, Reason, Refused, read_claim
from stead_controller.aws.throttle import Throttle
from stead_controller.aws.without_effect import refuse_unread
from stead_controller.clock import Clock, now
from stead_controller.errors import (
    BadRequest,
    NoCapacity,
    OutOfRoom,
    SteadError,
    TooManyRequests,
    Unsupported,
    WrongState,
)
from stead_controller.request.caller import NO_CALLER, Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.questions import Ask, HostAnswer, Question
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import spot_interruptions
from stead_proto import traces
from stead_proto.traces import Span

log = logging.getLogger(__name__)

LONGEST_WAIT: Final = 40.0
"""Seconds that a call may wait for its turn to write: SDKs wait a minute for an answer, and try three times in all."""
_RECORD_WEIGHT: Final = 2048
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
# Global services, and STS with its old global endpoint: clients sign for them with any region. The price list is at AWS
# in few regions only, so tools ask one of those whatever region they are for.
_GLOBAL: Final = frozenset({"iam", "pricing", "sts"})
_UNKNOWN: Final = "unknown"  # the service of a request that names none
_PAYLOADS: Final = frozenset({"BlockData", "Body"})  # contents, which are large and are not recorded
_COMPRESSIBLE: Final = frozenset({"cloudwatch"})  # services with operations whose requests may be compressed
_UNSIGNED_PAYLOAD_SERVICES: Final = frozenset({"ebs"})  # the body is a block with its own checksum


class Transactions(Protocol):
    """Runs operations in transactions; `db.session.Database` implements it."""

    async def run[T](
        self,
        function: Callable[[Transaction], T],
        *,
        writes: bool = True,
        dry_run: bool = False,
        within: float = math.inf,
    ) -> T:
        """Run `function` in a worker thread inside one transaction; commit unless it raises or `dry_run` is set.

        Raises Overloaded when it has not begun `within` so many seconds.
        """


class Authorizer(Protocol):
    """Decides whether a caller may do what it requests."""

    def authorize(self, call: Call, operation: Operation, params: Params) -> None:
        """Raise NotAuthorized to refuse; runs inside the call's transaction, before the operation."""


class DryRunOperation(SteadError):
    """The request would have succeeded; nothing was changed."""

    def __init__(self) -> None:
        """Set EC2's message."""
        super().__init__("Request would have succeeded, but DryRun flag is set.", code="DryRunOperation")


@dataclass(slots=True)
class Exchange:
    """A request on its way through the chain; each step adds its results.

    `service` is botocore's name for a service that Stead has, and the signing name for any other service.
    """

    request: Request
    request_id: str
    now: datetime
    service: str = "ec2"
    claim: Claim | None = None
    caller: Caller | None = None
    operation_name: str | None = None
    operation: Operation | None = None
    params: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    response: Response | None = None
    failure: Exception | None = None
    span: Span | None = None

    @property
    def has_codec(self) -> bool:
        """Whether Stead has the service."""
        return self.service in SERVICES

    @property
    def codec(self) -> Codec:
        """The codec of a service that Stead has."""
        return codec_for(self.service, self.request)

    @property
    def wire(self) -> Wire:
        """The protocol that the client speaks."""
        asked = wires.wire_of(self.request, self.service)
        return self.codec.wire if self.has_codec and asked not in (Wire.JSON, Wire.CBOR) else asked

    def named_operation(self) -> str | None:
        """Return the operation that a refused request names, if it names one."""
        if not self.has_codec or self.codec.wire is not self.wire:
            return wires.named_operation(self.request, self.wire)
        try:
            return self.codec.operation_name(self.request)
        except SteadError:
            return None

    def refuse(self, failure: Exception) -> WireError:
        """Make an error the answer, in the client's protocol."""
        wire = self.wire
        error = translate(failure, self.service, self.request_id, wire)
        if self.has_codec and self.codec.wire is wire:
            self.response = self.codec.write_error(error, self.request_id)
        else:
            self.response = wires.write_error(wire, error, self.request, self.request_id)
        return error


def _ignore(record: CallRecord) -> None:
    del record


def _always() -> None:
    """Allow every change."""


async def _at_once() -> None:
    """Let no change wait."""


async def _no_hosts(question: Question) -> HostAnswer:
    raise WrongState("instance", f"Nobody can be asked for a {type(question).__name__} here.")


class AwsApp:
    """Answers AWS requests."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        find_key: KeyLookup,
        cloud: Cloud,
        page_key: bytes,
        authorizer: Authorizer,
        ask: Ask = _no_hosts,
        on_call: OnCall = _ignore,
        require_room: Callable[[], None] = _always,
        require_room_for_deletion: Callable[[], None] = _always,
        until_hosts_reported: Callable[[], Awaitable[None]] = _at_once,
        throttle: Throttle | None = None,
        failed_logins: FailedLogins | None = None,
        any_region: bool = False,
        longest_wait: float = LONGEST_WAIT,
        clock: Clock = now,
        operations: Mapping[tuple[str, str], Operation] = OPERATIONS,
    ) -> None:
        """Take the dependencies; `page_key` seals NextTokens and is the same on all controllers of a cloud.

        With `any_region`, requests may be signed for any region. `require_room` is called before each change, and
        `require_room_for_deletion` before changes that free disk space; both raise OutOfRoom. EC2's changes wait for
        `until_hosts_reported`. A change that could not begin in `longest_wait` seconds is refused, for the database
        cannot follow; what follows it of the same call is not.
        Loads the models of the implemented services, so that no request has to wait for it.
        """
        self._transactions = transactions
        self._find_key = find_key
        self._cloud = cloud
        self._page_key = page_key
        self._authorizer = authorizer
        self._ask = ask
        self._on_call = on_call
        self._require_room = require_room
        self._require_room_for_deletion = require_room_for_deletion
        self._until_hosts_reported = until_hosts_reported
        self._throttle = throttle or Throttle(0)
        self._failed_logins = failed_logins or FailedLogins(0)
        self._any_region = any_region
        self._longest_wait = longest_wait
        self._clock = clock
        self._operations = operations
        self._chain: tuple[Callable[[Exchange], Awaitable[None]], ...] = (
            self._choose_service,
            self._authenticate,
            self._parse,
            self._throttle_account,
            self._run,
        )
        for service in sorted({"ec2"} | {service for service, _ in operations}):
            codec_for(service)

    async def handle(self, request: Request) -> Response:
        """Answer a request; never raises."""
        started = time.perf_counter()
        exchange = Exchange(request, str(uuid.uuid4()), self._clock(), span=call_span.begin(request))
        error: WireError | None = None
        try:
            for step in self._chain:
                await step(exchange)
        except Exception as raised:  # the end of the chain: whatever failed, the client gets an AWS error
            failure: Exception = raised
            if isinstance(raised, Refused):
                failure = self._failed_logins.failed(request.source, raised)
            exchange.failure = failure
            error = exchange.refuse(failure)
        response = exchange.response
        if response is None:
            raise AssertionError("the chain ended without an answer")
        try:
            await self._record(exchange, response, error, time.perf_counter() - started)
        except OutOfRoom as unrecorded:  # every answered caller must be in the audit log
            exchange.refuse(unrecorded)
            response = exchange.response or response
        response.headers["x-amzn-RequestId"] = exchange.request_id
        if exchange.span is not None:
            known = None if exchange.operation is None else (exchange.service, exchange.operation)
            code = error.code if error else None
            call_span.end(exchange.span, exchange.request_id, operation=known, status=response.status, error_code=code)
        return response

    async def _choose_service(self, exchange: Exchange) -> None:
        """Determine the service: from the credential scope, else from the form of the request."""
        try:
            claim = read_claim(exchange.request)
        except SteadError as error:
            exchange.service = _guess_service(exchange.request)
            if isinstance(error, Refused) and error.reason is Reason.MISSING and self._needs_no_signature(exchange):
                exchange.caller = NO_CALLER
                return
            raise
        exchange.service = service_of_scope(claim.service) or claim.service
        exchange.claim = claim

    def _needs_no_signature(self, exchange: Exchange) -> bool:
        operation = self._operations.get((exchange.service, exchange.named_operation() or ""))
        return operation is not None and not operation.signed

    async def _authenticate(self, exchange: Exchange) -> None:
        """Determine the caller, unless the operation does so itself."""
        if exchange.caller is NO_CALLER:
            return
        claim, source = exchange.claim, exchange.request.source
        if claim is None:
            raise AssertionError("no claim")
        self._failed_logins.check(source, claim.access_key_id)
        # For a service that Stead lacks, the body is not read: the signed hash of the body is used instead.
        declared = None if exchange.has_codec else exchange.request.header("x-amz-content-sha256")
        exchange.caller = await authenticate(
            exchange.request,
            claim,
            self._find_key,
            exchange.now,
            allow_unsigned_payload=exchange.service in _UNSIGNED_PAYLOAD_SERVICES,
            body_hash=declared,
        )
        self._failed_logins.welcome(source, claim.access_key_id)
        if exchange.service in _COMPRESSIBLE:  # the signature is of the body as it was sent
            exchange.request = opened(exchange.request)

    async def _parse(self, exchange: Exchange) -> None:
        """Determine the operation and its parameters."""
        claim, via = exchange.claim, exchange.request.via
        if via is not None and SIGNING_NAMES.get(via.service) != exchange.service:
            message = f"Credential should be scoped to correct service: '{via.service}'."
            raise Refused(Reason.SERVICE, message)
        is_here = self._any_region or exchange.service in _GLOBAL or claim is None or claim.region == self._cloud.region
        if exchange.has_codec and not is_here:
            message = f"Credential should be scoped to a valid region: this cloud's is '{self._cloud.region}'."
            raise Refused(Reason.REGION, message)
        if not exchange.has_codec:
            exchange.operation_name = exchange.named_operation()
            raise Unsupported(f"The service {exchange.service} is not supported by this cloud.")
        codec = exchange.codec
        if codec.wire is not exchange.wire:
            message = f"The protocol {exchange.wire.value} is not supported by this cloud for {exchange.service}."
            raise Unsupported(message)
        name = exchange.operation_name = codec.operation_name(exchange.request)
        operation = exchange.operation = self._operations.get((exchange.service, name))
        if operation is None:
            raise Unsupported(f"The operation {name} is not supported by this cloud.")
        exchange.params = codec.parse(name, exchange.request)

    async def _throttle_account(self, exchange: Exchange) -> None:
        """Throttle the account, before the transaction, which is the expensive part."""
        if exchange.caller is None or exchange.operation_name is None:
            raise AssertionError("no caller or operation")
        who = exchange.caller.account_id or counted_as(exchange.request.source)
        self._throttle.check(who, exchange.service, exchange.operation_name, exchange.params)
        if "TokenCode" in exchange.params:
            self._throttle.check_code(exchange.caller.principal_id or who)

    async def _run(self, exchange: Exchange) -> None:
        """Authorize, execute and write the answer in one transaction; a dry run does the same and is rolled back."""
        operation, caller = exchange.operation, exchange.caller
        if operation is None or caller is None:
            raise AssertionError("no operation or caller")
        codec = exchange.codec
        prepare = operation.prepare
        params = Reading(exchange.params)
        prepared = None if prepare is None else await asyncio.to_thread(prepare, params)

        def in_transaction(tx: Transaction) -> Response | Later | Then:
            call = self._call(exchange, caller, tx, prepared)
            with traces.within(transaction):
                with traces.span("authorize"):
                    self._authorizer.authorize(call, operation, exchange.params)
                result = operation.handler(call, params)
            refuse_unread(codec, operation.name, params)
            if isinstance(result, Later | Then):
                return result
            exchange.result = result
            return codec.write(operation.name, result, exchange.request_id)

        dry_run = exchange.params.get("DryRun") is True
        writes = operation.changes(exchange.params)
        if writes:
            (self._require_room_for_deletion if operation.makes_room else self._require_room)()
            if exchange.service == "ec2":
                await self._until_hosts_reported()
        try:
            with traces.within(exchange.span), traces.span("transaction", {"stead.writes": writes}) as transaction:
                run = self._transactions.run
                outcome = await run(in_transaction, writes=writes, dry_run=dry_run, within=self._longest_wait)
        except NoCapacity as refusal:
            if not dry_run:
                await self._interrupt(refusal, exchange.now)
            raise
        if dry_run:
            raise DryRunOperation
        if isinstance(outcome, Later):
            result = exchange.result = outcome.finish(await self._ask(outcome.question))
            outcome = codec.write(operation.name, result, exchange.request_id)
        elif isinstance(outcome, Then):
            answer, change = await self._ask(outcome.question), outcome.change

            def in_another(tx: Transaction) -> Response:
                result = exchange.result = change(self._call(exchange, caller, tx, prepared), answer)
                return codec.write(operation.name, result, exchange.request_id)

            outcome = await self._transactions.run(in_another)
        exchange.response = outcome

    async def _interrupt(self, refusal: NoCapacity, at: datetime) -> None:
        """Give notice to the Spot Instances that are to end for a launch that was refused, which undid its changes."""
        if refusal.ending:
            await self._transactions.run(lambda tx: spot_interruptions.begin(tx, refusal.ending, at))

    def _call(self, exchange: Exchange, caller: Caller, tx: Transaction, prepared: object) -> Call:
        if exchange.span is not None:
            tx.trace = exchange.span.traceparent
        tx.request = exchange.request_id
        return Call(
            caller=caller,
            tx=tx,
            cloud=self._cloud,
            request_id=exchange.request_id,
            now=exchange.now,
            source_ip=exchange.request.source_ip,
            user_agent=exchange.request.header("user-agent") or "",
            secure=exchange.request.secure,
            via=exchange.request.via,
            host=_host(exchange.request),
            page_key=self._page_key,
            prepared=prepared,
        )

    def refuse(self, request: Request, error: SteadError) -> Response:
        """Answer a request that could not be read, for example one with a body that is too large."""
        exchange = Exchange(request, str(uuid.uuid4()), self._clock(), _guess_service(request))
        exchange.refuse(error)
        response = exchange.response
        if response is None:
            raise AssertionError("a refusal without an answer")
        response.headers["x-amzn-RequestId"] = exchange.request_id
        return response

    async def _record(self, exchange: Exchange, response: Response, error: WireError | None, seconds: float) -> None:
        """Send the call's record to the observer, even without a known caller, and wait for it; raises OutOfRoom.

        Throttled unauthenticated requests are not recorded: they would displace the records of others.
        """
        is_known = exchange.claim is not None or isinstance(exchange.failure, Refused)
        if exchange.caller is None and (not is_known or isinstance(exchange.failure, TooManyRequests)):
            return
        request, caller = exchange.request, exchange.caller
        user_agent = request.header("user-agent") or ""
        if caller is NO_CALLER:
            caller = begun_by(exchange.params, exchange.result if error is None else None, exchange.now)
        body = request.body if exchange.service not in _UNSIGNED_PAYLOAD_SERVICES else b""
        record = CallRecord(
            request_id=exchange.request_id,
            event_id=str(uuid.uuid4()),
            time=exchange.now,
            service=exchange.service,
            operation=exchange.operation_name or exchange.named_operation(),
            caller=caller,
            access_key_id=exchange.claim.access_key_id if exchange.claim is not None else "",
            source_ip=request.source_ip,
            user_agent=user_agent,
            status=response.status,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            seconds=seconds,
            weight=_RECORD_WEIGHT + len(user_agent) + len(body) + len(response.body),
            params={name: value for name, value in exchange.params.items() if name not in _PAYLOADS},
            result=exchange.result if error is None else None,
            owner_id=_owner(exchange),
            endpoint_id=exchange.request.via.endpoint_id if exchange.request.via else "",
            has_changed=error is None
            and exchange.operation is not None
            and exchange.operation.changes(exchange.params),
        )
        try:
            if (noting := self._on_call(record)) is not None:
                await noting
        except OutOfRoom:
            raise
        except Exception:  # an error of the observer must not affect the answer
            log.exception("call_record_failed", extra={"request_id": exchange.request_id})


def _owner(exchange: Exchange) -> str:
    """Return the account of the role that AssumeRole names; empty for other calls, which use the caller's account."""
    if (exchange.service, exchange.operation_name) != ("sts", "AssumeRole"):
        return ""
    parts = str(exchange.params.get("RoleArn", "")).split(":")
    return parts[4] if len(parts) > 4 else ""


def _host(request: Request) -> str:
    """Return the signed Host header of the request; empty if it is not a valid address."""
    text = request.header("host") or ""
    return text if _HOST.match(text) else ""


def _guess_service(request: Request) -> str:
    """Guess the service of a request without a valid claim: by what it names, else EC2 at `/` and none elsewhere."""
    scope = wires.named_service(request)
    if scope:
        return service_of_scope(scope) or scope
    target = wires.named_target(request)
    if target:
        return service_of_target(target) or _UNKNOWN
    try:
        version = request.fields.get("Version", "")
    except BadRequest:
        version = ""
    found = service_of_version(version)
    return found or ("ec2" if request.path in ("", "/") else _UNKNOWN)
