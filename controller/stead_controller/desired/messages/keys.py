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

GIVEN_BACK: Final = frozenset({pb.KIND_VOLUME, pb.KIND_MACHINE})
"""Kinds that a database can adopt which does not know them (`resources/operators/adoption.py`)."""


def without_keys(_sealed: bytes) -> bytes:
    """Send no key: for programs that cannot open sealed keys, such as tools that look at the database."""
    return b""


def opened(kind: int, body: bytes, open_key: OpenKey, *, gives_back: bool = False) -> bytes:
    """Return a resource as it is sent; one without a key is sent as it is stored.

    With `gives_back`, a host can give back a volume's or a machine's key: it gets the sealed one as well.
    """
    holder = _HOLDERS.get(kind)
    if holder is None:
        return body
    resource = pb.Resource.FromString(body)
    part = holder(resource)
    sealed = part.encryption_key
    if not sealed:
        return body
    part.encryption_key = open_key(sealed)
    if gives_back and part.encryption_key and kind in GIVEN_BACK:
        part.sealed_key = sealed
    return resource.SerializeToString(deterministic=True)
