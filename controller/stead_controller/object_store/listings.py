"""All that is in a bucket of the server behind, page by page: versions, uploads that are not complete, their parts."""

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from stead_controller.object_store import answers
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.forwarding import send_short

_LISTED: Final = "1000"

type Pairs = tuple[tuple[str, str], ...]


async def versions(backend: Backend, backend_name: str, prefix: str = "") -> AsyncIterator[ET.Element]:
    """Yield ListVersionsResults, with keys decoded; raises BackendRefusal, BackendError."""
    query = (("versions", ""), ("prefix", prefix), ("encoding-type", "url"), ("max-keys", _LISTED))
    after = (("key-marker", "NextKeyMarker"), ("version-id-marker", "NextVersionIdMarker"))
    async for page in _pages(backend, path_of(backend_name), query, after):
        yield page


async def uploads(backend: Backend, backend_name: str, prefix: str = "") -> AsyncIterator[ET.Element]:
    """Yield ListMultipartUploadsResults; raises BackendRefusal, BackendError.

    Asked to encode keys, SeaweedFS says that it did, and did not.
    """
    query = (("uploads", ""), ("prefix", prefix), ("max-uploads", _LISTED))
    after = (("key-marker", "NextKeyMarker"), ("upload-id-marker", "NextUploadIdMarker"))
    async for page in _pages(backend, path_of(backend_name), query, after):
        yield page


async def parts(backend: Backend, backend_name: str, key: str, upload: str) -> AsyncIterator[ET.Element]:
    """Yield ListPartsResults, without parts that were replaced; raises BackendRefusal, BackendError."""
    query = (("uploadId", upload), ("max-parts", _LISTED))
    after = (("part-number-marker", "NextPartNumberMarker"),)
    async for page in _pages(backend, path_of(backend_name, key), query, after):
        yield page


async def _pages(backend: Backend, path: str, query: Pairs, markers: Pairs) -> AsyncIterator[ET.Element]:
    """Yield pages; `markers` are the parameters that ask for the next one, and where a page has their values."""
    after = ["" for _ in markers]
    while True:
        more = [(name, value) for (name, _), value in zip(markers, after, strict=True) if value]
        _, _, document = await send_short(backend, Ask("GET", path, [*query, *more]))
        root = answers.parse(answers.latest_parts(document) if len(markers) == 1 else document)
        _decode(root)
        yield root
        following = [root.findtext(name, "") for _, name in markers]
        if root.findtext("IsTruncated", "").strip().lower() != "true" or following in (after, ["" for _ in markers]):
            return
        after = following


def _decode(root: ET.Element) -> None:
    """Decode a listing's keys if the server has URL-encoded them as requested."""
    if root.findtext("EncodingType") == "url":
        for element in root.iter():
            if element.tag in ("Key", "NextKeyMarker"):
                element.text = unquote_plus(element.text or "")
