"""The protocol smithy-rpc-v2-cbor: the path names the operation, bodies are CBOR (CloudWatch's newest clients).

See https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from stead_controller.aws.protocol import cbor
from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.protocol.document_codec import DocumentCodec
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import Service
from stead_controller.aws.protocol.write_json import JsonWriters
from stead_controller.errors import BadRequest

_TYPE: Final = "application/cbor"
_PROTOCOL: Final = {"smithy-protocol": "rpc-v2-cbor"}
_PATH: Final = re.compile(r"/service/([A-Za-z0-9_]{1,128})/operation/([A-Za-z0-9_]{1,128})\Z")


class CborCodec(DocumentCodec):
    """The codec of a service of this protocol."""

    wire = Wire.CBOR

    def __init__(self, service: Service) -> None:
        """Prepare for a service."""
        super().__init__(service, JsonWriters(timestamp=_time, blob=_bytes))
        self._target = str(service.model.metadata["targetPrefix"])

    @staticmethod
    def speaks(request: Request) -> bool:
        """Tell whether a request uses this protocol."""
        return (request.header("smithy-protocol") or "").lower() == "rpc-v2-cbor"

    def operation_name(self, request: Request) -> str:
        """Return the operation that the path names."""
        found = _PATH.match(request.path)
        name = found[2] if found else ""
        if found is None or found[1] != self._target or name not in self.service.operation_names:
            message = f"The path {request.path[:200]} names no operation of this web service."
            raise BadRequest(message, code="InvalidAction")
        return name

    def decode(self, body: bytes) -> dict[str, Any]:
        """Return the map of a body; raises BadRequest."""
        return _decode(body)

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """Return the response as CBOR; the request id is in a header."""
        del request_id
        return Response(200, _TYPE, cbor.encode(self.document_of(operation, result)), dict(_PROTOCOL))

    def write_error(self, error: WireError, request_id: str) -> Response:
        """Return the error document."""
        del request_id
        document, headers = self.error_of(error)
        return Response(error.status, _TYPE, cbor.encode(document), _PROTOCOL | headers)


def _decode(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        document = cbor.decode(body)
    except cbor.NotCborError as error:
        raise BadRequest(f"The body is not a CBOR document: {error}", code="SerializationException") from None
    if not isinstance(document, dict):
        raise BadRequest("The body is not a CBOR map", code="SerializationException")
    return document


def _time(value: datetime) -> cbor.Time:
    if value.tzinfo is None:
        raise TypeError(f"a timestamp without time zone: {value}")
    return cbor.Time(round(value.timestamp(), 3))


def _bytes(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"not bytes: {value!r}")
    return value
