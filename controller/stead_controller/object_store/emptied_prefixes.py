"""Takes prefixes below which nothing is any more out of a listing, which S3 would not show.

Only those below which something was deleted lately (`deleted_prefixes.py`) are asked for: one short request each.
"""

import asyncio
import html
import re
from dataclasses import replace
from itertools import batched
from typing import Final
from urllib.parse import unquote_plus

from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.exchange import Answer, Exchange
from stead_controller.object_store.forwarding import send_short

LISTINGS: Final = frozenset({"ListObjectVersions", "ListObjects", "ListObjectsV2"})
_AT_ONCE: Final = 16
_COMMON: Final = re.compile(rb"<CommonPrefixes>\s*<Prefix>([^<]*)</Prefix>\s*</CommonPrefixes>")
_COUNT: Final = re.compile(rb"<KeyCount>([0-9]+)</KeyCount>")
_ANY: Final = re.compile(rb"<(?:Contents|Version|DeleteMarker)>")


async def without(exchange: Exchange, backend: Backend, answer: Answer) -> Answer:
    """Return the answer of a listing without such prefixes; raises BackendRefusal, BackendError."""
    bucket = exchange.existing_bucket.backend_name
    is_encoded = b"<EncodingType>url</EncodingType>" in answer.body
    shown = {found[1]: _read(found[1], is_encoded=is_encoded) for found in _COMMON.finditer(answer.body)}
    suspects = backend.deleted.suspects(bucket, shown.values())
    empty: set[str] = set()
    for several in batched(suspects.items(), _AT_ONCE):
        found = await asyncio.gather(*(_is_empty(exchange, backend, prefix) for prefix, _ in several))
        for (prefix, time), is_empty in zip(several, found, strict=True):
            if is_empty:
                empty.add(prefix)
            elif exchange.operation_name != "ListObjectVersions":  # which may show more than the others
                backend.deleted.clear(bucket, prefix, time)
    if not empty:
        return answer
    body = _COMMON.sub(lambda match: b"" if shown[match[1]] in empty else match[0], answer.body)
    body = _COUNT.sub(lambda match: b"<KeyCount>%d</KeyCount>" % (int(match[1]) - len(empty)), body)
    return replace(answer, body=body)


def _read(text: bytes, *, is_encoded: bool) -> str:
    prefix = html.unescape(text.decode("utf-8", "replace"))
    return unquote_plus(prefix) if is_encoded else prefix


async def _is_empty(exchange: Exchange, backend: Backend, prefix: str) -> bool:
    kind = ("versions", "") if exchange.operation_name == "ListObjectVersions" else ("list-type", "2")
    query = [kind, ("prefix", prefix), ("max-keys", "1")]
    _, _, document = await send_short(backend, Ask("GET", path_of(exchange.existing_bucket.backend_name), query))
    return _ANY.search(document) is None
