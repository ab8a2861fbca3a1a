"""Versions that a request names, of a bucket that never had any: there is none but `null`, whose the one object is.

The server behind would take any other for that object too, and remove it.
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
    """S3's words for an id that no version has."""
    return BadRequest("Invalid version id specified", code="InvalidArgument")


async def has_none(backend: Backend, bucket: BucketFacts, version: str) -> bool:
    """Tell whether a version, which may be empty for none, cannot be since its bucket never had versions."""
    if version in ("", _NULL):
        return False
    _, _, document = await send_short(backend, Ask("GET", path_of(bucket.backend_name), [("versioning", "")]))
    return not answers.parse(document).findtext("Status", "").strip()


async def check(backend: Backend, bucket: BucketFacts, version: str) -> None:
    """Raise BadRequest where a version cannot be."""
    if await has_none(backend, bucket, version):
        raise wrong()
