"""Versions named for a bucket that never had versioning: only `null` exists, which is the one object.

The server behind would apply any other version id to that object too, and delete it.
"""

from typing import Final

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.forwarding import send_short
from stead_controller.resources.storage.buckets import BucketFacts

_NULL: Final = "null"


def wrong() -> BadRequest:
    """Return S3's error for a version id that does not exist."""
    return BadRequest("Invalid version id specified", code="InvalidArgument")


async def has_none(backend: Backend, bucket: BucketFacts, version: str) -> bool:
    """Tell whether a version id (empty: none) cannot exist because its bucket never had versioning."""
    if version in ("", _NULL):
        return False
    _, _, document = await send_short(backend, Ask("GET", path_of(bucket.backend_name), [("versioning", "")]))
    return not answers.parse(document).findtext("Status", "").strip()


async def check(backend: Backend, bucket: BucketFacts, version: str) -> None:
    """Raise BadRequest for a version id that cannot exist."""
    if await has_none(backend, bucket, version):
        raise wrong()
