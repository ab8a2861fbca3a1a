"""Replaces the sealed key of a stored resource by the key itself when the resource is sent.

The desired state is stored in the database, so keys in it are as in all rows: sealed by the master key.
"""

from collections.abc import Callable
from typing import Final

from stead_proto.v1 import desired_pb2 as pb

type OpenKey = Callable[[bytes], bytes]
"""From a sealed key to the key, or to the same sealed anew."""

type Addition = Callable[[bytes], bytes]
"""From an encoded resource to the same with what is kept nowhere and made as it is sent."""

WITH_KEYS: Final[dict[int, str]] = {pb.KIND_VOLUME: "volume", pb.KIND_BASE: "base", pb.KIND_SNAPSHOT: "snapshot"}
"""Kinds of resources that may have a key, and the part of the message that has it."""


def without_keys(_sealed: bytes) -> bytes:
    """Send no key: for programs that cannot open sealed keys, such as tools that look at the database."""
    return b""


def opened(kind: int, body: bytes, open_key: OpenKey) -> bytes:
    """Return a resource as it is sent; one without a key is sent as it is stored."""
    name = WITH_KEYS.get(kind)
    if name is None:
        return body
    resource = pb.Resource.FromString(body)
    part = getattr(resource, name)
    if not part.encryption_key:
        return body
    part.encryption_key = open_key(part.encryption_key)
    return resource.SerializeToString(deterministic=True)
