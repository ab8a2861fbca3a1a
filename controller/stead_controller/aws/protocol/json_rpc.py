"""The JSON protocol (1.0 and 1.1): `X-Amz-Target` names the operation, bodies are JSON (CloudWatch's newer clients)."""

import json
from collections.abc import Mapping
from typing import Any

from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.protocol.document_codec import DocumentCodec
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import Service
from stead_controller.aws.protocol.parse_json import decode_document
from stead_controller.aws.protocol.write_json import JsonWriters
from stead_controller.errors import BadRequest


class JsonCodec(DocumentCodec):
    """The codec of a JSON service."""

    wire = Wire.JSON

    def __init__(self, service: Service) -> None:
        """Prepare for a service."""
        super().__init__(service, JsonWriters())
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

    def decode(self, body: bytes) -> dict[str, Any]:
        """Return the object of a body; raises BadRequest."""
        return decode_document(body)

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """Return the response as JSON; the request id is in a header."""
        del request_id
        return Response(200, self._content_type, _encode(self.document_of(operation, result)))

    def write_error(self, error: WireError, request_id: str) -> Response:
        """Return the error document."""
        del request_id
        document, headers = self.error_of(error)
        return Response(error.status, self._content_type, _encode(document), headers)


def _encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
