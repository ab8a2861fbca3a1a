"""Opens compressed bodies, which SDKs send of large requests to operations whose model allows it (PutMetricData)."""

import zlib
from dataclasses import replace
from typing import Final

from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest

MAX_OPENED: Final = 1 << 20
"""How long a body may be after it is opened: as long as one that is sent as it is."""

_GZIP: Final = 16 + zlib.MAX_WBITS


def opened(request: Request) -> Request:
    """Return the request with the body that it has without `Content-Encoding: gzip`; raises BadRequest."""
    encoding = (request.header("content-encoding") or "").strip().lower()
    if encoding != "gzip":
        return request
    unpacker = zlib.decompressobj(_GZIP)
    try:
        body = unpacker.decompress(request.body, MAX_OPENED)
        if unpacker.unconsumed_tail or (unpacker.eof and unpacker.unused_data):
            raise BadRequest(f"The body is longer than {MAX_OPENED} bytes", code="RequestEntityTooLarge")
    except zlib.error:
        body = b""
    if not unpacker.eof:
        raise BadRequest("The body is not gzip", code="SerializationException")
    return replace(request, body=body)
