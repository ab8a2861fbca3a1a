"""Assembles the bytes of a `HostUpdate` from stored bodies without parsing them: each is encoded once for many hosts.

Protobuf's encoding allows that: fields may come in any order, and a message is the concatenation of its fields
(https://protobuf.dev/programming-guides/encoding/).
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_VARINTS: Final = 4096  # lengths of bodies, and the revisions of a round: all parts of a VPC have few


def _tag(
    message: type[pb.HostUpdate] | type[pb.DesiredState] | type[desired.Resource], field: str, wire_type: int
) -> bytes:
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type)


@lru_cache(_VARINTS)
def _varint(value: int) -> bytes:
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


_STATE = _tag(pb.HostUpdate, "state", 2)
_RESOURCES = _tag(pb.DesiredState, "resources", 2)
_REMOVALS = _tag(pb.DesiredState, "removals", 2)
_TRACES = _tag(pb.DesiredState, "traces", 2)
_REVISION = _tag(desired.Resource, "revision", 0)


def resource(body: bytes, revision: int) -> bytes:
    """Encode a resource of a state from its stored body, which has no revision."""
    return b"".join(
        (_RESOURCES, _varint(len(body) + len(_REVISION) + len(number := _varint(revision))), body, _REVISION, number)
    )


def removal(kind: int, resource_id: str, revision: int, *, force: bool = False) -> bytes:
    """Encode a removal of a state."""
    message = desired.Removal(kind=desired.Kind.ValueType(kind), id=resource_id, revision=revision, force=force)
    content = message.SerializeToString()
    return b"".join((_REMOVALS, _varint(len(content)), content))


def traced(revision: int, traceparent: str, request_id: str) -> bytes:
    """Encode that a call with this trace, or none, and this request id made the changes of a revision."""
    traced_revision = pb.TracedRevision(revision=revision, traceparent=traceparent, request_id=request_id)
    content = traced_revision.SerializeToString()
    return b"".join((_TRACES, _varint(len(content)), content))


def update(
    revision: int,
    epoch: str,
    pieces: Iterable[bytes],
    *,
    full: bool = False,
    older: bool = False,
    patient: bool = False,
) -> bytes:
    """Encode a whole HostUpdate from the resources and removals of its state."""
    head = pb.DesiredState(revision=revision, epoch=epoch, full=full, older=older, patient=patient).SerializeToString()
    content = b"".join((head, *pieces))
    return b"".join((_STATE, _varint(len(content)), content))
