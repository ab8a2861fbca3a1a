"""The span of one call, for traces: which operation, whose request id, how it ended, and nothing that a user wrote."""

from typing import Final

from stead_controller.aws.call import Operation
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.protocol.models import SIGNING_NAMES
from stead_proto import traces
from stead_proto.traces import Span

_UNNAMED: Final = "request"  # of an operation that Stead does not have: its name may be any text


def begin(request: Request) -> Span | None:
    """Begin the span of a request, in the trace of its caller if it brings one; None where it is not recorded."""
    if not traces.is_on():
        return None
    return traces.begin(_UNNAMED, request.header("traceparent") or "", "server")


def end(
    span: Span,
    request_id: str,
    *,
    operation: tuple[str, Operation] | None,
    status: int,
    error_code: str | None,
) -> None:
    """End the span of a call that was answered; `operation` has the service, in botocore's words."""
    about: dict[str, traces.Value] = {"aws.request_id": request_id, "http.response.status_code": status}
    if operation is not None:
        service, found = operation
        span.rename(f"{service}.{found.name}")
        about |= {"rpc.system": "aws-api", "rpc.service": SIGNING_NAMES.get(service, service), "rpc.method": found.name}
    span.note(about)
    if error_code is not None:
        span.fail(error_code)
    span.end()
