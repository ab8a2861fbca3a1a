"""What every wire protocol does: determine the operation, parse its parameters, write results and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import Service


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as AWS shows it: `code`, a message for the user, the HTTP status; 4xx means the sender's fault."""

    code: str
    message: str
    status: int

    @property
    def fault(self) -> str:
        """Whose fault it is, in the words of the query protocol."""
        return "Sender" if self.status < 500 else "Receiver"


class Wire(Enum):
    """The protocols of AWS, by botocore's names for them; S3's errors have their own format."""

    EC2 = "ec2"
    QUERY = "query"
    JSON = "json"
    REST_JSON = "rest-json"
    CBOR = "smithy-rpc-v2-cbor"
    REST_XML = "rest-xml"
    S3 = "s3"


class Codec(Protocol):
    """The wire protocol of one service."""

    service: Service
    wire: Wire

    def operation_name(self, request: Request) -> str:
        """Return the operation of a request, if the service's model has it; raises BadRequest."""

    def parse(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the operation's parameters in the shape of the model; raises BadRequest."""

    def written(self, operation: str, path: Sequence[str | int]) -> str:
        """Return the name in requests of the parameter at a path of members and of indices, which count from 0."""

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """Return the response; raises TypeError or ValueError if the result does not have the shape of the model."""

    def write_error(self, error: WireError, request_id: str) -> Response:
        """Return the response with the error document."""
