"""Determines a request's protocol, and writes errors in it, also for services that Stead does not have.

A client can read an error only in its own protocol: an XML document makes the JSON reader of an SDK fail, and the SDK
retries again and again. The headers determine the protocol; if they do not, the service does.
"""

import json
import re
from typing import Final

from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.protocol.message import FORM, Request, Response
from stead_controller.aws.protocol.write_xml import escape
from stead_controller.errors import BadRequest

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_REST_XML: Final = frozenset({"cloudfront", "route53"})  # services with rest-xml in their botocore model, without S3's
_S3: Final = frozenset({"s3", "s3express", "s3-outposts", "s3-object-lambda"})
_CREDENTIAL: Final = re.compile(r"Credential=[^/,&]*/[^/,&]*/[^/,&]*/([A-Za-z0-9_ -]{1,64})/aws4_request")
_CBOR_PATH: Final = re.compile(r"/service/([A-Za-z0-9_]{1,128})/operation/([A-Za-z0-9_]{1,128})\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,128}\Z")


def wire_of(request: Request, service: str) -> Wire:
    """Return the protocol of a request to a service with this signing name, which may be empty if it is unknown."""
    if (request.header("smithy-protocol") or "").lower() == "rpc-v2-cbor":
        return Wire.CBOR
    if request.header("x-amz-target") is not None:
        return Wire.JSON
    if service == "ec2":
        return Wire.EC2
    if service in _S3:
        return Wire.S3
    if service in _REST_XML:
        return Wire.REST_XML
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    return Wire.QUERY if media_type == FORM or _field(request, "Action") else Wire.REST_JSON


def named_service(request: Request) -> str:
    """Return the signing name in a credential scope that may otherwise be invalid; empty if there is none."""
    text = request.header("authorization")
    if text is None:
        found = dict(_query_fields(request)).get("X-Amz-Credential", "")
        text = f"Credential={found}"
    claimed = _CREDENTIAL.search(text)
    return claimed[1] if claimed else ""


def named_target(request: Request) -> str:
    """Return the service's name in the JSON and CBOR protocols, such as `CloudTrail_20131101`; empty without one."""
    path = _CBOR_PATH.match(request.path)
    if path and request.header("smithy-protocol"):
        return path[1]
    target = request.header("x-amz-target") or ""
    return target.rpartition(".")[0]


def named_operation(request: Request, wire: Wire) -> str | None:
    """Return the operation of a request to a service without model; None if only its model could tell."""
    match wire:
        case Wire.CBOR:
            path = _CBOR_PATH.match(request.path)
            name = path[2] if path else ""
        case Wire.JSON:
            name = (request.header("x-amz-target") or "").rpartition(".")[2]
        case Wire.EC2 | Wire.QUERY:
            name = _field(request, "Action")
        case _:
            return None
    return name if _NAME.match(name) else None


def write_error(wire: Wire, error: WireError, request: Request, request_id: str) -> Response:
    """Write the error document of a protocol, for a service without codec."""
    code, message = escape(error.code), escape(error.message)
    match wire:
        case Wire.CBOR:
            body = _cbor_map({"__type": error.code, "message": error.message})
            return Response(error.status, "application/cbor", body, {"smithy-protocol": "rpc-v2-cbor", **_fault(error)})
        case Wire.JSON:
            asked = (request.header("content-type") or "").partition(";")[0].strip().lower()
            version = "1.1" if asked.endswith("-1.1") else "1.0"
            body = _json(error)
            return Response(error.status, f"application/x-amz-json-{version}", body, _fault(error))
        case Wire.REST_JSON:
            return Response(error.status, "application/json", _json(error), {"x-amzn-ErrorType": error.code})
        case Wire.S3:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        case Wire.EC2:
            text = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                f"<RequestID>{request_id}</RequestID></Response>"
            )
        case _:
            text = (
                f"<ErrorResponse><Error><Type>{error.fault}</Type><Code>{code}</Code><Message>{message}</Message>"
                f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
            )
    return Response(error.status, "text/xml;charset=UTF-8", f"{_DECLARATION}{text}".encode())


def _fault(error: WireError) -> dict[str, str]:
    return {"x-amzn-query-error": f"{error.code};{error.fault}"}


def _json(error: WireError) -> bytes:
    return json.dumps({"__type": error.code, "message": error.message}, separators=(",", ":")).encode("ascii")


def _cbor_map(texts: dict[str, str]) -> bytes:
    """Encode a map of at most 23 texts (RFC 8949, 3: major types 5 and 3)."""
    encoded = bytes([0xA0 | len(texts)])
    for text in (part for pair in texts.items() for part in pair):
        content = text.encode("utf-8", "replace")
        encoded += b"\x7a" + len(content).to_bytes(4) + content
    return encoded


def _field(request: Request, name: str) -> str:
    try:
        return request.fields.get(name, "")
    except BadRequest:
        return ""


def _query_fields(request: Request) -> list[tuple[str, str]]:
    try:
        return request.query_fields
    except BadRequest:
        return []
