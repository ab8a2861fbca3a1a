"""Forwards authorized requests to the server behind, and its answers to the client, piece by piece."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import aiohttp
from aiohttp import web

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers, copies, encryption, lifecycle, tagging
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend, BackendError
from stead_controller.object_store.exchange import Answer, Exchange, Means
from stead_controller.object_store.headers import HEADERS, METADATA, SMALLEST_MOVED, answered, own_encoding
from stead_controller.object_store.operations import Operation

log = logging.getLogger(__name__)

_MOST_XML: Final = 16 << 20  # 1,000 keys of 1,024 bytes, every byte escaped
_TRAILED: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_SILENCE_SECONDS: Final = 300.0
_NOT_BUILT: Final = 501
_WAS_CHANGED: Final = 412
_OUR_FAULT: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed"}
)
_OF_STATUS: Final = {404: "NoSuchKey", 405: "MethodNotAllowed", 412: "PreconditionFailed", 416: "InvalidRange"}
_CONTENT: Final = frozenset({"GetObject", "HeadObject"})
_OF_PARTS: Final = frozenset({"UploadPart", "UploadPartCopy"})
_LIFECYCLE: Final = frozenset({"GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration"})


class BackendRefusal(Exception):
    """An error answer of the server behind: S3's code, message and HTTP status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Store the parts."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def headers_for(exchange: Exchange) -> dict[str, str]:
    """Return the headers to forward; the others were read or refused. Raises BadRequest."""
    found: dict[str, str] = {}
    request = exchange.request
    encryption.check(request, exchange.operation.name if exchange.operation else "")
    for name in request.header_names():
        values = request.header_values(name)
        if name in HEADERS or name.startswith(METADATA):
            value = ",".join(values) if name != tagging.HEADER else tagging.header(exchange.tagging or {})
            if not value.isprintable() or not value.isascii():
                raise BadRequest(f"The header {name} must be printable ASCII.", code="InvalidArgument")
            found[name] = value
    encoding = own_encoding(found.pop("content-encoding", ""))
    if encoding:
        found["content-encoding"] = encoding
    return found


def ask_for(exchange: Exchange, operation: Operation) -> Ask:
    """Build the request to the server behind, without a body."""
    query = [(name, exchange.query[name]) for name in operation.query if name in exchange.query]
    headers = headers_for(exchange)
    if exchange.source:
        headers["x-amz-copy-source"] = exchange.source
    path = path_of(exchange.existing_bucket.backend_name, exchange.address.key)
    return Ask(exchange.request.method, path, query, headers)


async def forward(exchange: Exchange, operation: Operation, means: Means) -> web.StreamResponse | Answer:
    """Forward a request, and return its answer; raises BackendRefusal, BackendError, and errors of the body."""
    if operation.name in encryption.WRITING:
        return await _make(exchange, operation, means)
    answer = await _forward(exchange, operation, means.backend, ask_for(exchange, operation))
    if isinstance(answer, Answer) and operation.name in _LIFECYCLE:
        return replace(answer, headers={**SMALLEST_MOVED, **answer.headers})
    if isinstance(answer, Answer) and operation.name == "CompleteMultipartUpload":
        return await _with_encryption(exchange, means.backend, answer)
    return answer


async def _make(exchange: Exchange, operation: Operation, means: Means) -> web.StreamResponse | Answer:
    """Forward a request that creates an object, or an upload of one, with the encryption that applies."""
    ask = ask_for(exchange, operation)
    who = exchange.asked.account_id
    at_rest = await encryption.of_request(means.backend, exchange.request, exchange.existing_bucket, means.region, who)
    is_pinned = False
    if operation.name == "CopyObject":
        copy = await copies.headers_of(exchange, means.backend, dict(ask.headers), at_rest)
        ask, is_pinned = replace(ask, headers=copy.headers), copy.is_pinned
    elif at_rest is not None:
        ask = replace(ask, headers={**ask.headers, **at_rest.sent()})
    try:
        answer = await _forward(exchange, operation, means.backend, ask)
    except BackendRefusal as refusal:
        if is_pinned and refusal.status == _WAS_CHANGED:
            raise copies.was_changed() from None
        raise
    if at_rest is None or not isinstance(answer, Answer):
        return answer
    return replace(answer, headers={**answer.headers, **at_rest.answered()})


async def _with_encryption(exchange: Exchange, backend: Backend, answer: Answer) -> Answer:
    """Add the object's encryption to the answer of CompleteMultipartUpload; only the object itself shows it."""
    version = answer.headers.get("x-amz-version-id")
    query = [("versionId", version)] if version else []
    ask = Ask("HEAD", path_of(exchange.existing_bucket.backend_name, exchange.address.key), query)
    async with await backend.send(ask) as head:
        if head.status >= 400:  # it was removed meanwhile
            return answer
        found = encryption.shown(answered(head.headers))
    more = {name: value for name, value in found.items() if name.startswith(encryption.HEADER)}
    return replace(answer, headers={**answer.headers, **more})


