"""Records the calls of operators: the caller, the request, the address, and the result. Answers are not recorded."""

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

SOURCE: Final = "operator.stead.internal"

_READING: Final = ("List", "Look", "Explain", "Capture", "Export")
_WEIGHT: Final = 1024


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """One call by an operator, or by a rejected caller; `error` is the name of its status, unless it is OK."""

    time: datetime
    name: str
    caller: str
    peer: str
    request: Any = field(repr=False)
    error: str | None
    weight: int = _WEIGHT

    def drawn(self, region: str) -> AuditEvent:
        """Make a record in CloudTrail's form, which no account may look up."""
        from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - only operators' calls need it

        event_id = str(uuid.uuid4())
        asked = MessageToDict(self.request, preserving_proto_field_name=True) if self.request is not None else None
        read_only = self.name.startswith(_READING)
        event = {
            "eventVersion": "1.11",
            "userIdentity": {"type": "Operator", "principalId": self.caller},
            "eventTime": self.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventSource": SOURCE,
            "eventName": self.name,
            "awsRegion": region,
            "sourceIPAddress": self.peer,
            **({"errorCode": self.error} if self.error else {}),
            "requestParameters": asked or None,
            "responseElements": None,
            "eventID": event_id,
            "readOnly": read_only,
            "eventType": "SteadOperatorCall",
            "eventCategory": "Management",
        }
        text = json.dumps(event, separators=(",", ":"))
        return AuditEvent(event_id, "", self.time, self.name, SOURCE, self.caller, "", read_only, (), text)


class Recording(AroundCalls):
    """Records each call of the services of one .proto file, such as that of the operators."""

    def __init__(self, services: frozenset[str], note: Callable[[OperatorCall], None], clock: Clock) -> None:
        """Store the full names of the services, and the function that receives the records."""
        super().__init__(services)
        self._note = note
        self._clock = clock

    @asynccontextmanager
    async def around(self, name: str, request: Any, context: Context) -> AsyncIterator[None]:
        """Record the call when it has ended, however it did; of a stream of requests none is recorded."""
        try:
            yield
        finally:
            self._note(self._call(name, request if hasattr(request, "DESCRIPTOR") else None, context))

    def _call(self, name: str, request: Any, context: Context) -> OperatorCall:
        try:
            caller = tls.peer_of(context).uri
        except tls.UnknownPeerError:
            caller = ""
        code = context.code()
        status = code.name if isinstance(code, grpc.StatusCode) and code is not grpc.StatusCode.OK else None
        return OperatorCall(self._clock(), name, caller, _address(context.peer()), request, status)


def _address(peer: str) -> str:
    """Extract the address from gRPC's `ipv4:192.0.2.1:40000`."""
    return peer.partition(":")[2].rpartition(":")[0].strip("[]").replace("%5B", "").replace("%5D", "")
