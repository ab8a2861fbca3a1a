"""The REST-JSON protocol: method and path name the operation, the rest is path, query, headers and JSON (EBS, DLM)."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, cast

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stead_controller.aws.protocol import scalars
from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.protocol.form import decode
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import NO_MEMBERS, Service
from stead_controller.aws.protocol.parse_json import JsonParsers, decode_document, written
from stead_controller.aws.protocol.parse_query import scalar_parser
from stead_controller.aws.protocol.write_json import JsonWriters
from stead_controller.errors import BadRequest, MissingParameter

_JSON: Final = "application/json"
_OCTETS: Final = "application/octet-stream"
_LABEL: Final = re.compile(r"\{(\w+)(\+?)\}")
_TEXTS: Final[dict[str, Callable[[Any], str]]] = {
    "string": str,
    "integer": scalars.integer_text,
    "long": scalars.integer_text,
    "boolean": scalars.boolean_text,
    "float": scalars.float_text,
    "double": scalars.float_text,
    "timestamp": scalars.timestamp_text,
}


class RestJsonCodec:
    """The codec of a REST-JSON service."""

    wire = Wire.REST_JSON

    def __init__(self, service: Service) -> None:
        """Prepare for a service; its shapes are compiled on demand."""
        self.service = service
        self._parsers = JsonParsers()
        self._writers = JsonWriters()

    @cached_property
    def _routes(self) -> list[tuple[str, re.Pattern[str], str]]:
        """Return method, path and name of every operation; more specific paths come first."""
        routes = []
        for name in self.service.operation_names:
            http = self.service.operation(name).http
            path = str(http["requestUri"]).partition("?")[0]
            routes.append((path.count("{"), str(http["method"]), _path_pattern(path), name))
        return [(method, pattern, name) for _, method, pattern, name in sorted(routes, key=lambda route: route[0])]

    def _route(self, request: Request) -> tuple[str, dict[str, str]] | None:
        for method, pattern, name in self._routes:
            found = pattern.fullmatch(request.path) if method == request.method else None
            if found:
                return name, {label: decode(value) for label, value in found.groupdict().items()}
        return None

    def operation_name(self, request: Request) -> str:
        """Return the operation that method and path name."""
        route = self._route(request)
        if route is None:
            raise BadRequest(
                f"Unable to determine service/operation: {request.path[:200]}", code="UnknownOperationException"
            )
        return route[0]

    def parse(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the operation's parameters in the shape of the model."""
        shape = self.service.operation(operation).input_shape or NO_MEMBERS
        _, labels = self._route(request) or ("", {})
        parsed = self._body(shape, request)
        query: dict[str, list[str]] = {}
        for name, value in request.query_fields:
            query.setdefault(name, []).append(value)
        for key, member in shape.members.items():
            names = cast("Mapping[str, str]", member.serialization)
            name = names.get("name", key)
            match names.get("location"):
                case "uri":
                    texts = [labels[name]]
                case "querystring":
                    texts = query.get(name, [])
                case "header":
                    texts = request.header_values(name.lower())
                case _:
                    continue
            if texts:
                parsed[key] = _read(member, texts, name)
        for key in shape.required_members:
            if key not in parsed:
                raise MissingParameter(key)
        return parsed

    def _body(self, shape: StructureShape, request: Request) -> dict[str, Any]:
        payload = cast("Mapping[str, str]", shape.serialization).get("payload")
        if payload is None:
            has_body_members = any(
                not cast("Mapping[str, str]", member.serialization).get("location") for member in shape.members.values()
            )
            if not has_body_members:
                return {}
            parsed: dict[str, Any] = self._parsers.structure(shape)(decode_document(request.body), "")
            return parsed
        member = shape.members[payload]
        if isinstance(member, StructureShape):
            return {payload: self._parsers.structure(member)(decode_document(request.body), "")}
        return {payload: request.body}

    def written(self, operation: str, path: Sequence[str | int]) -> str:
        """Return a parameter's name as in documents, without indices."""
        return written(self.service.operation(operation).input_shape or NO_MEMBERS, path)

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """Return the response: some members in headers, one as the whole body or the others as JSON."""
        del request_id
        model = self.service.operation(operation)
        shape = model.output_shape if isinstance(model.output_shape, StructureShape) else NO_MEMBERS
        status = int(cast("int", model.http.get("responseCode", 200)))
        payload = cast("Mapping[str, str]", shape.serialization).get("payload")
        headers: dict[str, str] = {}
        inside: dict[str, Any] = {}
        for key, value in result.items():
            names = cast("Mapping[str, str]", shape.members[key].serialization) if key in shape.members else {}
            if names.get("location") == "header":
                if value is not None:
                    headers[names.get("name", key)] = _TEXTS[shape.members[key].type_name](value)
            elif key != payload:
                inside[key] = value
        if payload is not None and isinstance(result.get(payload), bytes) and not inside:
            return Response(status, _OCTETS, result[payload], headers)
        document = self._writers.structure(shape)(inside)
        body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
        return Response(status, _JSON, body, headers)

    def write_error(self, error: WireError, request_id: str) -> Response:
        """Return the response with the error document."""
        del request_id
        body = json.dumps({"__type": error.code, "message": error.message}).encode("ascii")
        return Response(error.status, _JSON, body, {"x-amzn-ErrorType": error.code})


def _path_pattern(template: str) -> re.Pattern[str]:
    """Return a path such as `/snapshots/{snapshotId}/blocks` as a pattern of raw paths."""
    pattern = ""
    end = 0
    for label in _LABEL.finditer(template):
        pattern += re.escape(template[end : label.start()]) + f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})"
        end = label.end()
    return re.compile(pattern + re.escape(template[end:]) + "/?")


def _read(member: Shape, texts: list[str], name: str) -> Any:
    if isinstance(member, ListShape):
        read = scalar_parser(member.member)
        return [read(text, name) for text in texts]
    if isinstance(member, MapShape):
        raise NotImplementedError(f"{name} is a map outside the body")
    if len(texts) > 1:
        raise BadRequest(f"The parameter {name} is given twice", code="ValidationException")
    return scalar_parser(member)(texts[0], name)
