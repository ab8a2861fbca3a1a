"""The front door of the object store: from an HTTP request to an answer through one visible chain.

    _authenticate → _locate → _throttle_account → _authorize → answered here, or forwarded to the server behind

Nothing of a body is read before the request is allowed. What a step raises is translated once, in `serve`.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from stead_controller.aws.app import Transactions
from stead_controller.aws.authenticate import NOBODYS_SECRET, KeyLookup, find_signer, require_signer
from stead_controller.aws.call_record import CallRecord
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import UNSIGNED_PAYLOAD, Reason, Refused, check_time, read_claim
from stead_controller.aws.strangers import Strangers
from stead_controller.aws.throttle import Throttle
from stead_controller.clock import Clock, now
from stead_controller.errors import BadRequest, NotAuthorized, SteadError, TooManyRequests
from stead_controller.object_store import addressing, answers, presigned_v2
from stead_controller.object_store.access import Asker, Rights, arn_of
from stead_controller.object_store.backend import Backend, BackendError
from stead_controller.object_store.bucket_operations import HANDLERS
from stead_controller.object_store.exchange import Answer, Exchange, Means
from stead_controller.object_store.forwarding import BackendRefusal, common_headers, forward
from stead_controller.object_store.operations import find_operation
from stead_controller.object_store.payload import Payload, declared_hash
from stead_controller.resources import buckets, principal_keys
from stead_controller.resources.transaction import Transaction

log = logging.getLogger(__name__)

_SCOPES: Final = ("/s3/aws4_request", "%2Fs3%2Faws4_request", "%2fs3%2faws4_request")
_ANONYMOUS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_RECORD_WEIGHT: Final = 2048
_PREFIXES: Final = ("prefix", "marker", "start-after", "key-marker")
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


class FrontDoor:
    """Answers S3's requests; `domain` is what may stand after a bucket's name in the Host header."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        find_key: KeyLookup,
        backend: Backend,
        region: str,
        domain: str = "",
        rights: Rights,
        on_call: Callable[[CallRecord], None] = _ignore,
        throttle: Throttle | None = None,
        strangers: Strangers | None = None,
        clock: Clock = now,
    ) -> None:
        """Take the parts."""
        self._transactions = transactions
        self._find_key = find_key
        self._means = Means(transactions, backend, region)
        self._domain = domain
        self._rights = rights
        self._on_call = on_call
        self._throttle = throttle or Throttle(0)
        self._strangers = strangers or Strangers(0)
        self._clock = clock
        self._chain: tuple[Callable[[Exchange], Awaitable[None]], ...] = (
            self._authenticate,
            self._locate,
            self._throttle_account,
            self._authorize,
        )

    async def close(self) -> None:
        """Close the connections to the server behind."""
        await self._means.backend.close()

    def takes(self, request: Request) -> bool:
        """Tell whether a request is signed for S3, or by nobody and of a bucket: no other API has a path then."""
        if presigned_v2.is_one(request):
            return True
        signed = request.header("authorization")
        if signed is None and "X-Amz-Credential=" not in request.query:
            return request.path not in ("", "/") and request.method in _ANONYMOUS
        text = signed if signed is not None else request.query
        return any(scope in text for scope in _SCOPES)

    async def serve(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        """Answer a request; never raises for what a client may do."""
        started = time.perf_counter()
        exchange = Exchange(http, request, uuid.uuid4().hex[:16].upper(), self._clock())
        code = message = None
        is_noise = False
        try:
            for step in self._chain:
                await step(exchange)
            answer = await self._answer(exchange)
        except Exception as error:  # the end of the chain: whatever went wrong, the client gets an S3 error
            failure: Exception = error
            if isinstance(error, Refused):
                failure = self._strangers.failed(request.source_ip, error)
            is_noise = exchange.caller is None and isinstance(failure, TooManyRequests)
            status, code, message = _translate(failure, exchange)
            body = answers.write_error(
                code, message, unquote_to_bytes(request.path).decode("utf-8", "replace"), exchange.request_id
            )
            answer = Answer(status, body)
        response = _respond(exchange, answer) if isinstance(answer, Answer) else answer
        if not is_noise:  # of strangers who come too often: else they would make room among the records of others
            self._record(exchange, response.status, code, message, time.perf_counter() - started)
        return response

    async def _authenticate(self, exchange: Exchange) -> None:
        """Who asks; what the body's bytes will have to be is part of what was signed."""
        if exchange.request.method == "OPTIONS":  # a browser asks what another site's page may
            raise BadRequest("CORSResponse: CORS is not enabled for this bucket.", code="AccessForbidden")
        if presigned_v2.is_one(exchange.request):
            await self._authenticate_v2(exchange)
            return
        claim = exchange.claim = read_claim(exchange.request)
        self._strangers.check(exchange.request.source_ip, claim.access_key_id)
        declared = declared_hash(exchange.request, claim)
        signer = await find_signer(exchange.request, claim, self._find_key, exchange.now, body_hash=declared)
        exchange.caller = signer.caller
        self._strangers.welcome(exchange.request.source_ip, claim.access_key_id)
        exchange.payload = Payload(exchange.request, claim, signer.secret, declared)

    async def _authenticate_v2(self, exchange: Exchange) -> None:
        """Who made a URL of Signature Version 2."""
        claim = exchange.claim = presigned_v2.read_claim(exchange.request)
        self._strangers.check(exchange.request.source_ip, claim.access_key_id)
        check_time(claim, exchange.now)
        found = await self._find_key(claim.access_key_id, claim.session_token)
        secret = found.secret if found else NOBODYS_SECRET
        bucket = addressing.bucket_of_host(exchange.request.header("host") or "", self._domain)
        is_genuine = presigned_v2.is_signed_with(exchange.request, claim, secret, bucket)
        exchange.caller = require_signer(found, claim.session_token, is_genuine=is_genuine, now=exchange.now).caller
        self._strangers.welcome(exchange.request.source_ip, claim.access_key_id)
        exchange.payload = Payload(exchange.request, claim, secret, UNSIGNED_PAYLOAD)

    async def _locate(self, exchange: Exchange) -> None:
        """What is asked, of which bucket or object."""
        request = exchange.request
        host = request.header("host") or ""
        exchange.address = addressing.read_address(host, request.path, self._domain)
        exchange.query = dict(request.query_fields)
        if len(exchange.query) != len(request.query_fields):
            raise BadRequest("A query parameter is given twice.", code="InvalidArgument")
        copies = request.header("x-amz-copy-source") is not None
        exchange.operation = find_operation(request.method, exchange.address, exchange.query.keys(), copies=copies)
        _check_query(exchange.query)

    async def _throttle_account(self, exchange: Exchange) -> None:
        """Whether the account may ask again already; before anything is looked up or sent on."""
        if exchange.operation is not None:
            self._throttle.check(exchange.asked.account_id, "s3", exchange.operation.name, {})

    async def _authorize(self, exchange: Exchange) -> None:
        """May the caller do it: the caller's own policies and the bucket's, read in one transaction."""
        await self._transactions.run(lambda tx: self._decide(tx, exchange), writes=False)

    def _decide(self, tx: Transaction, exchange: Exchange) -> None:
        operation, caller, address = exchange.operation, exchange.asked, exchange.address
        assert operation is not None
        tags = principal_keys.of_tags(self._rights.tags(tx, caller))
        context = {**_context(exchange), "aws:RequestedRegion": self._means.region, **tags}
        asker = exchange.asker = Asker(caller, self._rights.policies(tx, caller), context)
        action = operation.action
        if exchange.query.get("versionId") and action in _VERSIONED:
            action = _VERSIONED[action]
        if operation.name in ("ListBuckets", "CreateBucket"):
            arn = "*" if operation.name == "ListBuckets" else arn_of(address.bucket)
            asker.require_own(action, arn)
            return
        bucket = exchange.bucket = buckets.find(tx, address.bucket)
        _check_owner(exchange.request, "x-amz-expected-bucket-owner", bucket)
        if operation.name == "DeleteObjects":
            # Each key is decided about by itself; a stranger learns nothing before.
            if bucket.account_id != caller.account_id and bucket.policy is None:
                raise NotAuthorized("Access Denied", code="AccessDenied")
        else:
            asker.require(action, bucket, address.key)
        if not bucket.is_available and operation.name != "DeleteBucket":
            raise BadRequest("The specified bucket does not exist", code="NoSuchBucket")
        if exchange.request.header("x-amz-tagging") and operation.body != "none":
            asker.require("PutObjectTagging", bucket, address.key)
        source = exchange.request.header("x-amz-copy-source")
        if source is not None:
            self._decide_source(tx, exchange, source)

    def _decide_source(self, tx: Transaction, exchange: Exchange, source: str) -> None:
        """May the caller read what it wants to copy."""
        path, _, version = source.partition("?versionId=")
        found = addressing.read_address("", path if path.startswith("/") else f"/{path}", "")
        if not found.key:
            raise BadRequest(
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey", code="InvalidArgument"
            )
        addressing.check_token("versionId", version)
        bucket = buckets.find(tx, found.bucket)
        _check_owner(exchange.request, "x-amz-source-expected-bucket-owner", bucket)
        action = "GetObjectVersion" if version else "GetObject"
        exchange.rights.require(action, bucket, found.key)
        exchange.source = addressing.path_of(bucket.backend_name, found.key) + (
            f"?versionId={version}" if version else ""
        )

    async def _answer(self, exchange: Exchange) -> web.StreamResponse | Answer:
        operation = exchange.operation
        assert operation is not None
        if operation.is_answered_here:
            return await HANDLERS[operation.name](exchange, self._means)
        return await forward(exchange, operation, self._means.backend)

    def _record(self, exchange: Exchange, status: int, code: str | None, message: str | None, seconds: float) -> None:
        """Tell the observer of a call; one that named nobody is none of anybody's calls."""
        if exchange.claim is None:
            return
        address = exchange.address
        params: dict[str, Any] = {"Bucket": address.bucket} if address.bucket else {}
        if address.key:
            params["Key"] = address.key
        record = CallRecord(
            request_id=exchange.request_id,
            event_id=str(uuid.uuid4()),
            time=exchange.now,
            service="s3",
            operation=exchange.operation.name if exchange.operation else None,
            caller=exchange.caller,
            access_key_id=exchange.claim.access_key_id,
            source_ip=exchange.request.source_ip,
            user_agent=exchange.request.header("user-agent") or "",
            status=status,
            error_code=code,
            error_message=message,
            seconds=seconds,
            weight=_RECORD_WEIGHT,
            params=params,
            result=None,
        )
        try:
            self._on_call(record)
        except Exception:  # an observer's fault must not take the answer from the client
            log.exception("call_record_failed", extra={"request_id": exchange.request_id})


_VERSIONED: Final = {
    "GetObject": "GetObjectVersion",
    "DeleteObject": "DeleteObjectVersion",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectTagging": "PutObjectVersionTagging",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
    "GetObjectAttributes": "GetObjectVersionAttributes",
}


def _check_query(query: Mapping[str, str]) -> None:
    """Raise BadRequest for values that would be a path out of the bucket, or no number."""
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


def _check_owner(request: Request, header: str, bucket: buckets.BucketFacts) -> None:
    expected = request.header(header)
    if expected is not None and expected != bucket.account_id:
        raise NotAuthorized("Access Denied", code="AccessDenied")


def _context(exchange: Exchange) -> dict[str, Any]:
    """What conditions of policies may ask for."""
    request, claim, query = exchange.request, exchange.claim, exchange.query
    return {
        **principal_keys.of_caller(exchange.asked, exchange.now),
        "aws:CurrentTime": exchange.now,
        "aws:EpochTime": int(exchange.now.timestamp()),
        "aws:SecureTransport": exchange.http.secure,
        "aws:SourceIp": request.source_ip,
        "aws:UserAgent": request.header("user-agent"),
        "s3:authType": "REST-QUERY-STRING" if claim and claim.presigned else "REST-HEADER",
        "s3:delimiter": query.get("delimiter"),
        "s3:max-keys": query.get("max-keys"),
        "s3:prefix": query.get("prefix"),
        "s3:signatureversion": "AWS4-HMAC-SHA256",
        "s3:VersionId": query.get("versionId"),
        "s3:x-amz-acl": request.header("x-amz-acl"),
        "s3:x-amz-content-sha256": request.header("x-amz-content-sha256"),
        "s3:x-amz-copy-source": request.header("x-amz-copy-source"),
        "s3:x-amz-server-side-encryption": request.header("x-amz-server-side-encryption"),
        "s3:x-amz-storage-class": request.header("x-amz-storage-class"),
    }


def _translate(error: Exception, exchange: Exchange) -> tuple[int, str, str]:
    """Give status, code and message of whatever a step has raised."""
    if isinstance(error, BackendRefusal):
        return error.status, error.code, error.message
    if isinstance(error, Refused):
        if error.reason is Reason.MISSING:
            return answers.STATUSES["AccessDenied"], "AccessDenied", "Access Denied"
        code = _REASONS[error.reason]
        if exchange.claim is None and exchange.request.header("authorization") is None and code.startswith("Auth"):
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
    """Make the response of a short answer; an unread body is not a next request."""
    headers = {**{name.lower(): value for name, value in answer.headers.items()}, **common_headers(exchange)}
    if answer.body or answer.status >= 400:
        headers.setdefault("content-type", "application/xml")
    body = b"" if exchange.request.method == "HEAD" else answer.body
    response = web.Response(status=answer.status, body=body, headers=headers)
    if exchange.http.can_read_body and not exchange.http.content.at_eof():
        response.force_close()
    return response
