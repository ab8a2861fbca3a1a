"""Records the calls of operators, and of machines that enrol: the caller, the request, the address, and the result.

Of answers only the id of a host that has enrolled is recorded; of what such a machine sends neither token nor keys are.
"""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import grpc

from stead_controller.audit.stored_events import AuditEvent
from stead_controller.clock import Clock
from stead_controller.operator.around_calls import AroundCalls, Context
from stead_proto import tls
from stead_proto.v1 import host_pb2, operator_pb2

_READING: Final = ("List", "Look", "Explain", "Capture", "Export", "Measure", "Get")
_WEIGHT: Final = 1024


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of some services, named in full, and what a record says of them: whom they come from, and of what kind."""

    services: frozenset[str]
    source: str
    caller: str
    kind: str
    unsaid: frozenset[str] = frozenset()  # fields of a request
    told: frozenset[str] = frozenset()  # fields of an answer


OPERATORS: Final = Calls(
    frozenset(one.full_name for one in operator_pb2.DESCRIPTOR.services_by_name.values()),
    "operator.stead.internal",
    "Operator",
    "SteadOperatorCall",
)
MACHINES: Final = Calls(
    frozenset({host_pb2.DESCRIPTOR.services_by_name["Enrolment"].full_name}),
    "enrolment.stead.internal",
    "Machine",
    "SteadEnrolment",
    unsaid=frozenset({"token", "csr_pem", "former_certificate_pem", "former_signature"}),
    told=frozenset({"host_id"}),
)


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """One call by an operator, a machine, or a rejected caller; `error` is the name of its status, unless it is OK."""

    calls: Calls
    time: datetime
    name: str
    caller: str
    peer: str
    request: Any = field(repr=False)
    error: str | None
    answer: Any = field(default=None, repr=False)
    weight: int = _WEIGHT

    def drawn(self, region: str) -> AuditEvent:
        """Make a record in CloudTrail's form, which no account may look up."""
        event_id = str(uuid.uuid4())
        asked = {name: value for name, value in _content(self.request).items() if name not in self.calls.unsaid}
        told = {name: value for name, value in _content(self.answer).items() if name in self.calls.told}
        read_only = self.name.startswith(_READING) or bool(asked.get("only_look"))
        event = {
            "eventVersion": "1.11",
            "userIdentity": {"type": self.calls.caller, "principalId": self.caller},
            "eventTime": self.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventSource": self.calls.source,
            "eventName": self.name,
            "awsRegion": region,
            "sourceIPAddress": self.peer,
            **({"errorCode": self.error} if self.error else {}),
            "requestParameters": asked or None,
            "responseElements": told or None,
            "eventID": event_id,
            "readOnly": read_only,
            "eventType": self.calls.kind,
            "eventCategory": "Management",
        }
        text = json.dumps(event, separators=(",", ":"))
        return AuditEvent(event_id, "", self.time, self.name, self.calls.source, self.caller, "", read_only, (), text)


class Recording(AroundCalls):
    """Records each call of some services."""

    def __init__(self, calls: Calls, note: Callable[[OperatorCall], None], clock: Clock) -> None:
        """Store which calls, and the function that receives the records."""
        super().__init__(calls.services)
        self._calls = calls
        self._note = note
        self._clock = clock

    @asynccontextmanager
    async def around(self, name: str, request: Any, context: Context) -> AsyncIterator[Callable[[Any], None]]:
        """Record the call when it has ended, however it did; of a stream of requests none is recorded."""
        answers: list[Any] = []
        try:
            yield answers.append
        finally:
            self._note(self._call(name, request if hasattr(request, "DESCRIPTOR") else None, answers, context))

    def _call(self, name: str, request: Any, answers: list[Any], context: Context) -> OperatorCall:
        try:
            caller = tls.peer_of(context).uri
        except tls.UnknownPeerError:
            caller = ""
        code = context.code()
        status = code.name if isinstance(code, grpc.StatusCode) and code is not grpc.StatusCode.OK else None
        answer = answers[0] if answers else None
        return OperatorCall(self._calls, self._clock(), name, caller, _address(context.peer()), request, status, answer)


def _content(message: Any) -> dict[str, Any]:
    """Give what a message says, by the names of its fields."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - only operators' calls need it

    return MessageToDict(message, preserving_proto_field_name=True) if message is not None else {}


def _address(peer: str) -> str:
    """Extract the address from gRPC's `ipv4:192.0.2.1:40000`."""
    return peer.partition(":")[2].rpartition(":")[0].strip("[]").replace("%5B", "").replace("%5D", "")