async def _forward(exchange: Exchange, operation: Operation, backend: Backend, ask: Ask) -> web.StreamResponse | Answer:
    if operation.body == "document":
        document = await exchange.document()
        if operation.name == "PutBucketVersioning" and answers.asks_for_mfa_delete(document):
            raise BadRequest("MFA delete is not implemented.", code="NotImplemented")
        if operation.name == "PutBucketLifecycleConfiguration":
            document = lifecycle.with_ids(document)
        ask = Ask(ask.method, ask.path, ask.query, ask.headers, document)
    elif operation.body == "stream":
        ask = await _streamed(exchange, ask)
    try:
        answer = await backend.send(ask)
    except BackendError:
        if exchange.payload is not None and exchange.payload.failure is not None:
            raise exchange.payload.failure from None
        raise
    async with answer:
        if answer.status >= 400:
            raise await _refusal(answer)
        if operation.name in _CONTENT:
            return await _pass_on(exchange, answer)
        return await _document(exchange, answer)


async def _streamed(exchange: Exchange, ask: Ask) -> Ask:
    body = exchange.body
    length = body.require_length()
    if not length and not body.trailers:
        # Nothing can be held back here: for the server behind an empty body is complete with its headers.
        async for _ in body.pieces(exchange.incoming()):
            pass
        return replace(ask, headers={**ask.headers, "content-length": "0"}, body=b"")
    if not body.trailers:
        headers = {**ask.headers, "content-length": str(length)}
        return Ask(ask.method, ask.path, ask.query, headers, body.pieces(exchange.incoming()))
    encoding = ask.headers.get("content-encoding")
    headers = {
        **ask.headers,
        "content-encoding": f"aws-chunked,{encoding}" if encoding else "aws-chunked",
        "x-amz-decoded-content-length": str(length),
        "x-amz-trailer": ",".join(body.trailers),
    }
    return Ask(ask.method, ask.path, ask.query, headers, body.with_trailer(exchange.incoming()), _TRAILED)


async def send_short(backend: Backend, ask: Ask) -> tuple[int, Mapping[str, str], bytes]:
    """Send a request whose answer is short; raises BackendRefusal, BackendError."""
    answer = await backend.send(ask)
    async with answer:
        if answer.status >= 400:
            raise await _refusal(answer)
        return answer.status, answer.headers, await _read(answer)


async def _refusal(answer: aiohttp.ClientResponse) -> BackendRefusal:
    code, message = answers.read_error(await _read(answer))
    code = code or _OF_STATUS.get(answer.status, "")  # an answer to HEAD has only a status
    if code in _OUR_FAULT or (answer.status >= 500 and answer.status != _NOT_BUILT):
        log.error("object_store_refused_us", extra={"status": answer.status, "code": code, "detail": message})
        if answer.status == 503 or code == "SlowDown":
            return BackendRefusal(503, "SlowDown", "Please reduce your request rate.")
        return BackendRefusal(500, "InternalError", "We encountered an internal error. Please try again.")
    return BackendRefusal(answer.status, code, message)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    try:
        content = bytearray()
        async for piece in answer.content.iter_any():
            content += piece
            if len(content) > _MOST_XML:
                raise BackendError("the server behind answers too much")
        return bytes(content)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise BackendError(f"an answer of the server behind was cut off: {error}") from error


def _answered(exchange: Exchange, answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the headers that the client gets."""
    found = encryption.shown(answered(answer.headers))
    if exchange.operation_name in _OF_PARTS:
        found.pop(encryption.HEADER, None)
    return found


async def _document(exchange: Exchange, answer: aiohttp.ClientResponse) -> Answer:
    """Return a short answer, with our names put in."""
    headers = _answered(exchange, answer)
    content = await _read(answer)
    if content:
        scheme = "https" if exchange.request.secure else "http"
        url = f"{scheme}://{exchange.request.header('host') or ''}{exchange.request.path}"
        content = answers.translate(content, exchange.existing_bucket, url)
        if exchange.operation_name == "ListParts":
            content = answers.latest_parts(content)
    headers = {name: value for name, value in headers.items() if name not in ("content-length", "accept-ranges")}
    return Answer(answer.status, content, headers)


async def _pass_on(exchange: Exchange, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Stream an object's content; a client that reads slowly slows down the server behind and uses no memory here."""
    response = web.StreamResponse(status=answer.status, headers=_answered(exchange, answer))
    response.headers.update(common_headers(exchange))
    await response.prepare(exchange.http)
    if exchange.request.method == "HEAD":
        return response
    try:
        async for piece in answer.content.iter_any():
            async with asyncio.timeout(_SILENCE_SECONDS):
                await response.write(piece)
            exchange.sent += len(piece)
        await response.write_eof()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        # The status was sent; only ending before the announced length can still signal an error to the client.
        log.warning("object_cut_off", extra={"request_id": exchange.request_id, "detail": str(error)})
        response.force_close()
        if exchange.http.transport is not None:
            exchange.http.transport.abort()
    return response


def common_headers(exchange: Exchange) -> dict[str, str]:
    """Return the headers that all answers have."""
    return {"x-amz-request-id": exchange.request_id, "Server": "stead", **exchange.cross_origin}
