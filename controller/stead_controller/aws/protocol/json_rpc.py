"""The JSON protocol (1.0 and 1.1): `X-Amz-Target` names the operation, bodies are JSON (CloudWatch's newer clients)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.model import StructureShape

from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import NO_MEMBERS, Service
from stead_controller.aws.protocol.parse_json import JsonParsers, decode_document, written
from stead_controller.aws.protocol.write_json import JsonWriters
from stead_controller.errors import BadRequest


class JsonCodec:
    """The codec of a JSON service."""

    wire = Wire.JSON

    def __init__(self, service: Service) -> None:
        """Prepare for a service; its shapes are compiled on demand."""
        self.service = service
        self._parsers = JsonParsers()
        self._writers = JsonWriters()
        self._target_prefix = f"{service.model.metadata['targetPrefix']}."
        self._content_type = f"application/x-amz-json-{service.model.metadata.get('jsonVersion', '1.0')}"

    @staticmethod
    def speaks(request: Request) -> bool:
        """Tell whether a request uses this protocol."""
        return request.header("x-amz-target") is not None

    def operation_name(self, request: Request) -> str:
        """Return the operation that the header X-Amz-Target names."""
        target = request.header("x-amz-target") or ""
        name = target.removeprefix(self._target_prefix)
        if not target:
            raise BadRequest("The request must contain the header X-Amz-Target", code="MissingAction")
        if name == target or name not in self.service.operation_names:
            raise BadRequest(f"The action {target[:200]} is not valid for this web service.", code="InvalidAction")
        return name

    def parse(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the operation's parameters in the shape of the model."""
        shape = self.service.operation(operation).input_shape or NO_MEMBERS
        parsed: dict[str, Any] = self._parsers.structure(shape)(decode_document(request.body), "")
        return parsed

    def written(self, operation: str, path: Sequence[str | int]) -> str:
        """Return a parameter's name as in documents, without indices."""
        return written(self.service.operation(operation).input_shape or NO_MEMBERS, path)

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """Return the response as JSON; the request id is in a header."""
        del request_id
        shape = self.service.operation(operation).output_shape
        document = self._writers.structure(shape if isinstance(shape, StructureShape) else NO_MEMBERS)(result)
        return Response(200, self._content_type, _encode(document))

    def write_error(self, error: WireError, request_id: str) -> Response:
        """Return the error document; clients that used the query protocol before read its code from a header."""
        del request_id
        shape, code = self.service.error_names(error.code)
        headers = {"x-amzn-query-error": f"{code};{error.fault}"}
        body = _encode({"__type": shape, "message": error.message})
        return Response(error.status, self._content_type, body, headers)


def _encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
