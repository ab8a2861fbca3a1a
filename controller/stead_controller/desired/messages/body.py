"""Encodes a message of `desired.proto` as the bytes of the `Resource` that carries it."""

from typing import Final

from google.protobuf.message import Message

from stead_proto.v1 import desired_pb2 as pb

# The kind of a resource, and its id.
type Key = tuple[int, str]

_FIELDS: Final = {
    field.message_type.full_name: field.name
    for field in pb.Resource.DESCRIPTOR.oneofs_by_name["body"].fields
    if field.message_type is not None
}


def encode(resource_id: str, body: Message) -> bytes:
    """Return the bytes of a Resource without its revision, set when it is sent; equal bodies give equal bytes."""
    wrapped = pb.Resource(id=resource_id)
    getattr(wrapped, _FIELDS[body.DESCRIPTOR.full_name]).CopyFrom(body)
    return wrapped.SerializeToString(deterministic=True)
