"""The query protocol and its EC2 variant: form parameters in, XML out (STS, IAM, Auto Scaling; EC2)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from botocore.model import OperationModel, StructureShape

from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.protocol.ec2_versions import EC2_VERSIONS
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import NO_MEMBERS, Service, api_versions
from stead_controller.aws.protocol.parse_query import QueryParsers, grow_tree
from stead_controller.aws.protocol.write_xml import Writer, XmlWriters, escape
from stead_controller.errors import BadRequest, InvalidCombination, MissingParameter

_XML: Final = "text/xml;charset=UTF-8"
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
# Parameters of the protocol and of presigned URLs, which do not belong to the operation. Version 1 of the SDK for Ruby
# sends a Timestamp with each request, though Signature Version 4 has X-Amz-Date.
_NOT_PARAMETERS: Final = frozenset(
    {
        "Action",
        "Timestamp",
        "Version",
        "X-Amz-Algorithm",
        "X-Amz-Content-Sha256",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
    },
)
_OF_INSTANCES: Final = frozenset(
    {
        "MonitorInstances",
        "RebootInstances",
        "StartInstances",
        "StopInstances",
        "TerminateInstances",
        "UnmonitorInstances",
    }
)


class QueryCodec:
    """The codec of a query service."""

    wire = Wire.QUERY

    def __init__(self, service: Service, *, ec2: bool = False) -> None:
        """Prepare for a service; its shapes are compiled on demand."""
        self.service = service
        self._parsers = QueryParsers(ec2=ec2)
        self._writers = XmlWriters(ec2=ec2)
        self._namespace = str(service.model.metadata["xmlNamespace"]).rstrip("/") + "/"
        self._frames: dict[str, tuple[str, str, Writer | None]] = {}

    def operation_name(self, request: Request) -> str:
        """Return the operation that the parameter Action names."""
        if request.method not in ("GET", "POST"):
            raise BadRequest(f"The method {request.method[:20]} is not allowed", code="InvalidRequest")
        name = request.fields.get("Action")
        if not name:
            raise BadRequest("The request must contain the parameter Action", code="MissingAction")
        if name not in self.service.operation_names:
            raise BadRequest(
                f"The action {name[:200]} is not valid for this web service.",
                code="InvalidAction",
            )
        version = request.fields.get("Version")
        if version is not None and not self.knows_version(version):
            raise BadRequest(f"The requested version ({version[:50]}) does not exist", code=self.unknown_version)
        return name

    unknown_version = "InvalidAction"

    def knows_version(self, version: str) -> bool:
        """Tell whether the service has, or had, an API of this date."""
        return version in api_versions(self.service.name)

    def parse(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the operation's parameters in the shape of the model."""
        tree = grow_tree((name, value) for name, value in request.fields.items() if name not in _NOT_PARAMETERS)
        shape = self.service.operation(operation).input_shape or NO_MEMBERS
        parsed: dict[str, Any] = self._parsers.structure(shape)(tree, "")
        return parsed

    def written(self, operation: str, path: Sequence[str | int]) -> str:
        """Return a parameter's name as in requests, such as `NetworkInterface.1.Description`."""
        return self._parsers.written(self.service.operation(operation).input_shape or NO_MEMBERS, path)

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """Return the response in the XML of the model."""
        frame = self._frames.get(operation)
        if frame is None:
            frame = self._frames[operation] = self._compile(self.service.operation(operation))
        head, tail, write_members = frame
        pieces = [head.replace("{request_id}", request_id)]
        if write_members is not None:
            write_members(result, pieces.append)
        elif result:
            raise TypeError(f"{operation} has no result, but got {sorted(result)}")
        pieces.append(tail.replace("{request_id}", request_id))
        return Response(200, _XML, "".join(pieces).encode("utf-8"))

    def _compile(self, operation: OperationModel) -> tuple[str, str, Writer | None]:
        """Return the text around the result's members, with a place for the request id, and the members' writer."""
        shape = operation.output_shape
        writer = self._writers.structure(shape) if isinstance(shape, StructureShape) else None
        wrapper = operation.output_shape.serialization.get("resultWrapper") if operation.output_shape else None
        head, tail = self.frame(operation.name, wrapper)
        return _DECLARATION + head, tail, writer

    def frame(self, operation: str, wrapper: str | None) -> tuple[str, str]:
        """Return the text before and after the members of a result."""
        before, after = (f"<{wrapper}>", f"</{wrapper}>") if wrapper else ("", "")
        return (
            f'<{operation}Response xmlns="{self._namespace}">{before}',
            f"{after}<ResponseMetadata><RequestId>{{request_id}}</RequestId></ResponseMetadata></{operation}Response>",
        )

    def write_error(self, error: WireError, request_id: str) -> Response:
        """Return the error document of the query protocol."""
        _, code = self.service.error_names(error.code)
        text = (
            f'{_DECLARATION}<ErrorResponse xmlns="{self._namespace}"><Error><Type>{error.fault}</Type>'
            f"<Code>{escape(code)}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return Response(error.status, _XML, text.encode("utf-8"))


class Ec2Codec(QueryCodec):
    """The codec of EC2.

    If an operation has no other result, EC2 answers `<return>true</return>`, which old clients require: it is written
    unless the result has another value.
    """

    wire = Wire.EC2
    unknown_version = "NoSuchVersion"

    def __init__(self, service: Service) -> None:
        """Prepare for EC2."""
        super().__init__(service, ec2=True)
        self._returning: dict[str, bool] = {}

    def knows_version(self, version: str) -> bool:
        """Tell whether EC2 had an API of this date; all versions are answered in the format of the newest."""
        return version in EC2_VERSIONS or super().knows_version(version)

    def parse(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the operation's parameters; without instances or an attribute, EC2 names no parameter."""
        try:
            return super().parse(operation, request)
        except MissingParameter as missing:
            if operation in _OF_INSTANCES and missing.name == "InstanceId":
                raise InvalidCombination("No instances specified") from None
            if missing.name == "Attribute" and operation.startswith("Describe"):
                raise InvalidCombination("No attributes specified.") from None
            raise

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """Return the response in the XML of the model, with `Return` true if only the model has it."""
        if self._returns(operation):
            result = {"Return": True, **result}
        return super().write(operation, result, request_id)

    def _returns(self, operation: str) -> bool:
        """Tell whether an operation's output has a boolean member named Return."""
        found = self._returning.get(operation)
        if found is None:
            shape = self.service.operation(operation).output_shape
            member = shape.members.get("Return") if isinstance(shape, StructureShape) else None
            found = self._returning[operation] = member is not None and member.type_name == "boolean"
        return found

    def frame(self, operation: str, wrapper: str | None) -> tuple[str, str]:
        """Return EC2's frame, which has no wrapper element and begins with the request id."""
        del wrapper
        returned = "" if self.service.operation(operation).output_shape else "<return>true</return>"
        return (
            f'<{operation}Response xmlns="{self._namespace}"><requestId>{{request_id}}</requestId>{returned}',
            f"</{operation}Response>",
        )

    def write_error(self, error: WireError, request_id: str) -> Response:
        """Return the error document of EC2."""
        text = (
            f"{_DECLARATION}<Response><Errors><Error><Code>{escape(error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        return Response(error.status, _XML, text.encode("utf-8"))
