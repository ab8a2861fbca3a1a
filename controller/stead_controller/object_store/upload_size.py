"""Checks the object size that CompleteMultipartUpload may state, since not every server behind does.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html, x-amz-mp-object-size
"""

from typing import Final
from xml.etree.ElementTree import Element

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.exchange import Exchange
from stead_controller.object_store.forwarding import send_short

HEADER: Final = "x-amz-mp-object-size"

_DIGITS: Final = 15


async def check(exchange: Exchange, backend: Backend) -> None:
    """Raise BadRequest if an upload states an object size and its parts have another size in total."""
    wanted = exchange.request.header(HEADER)
    if wanted is None:
        return
    document = answers.parse(await exchange.document())
    named = {(part.findtext("PartNumber", "").strip(), _etag(part)) for part in document.findall("Part")}
    path = path_of(exchange.existing_bucket.backend_name, exchange.address.key)
    sizes = await _parts(backend, path, exchange.query["uploadId"])
    size = sum(length for part, length in sizes.items() if part in named)
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= _DIGITS) or int(wanted) != size:
        text = f"The provided '{HEADER}' header does not match what was computed."
        raise BadRequest(text, code="InvalidRequest")


def _etag(part: Element) -> str:
    return part.findtext("ETag", "").strip().strip('"')


async def _parts(backend: Backend, path: str, upload_id: str) -> dict[tuple[str, str], int]:
    """Return the sizes of all uploaded parts, by number and ETag; SeaweedFS includes replaced ones."""
    found: dict[tuple[str, str], int] = {}
    after = ""
    while True:
        query = [("uploadId", upload_id), *([("part-number-marker", after)] if after else [])]
        _, _, listed = await send_short(backend, Ask("GET", path, query))
        root = answers.parse(listed)
        page = root.findall("Part")
        found |= {(part.findtext("PartNumber", ""), _etag(part)): int(part.findtext("Size", "0")) for part in page}
        if root.findtext("IsTruncated", "").strip().lower() != "true" or not page:
            return found
        after = page[-1].findtext("PartNumber", "")
