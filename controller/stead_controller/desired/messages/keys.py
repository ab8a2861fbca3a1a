"""Replaces the sealed key of a stored resource by the key itself when the resource is sent.

The desired state is stored in the database, so keys in it are as in all rows: sealed by the master key.
"""

from collections.abc import Callable
from typing import Any, Final

from stead_proto.v1 import desired_pb2 as pb

type OpenKey = Callable[[bytes], bytes]
"""From a sealed key to the key, or to the same sealed anew."""

type Addition = Callable[[bytes], bytes]
"""From an encoded resource to the same with what is stored nowhere and made as it is sent."""

_HOLDERS: Final[dict[int, Callable[[pb.Resource], Any]]] = {
    pb.KIND_VOLUME: lambda resource: resource.volume,
    pb.KIND_BASE: lambda resource: resource.base,
    pb.KIND_SNAPSHOT: lambda resource: resource.snapshot,
    pb.KIND_MACHINE: lambda resource: resource.machine.tpm,
}
WITH_KEYS: Final = frozenset(_HOLDERS)
"""Kinds of resources that may have a key."""


def without_keys(_sealed: bytes) -> bytes:
    """Send no key: for programs that cannot open sealed keys, such as tools that look at the database."""
    return b""


def opened(kind: int, body: bytes, open_key: OpenKey) -> bytes:
    """Return a resource as it is sent; one without a key is sent as it is stored."""
    holder = _HOLDERS.get(kind)
    if holder is None:
        return body
    resource = pb.Resource.FromString(body)
    part = holder(resource)
    if not part.encryption_key:
        return body
    part.encryption_key = open_key(part.encryption_key)
    return resource.SerializeToString(deterministic=True)
