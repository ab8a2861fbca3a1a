"""The object store's endpoint: from an HTTP request to an answer through one visible chain.

    _look_at_origin → _authenticate → _locate → _throttle_account → _authorize
    → answered here, or forwarded to the server behind

Nothing of a body is read before the request is allowed, unless a policy asks what a short document says. What a step
raises is translated once, in `serve`.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from stead_controller.aws.app import Transactions
from stead_controller.aws.authenticate import NOBODYS_SECRET, KeyLookup, find_signer, require_signer
from stead_controller.aws.call_record import CallRecord, OnCall
from stead_controller.aws.failed_logins import FailedLogins, counted_as
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import S3, UNSIGNED_PAYLOAD, Reason, Refused, check_time, read_claim
from stead_controller.aws.throttle import Throttle
from stead_controller.clock import Clock, now
from stead_controller.errors import BadRequest, NotFound, OutOfRoom, SteadError, TooManyRequests, Unavailable
from stead_controller.object_store import (
    addressing,
    answers,
    browsers,
    control,
    emptied_prefixes,
    object_attributes,
    presigned_v2,
    recording,
    signed_url,
    tagging,
    upload_size,
    versions,
)
from stead_controller.object_store.access import Rights
from stead_controller.object_store.authorization import Authorization, is_absence
from stead_controller.object_store.backend import Backend, BackendError
from stead_controller.object_store.bucket_operations import HANDLERS
from stead_controller.object_store.concurrency_limit import AtOnce
from stead_controller.object_store.exchange import Answer, Exchange, Means
from stead_controller.object_store.forwarding import BackendRefusal, common_headers, forward
from stead_controller.object_store.headers import check_headers
from stead_controller.object_store.operations import SUBRESOURCES, check_fields, find_operation
from stead_controller.object_store.payload import Payload, declared_hash

log = logging.getLogger(__name__)

_SCOPES: Final = ("/s3/aws4_request", "%2Fs3%2Faws4_request", "%2fs3%2faws4_request")
_ANONYMOUS_METHODS: Final = frozenset({"GET", "HEAD"})
_ANONYMOUS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_RECORD_WEIGHT: Final = 2048
_PREFIXES: Final = ("prefix", "marker", "start-after", "key-marker")
_MAKING: Final = frozenset({"PUT", "POST"})
_CHANGING: Final = _MAKING | {"DELETE"}
_TOKENS: Final = ("uploadId", "versionId", "upload-id-marker", "version-id-marker")
_NUMBERS: Final = ("max-keys", "max-uploads", "max-parts", "partNumber", "part-number-marker")

_REASONS: Final[dict[Reason, str]] = {
    Reason.INCOMPLETE: "AuthorizationHeaderMalformed",
    Reason.UNKNOWN_KEY: "InvalidAccessKeyId",
    Reason.MISMATCH: "SignatureDoesNotMatch",
    Reason.EXPIRED: "RequestTimeTooSkewed",
    Reason.TOKEN_EXPIRED: "ExpiredToken",
}


def _ignore(record: CallRecord) -> None:
    del record


def _always() -> None:
    """Allow every change."""


class ObjectStoreHandler:
    """Answers S3's requests; `domain` is what may follow a bucket's name in the Host header."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        find_key: KeyLookup,
        backend: Backend,
        region: str,
        domain: str | tuple[str, ...] = "",
        rights: Rights,
        on_call: OnCall = _ignore,
        require_room: Callable[[], None] = _always,
        throttle: Throttle | None = None,
        failed_logins: FailedLogins | None = None,
        clock: Clock = now,
    ) -> None:
        """Take the dependencies."""
        self._transactions = transactions
        self._find_key = find_key
        self._means = Means(transactions, backend, region)
        self._domain = domain
        self._authorization = Authorization(self._means, rights)
        self._at_once = AtOnce()
        self._on_call = on_call
        self._require_room = require_room
        self._throttle = throttle or Throttle(0)
        self._failed_logins = failed_logins or FailedLogins(0)
        self._clock = clock
        self._chain: tuple[Callable[[Exchange], Awaitable[None]], ...] = (
            self._look_at_origin,
            self._authenticate,
            self._locate,
            self._throttle_account,
            self._authorize,
        )

    async def close(self) -> None:
        """Close the connections to the server behind."""
        await self._means.backend.close()

    def takes(self, request: Request) -> bool:
        """Tell whether a request is signed for S3, or is unsigned and names a bucket: other APIs have no such paths."""
        if presigned_v2.is_one(request):
            return True
        signed = request.header("authorization")
        if signed is None and "X-Amz-Credential=" not in request.query:
            has_name = request.path not in ("", "/") or addressing.bucket_of_host(
                request.header("host") or "", self._domain
            )
            return bool(has_name) and request.method in _ANONYMOUS
        text = signed if signed is not None else request.query
        return any(scope in text for scope in _SCOPES)

    async def serve(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        """Answer a request; never raises an error that a client can cause."""
        started = time.perf_counter()
        exchange = Exchange(http, request, uuid.uuid4().hex[:16].upper(), self._clock())
        code = message = None
        is_noise = False
        try:
            answer = await self._run(exchange)
        except Exception as error:  # the end of the chain: whatever failed, the client gets an S3 error
            failure: Exception = error
            if exchange.caller is None:
                is_noise = request.method == browsers.ASKING or isinstance(error, TooManyRequests)
                if isinstance(error, SteadError) and not isinstance(error, Unavailable) and not is_noise:
                    failure = self._failed_logins.failed(request.source, error)
                    is_noise = isinstance(failure, TooManyRequests)
            answer, code, message = self._refusal(exchange, failure)
        finally:
            if exchange.entered:
                self._at_once.leave(exchange.entered)
        response = _respond(exchange, answer) if isinstance(answer, Answer) else answer
        if not is_noise and request.method != browsers.ASKING:
            # Throttled unauthenticated requests are not recorded: they would displace other records.
            try:
                await self._record(exchange, response, code, message, time.perf_counter() - started)
            except OutOfRoom as unrecorded:
                if not response.prepared:  # an answer that was already sent cannot be replaced
                    response = _respond(exchange, self._refusal(exchange, unrecorded)[0])
        return response

    def _refusal(self, exchange: Exchange, failure: Exception) -> tuple[Answer, str, str]:
        """Return the answer for a failure, with its code and message."""
        request = exchange.request
        status, code, message = _translate(failure, exchange)
        path = unquote_to_bytes(request.path).decode("utf-8", "replace")
        body = answers.write_error(code, message, path, exchange.request_id)
        return Answer(status, answers.wrapped_error(body) if control.is_one(request) else body), code, message

    async def _run(self, exchange: Exchange) -> web.StreamResponse | Answer:
        """Pass a request through the chain; a CORS preflight request is not an S3 operation."""
        if exchange.request.method == browsers.ASKING:
            self._throttle.check(counted_as(exchange.request.source), "s3", "GetObject", {})
            await self._look_at_origin(exchange)
            return browsers.answer(exchange)
        for step in self._chain:
            await step(exchange)
        if exchange.request.method in _MAKING:
            self._require_room()
        return await self._answer_or_hide(exchange)

    async def _look_at_origin(self, exchange: Exchange) -> None:
        """Determine which parts of the answer, even of an error, a browser shows to a cross-origin page."""
        await browsers.look_up(exchange, self._means, self._domain)

    async def _authenticate(self, exchange: Exchange) -> None:
        """Determine the caller, and how the body must be checked: the signature covers that."""
        if presigned_v2.is_one(exchange.request):
            await self._authenticate_v2(exchange)
            return
        try:
            claim = exchange.claim = read_claim(exchange.request)
        except Refused as refusal:
            if refusal.reason is not Reason.MISSING or exchange.request.method not in _ANONYMOUS_METHODS:
                raise
            self._failed_logins.check(exchange.request.source, "")
            exchange.is_anonymous = True  # it may read what a bucket's policy allows everyone to read
            return
        self._failed_logins.check(exchange.request.source, claim.access_key_id)
        if claim.service != S3:  # whose signature would cover a differently encoded path
            raise Refused(Reason.INCOMPLETE, "Credential should be scoped to correct service: 's3'.")
        if claim.presigned and claim.expires is None:
            raise Refused(Reason.INCOMPLETE, "AWS query-string parameters must include 'X-Amz-Expires'.")
        declared = declared_hash(exchange.request, claim)
        signer = await find_signer(exchange.request, claim, self._find_key, exchange.now, body_hash=declared)
        exchange.caller = signer.caller
        self._failed_logins.welcome(exchange.request.source, claim.access_key_id)
        exchange.payload = Payload(exchange.request, claim, signer.secret, declared)
        if claim.presigned:
            exchange.request = signed_url.with_headers(exchange.request)

    async def _authenticate_v2(self, exchange: Exchange) -> None:
        """Determine who made a URL of Signature Version 2."""
        exchange.is_version_2 = True
        claim = exchange.claim = presigned_v2.read_claim(exchange.request)
        presigned_v2.check_coverage(exchange.request, SUBRESOURCES)
        self._failed_logins.check(exchange.request.source, claim.access_key_id)
        check_time(claim, exchange.now)
        found = await self._find_key(claim.access_key_id, claim.session_token)
        secret = found.secret if found else NOBODYS_SECRET
        bucket = addressing.bucket_of_host(exchange.request.header("host") or "", self._domain)
        is_genuine = presigned_v2.is_signed_with(exchange.request, claim, secret, bucket)
        exchange.caller = require_signer(found, claim.session_token, is_genuine=is_genuine, now=exchange.now).caller
        self._failed_logins.welcome(exchange.request.source, claim.access_key_id)
        exchange.payload = Payload(exchange.request, claim, secret, UNSIGNED_PAYLOAD)

    async def _locate(self, exchange: Exchange) -> None:
        """Determine the operation, and its bucket or object."""
        request = exchange.request
        if control.is_one(request):
            control.locate(exchange)
            return
        host = request.header("host") or ""
        exchange.address = addressing.read_address(host, request.path, self._domain)
        exchange.query = dict(request.query_fields)
        if len(exchange.query) != len(request.query_fields):
            raise BadRequest("A query parameter is given twice.", code="InvalidArgument")
        copies = request.header("x-amz-copy-source") is not None
        operation = find_operation(request.method, exchange.address, exchange.query.keys(), copies=copies)
        exchange.operation = operation
        check_headers(operation, {name: request.header_values(name) for name in request.header_names()})
        check_fields(operation, exchange.query)
        _check_query(exchange.query)
        tags = request.header(tagging.HEADER)
        exchange.tagging = None if tags is None else tagging.of_header(tags)

    async def _throttle_account(self, exchange: Exchange) -> None:
        """Throttle the account, before anything is looked up or forwarded."""
        who = exchange.asked.account_id or counted_as(exchange.request.source)
        if exchange.operation is not None:
            self._throttle.check(who, "s3", exchange.operation.name, {})
        self._at_once.enter(who)
        exchange.entered = who

    async def _authorize(self, exchange: Exchange) -> None:
        """Check that the caller is allowed, by its own policies and the bucket's, read in one transaction."""
        await self._authorization.decide(exchange)

    async def _answer(self, exchange: Exchange) -> web.StreamResponse | Answer:
        operation = exchange.operation
        assert operation is not None
        if exchange.is_control:
            return await control.answer(exchange, self._means)
        await self._check_versions(exchange)
        if operation.is_answered_here:
            return await HANDLERS[operation.name](exchange, self._means)
        if operation.name == "CompleteMultipartUpload":
            await upload_size.check(exchange, self._means.backend)
        answer = await forward(exchange, operation, self._means)
        if operation.name == "GetObjectAttributes" and isinstance(answer, Answer):
            return await object_attributes.with_checksum(exchange, self._means.backend, answer)
        if operation.name in emptied_prefixes.LISTINGS and isinstance(answer, Answer):
            return await emptied_prefixes.without(exchange, self._means.backend, answer)
        return answer

    async def _check_versions(self, exchange: Exchange) -> None:
        """Raise BadRequest if a version of an object or copy source is named in a bucket that never had versions."""
        backend = self._means.backend
        if exchange.bucket is not None:
            await versions.check(backend, exchange.bucket, exchange.query.get("versionId", ""))
        if exchange.source_bucket is not None:
            _, _, version = exchange.source.partition("?versionId=")
            await versions.check(backend, exchange.source_bucket, version)

    async def _answer_or_hide(self, exchange: Exchange) -> web.StreamResponse | Answer:
        """Answer; only callers that may list objects learn that an object does not exist."""
        try:
            return await self._answer(exchange)
        except (BackendRefusal, NotFound) as error:
            if is_absence(error):
                self._authorization.hide_absence(exchange)
            raise

    async def _record(
        self, exchange: Exchange, response: web.StreamResponse, code: str | None, message: str | None, seconds: float
    ) -> None:
        """Send the call's record to the observer, whoever called, and wait for it; raises OutOfRoom."""
        if exchange.operation is None:  # refused before the operation was determined
            with contextlib.suppress(SteadError):
                await self._locate(exchange)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            exchange.sent = len(response.body)
        user_agent = exchange.request.header("user-agent") or ""
        record = CallRecord(
            request_id=exchange.request_id,
            event_id=str(uuid.uuid4()),
            time=exchange.now,
            service="s3",
            operation=exchange.operation_name or None,
            caller=exchange.caller,
            access_key_id=exchange.claim.access_key_id if exchange.claim else "",
            source_ip=exchange.request.source_ip,
            user_agent=user_agent,
            status=response.status,
            error_code=code,
            error_message=message,
            seconds=seconds,
            weight=_RECORD_WEIGHT + len(user_agent) + min(len(exchange.content or b""), recording.MOST_DOCUMENT),
            params=recording.asked(exchange),
            result=None if code is not None else recording.answered(response.headers),
            additional=recording.additional(exchange),
            owner_id=_owner_of(exchange, has_failed=code is not None),
            endpoint_id=exchange.request.via.endpoint_id if exchange.request.via else "",
            has_changed=code is None and exchange.request.method in _CHANGING,
        )
        try:
            if (noting := self._on_call(record)) is not None:
                await noting
        except OutOfRoom:
            raise
        except Exception:  # an error of the observer must not affect the answer
            log.exception("call_record_failed", extra={"request_id": exchange.request_id})


def _owner_of(exchange: Exchange, *, has_failed: bool) -> str:
    """Return the account of the bucket that was used or made; empty for none."""
    if exchange.bucket is not None:
        return exchange.bucket.account_id
    has_made = exchange.operation_name == "CreateBucket" and exchange.caller is not None and not has_failed
    return exchange.asked.account_id if has_made else ""


def _check_query(query: Mapping[str, str]) -> None:
    """Raise BadRequest for values that could act as a path out of the bucket, or that are not numbers."""
    for name in _PREFIXES:
        addressing.check_prefix(name, query.get(name, ""))
    for name in _TOKENS:
        addressing.check_token(name, query.get(name, ""))
        if "/" in query.get(name, ""):
            raise BadRequest(f"The {name} is not valid.", code="InvalidArgument")
    for name in _NUMBERS:
        text = query.get(name, "0")
        if text and not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise BadRequest(f"Argument {name} must be an integer", code="InvalidArgument")
    addressing.check_prefix("continuation-token", query.get("continuation-token", ""))


def _translate(error: Exception, exchange: Exchange) -> tuple[int, str, str]:
    """Return status, code and message for an error that a step has raised."""
    if isinstance(error, BackendRefusal):
        return error.status, error.code, error.message
    if isinstance(error, Refused):
        if error.reason is Reason.MISSING:
            return answers.STATUSES["AccessDenied"], "AccessDenied", "Access Denied"
        code = _REASONS[error.reason]
        if exchange.request.header("authorization") is None and code.startswith("Auth"):
            code = "AuthorizationQueryParametersError"
        if error.reason is Reason.EXPIRED and exchange.claim and exchange.claim.presigned:
            code = "AccessDenied"
        return answers.STATUSES.get(code, 400), code, error.message
    if isinstance(error, TooManyRequests):
        return answers.STATUSES["SlowDown"], "SlowDown", "Please reduce your request rate."
    if isinstance(error, SteadError):
        code = error.code or "InvalidRequest"
        return answers.STATUSES.get(code, 400), code, error.message
    if isinstance(error, BackendError):
        log.error("object_store_unreachable", extra={"request_id": exchange.request_id, "detail": str(error)})
        return 503, "ServiceUnavailable", "Service is unable to handle request."
    log.error("object_request_failed", extra={"request_id": exchange.request_id}, exc_info=error)
    return 500, "InternalError", "We encountered an internal error. Please try again."


def _respond(exchange: Exchange, answer: Answer) -> web.Response:
    """Make the HTTP response of a short answer; the connection is closed if the body is unread."""
    headers = {**{name.lower(): value for name, value in answer.headers.items()}, **common_headers(exchange)}
    if answer.body or answer.status >= 400:
        headers.setdefault("content-type", "application/xml")
    body = b"" if exchange.request.method == "HEAD" else answer.body
    response = web.Response(status=answer.status, body=body, headers=headers)
    if exchange.http.can_read_body and not exchange.http.content.at_eof():
        response.force_close()
    return response
