"""What every wire protocol offers: which operation is asked, its parameters, and how answers and errors are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import Service


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as AWS shows it: `code`, a message for the user, the HTTP status; 4xx blames the sender."""

    code: str
    message: str
    status: int

    @property
    def fault(self) -> str:
        """Who is to blame, in the words of the query protocol."""
        return "Sender" if self.status < 500 else "Receiver"


class Wire(Enum):
    """The protocols of AWS, by botocore's names of them; S3's errors have a form of their own."""

    EC2 = "ec2"
    QUERY = "query"
    JSON = "json"
    REST_JSON = "rest-json"
    CBOR = "smithy-rpc-v2-cbor"
    REST_XML = "rest-xml"
    S3 = "s3"


class Codec(Protocol):
    """One service's wire."""

    service: Service
    wire: Wire

    def operation_name(self, request: Request) -> str:
        """The operation that the request asks for, one that the service's model has; raises BadRequest."""

    def parse(self, operation: str, request: Request) -> dict[str, Any]:
        """The operation's parameters in the shape of the model; raises BadRequest."""

    def written(self, operation: str, path: Sequence[str | int]) -> str:
        """The name that requests give to the parameter at a path of members and of indices, which count from 0."""

    def write(self, operation: str, result: Mapping[str, Any], request_id: str) -> Response:
        """The answer; raises TypeError or ValueError when the result has not the shape of the model."""

    def write_error(self, error: WireError, request_id: str) -> Response:
        """The error document."""
