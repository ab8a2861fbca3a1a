"""What the protocols have in common that write a structure of the model as one document: JSON and CBOR."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.model import StructureShape

from stead_controller.aws.protocol.codec import WireError
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.protocol.models import NO_MEMBERS, Service
from stead_controller.aws.protocol.parse_json import JsonParsers, written
from stead_controller.aws.protocol.write_json import JsonWriters


class DocumentCodec(abc.ABC):
    """Reads and writes documents by the shapes of a service; a protocol says what their bytes are."""

    def __init__(self, service: Service, writers: JsonWriters) -> None:
        """Prepare for a service; its shapes are compiled on demand."""
        self.service = service
        self._parsers = JsonParsers()
        self._writers = writers

    @abc.abstractmethod
    def decode(self, body: bytes) -> dict[str, Any]:
        """Return the document of a body; raises BadRequest."""

    def parse(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the operation's parameters in the shape of the model."""
        shape = self.service.operation(operation).input_shape or NO_MEMBERS
        parsed: dict[str, Any] = self._parsers.structure(shape)(self.decode(request.body), "")
        return parsed

    def written(self, operation: str, path: Sequence[str | int]) -> str:
        """Return a parameter's name as in documents, without indices."""
        return written(self.service.operation(operation).input_shape or NO_MEMBERS, path)

    def document_of(self, operation: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return a result as a document."""
        shape = self.service.operation(operation).output_shape
        write = self._writers.structure(shape if isinstance(shape, StructureShape) else NO_MEMBERS)
        document: dict[str, Any] = write(result)
        return document

    def error_of(self, error: WireError) -> tuple[dict[str, Any], dict[str, str]]:
        """Return an error as a document, and its headers.

        Clients that used the query protocol before read its code from a header.
        """
        shape, code = self.service.error_names(error.code)
        return {"__type": shape, "message": error.message}, {"x-amzn-query-error": f"{code};{error.fault}"}
