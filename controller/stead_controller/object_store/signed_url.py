"""Header values in the query of a presigned Version 4 URL: SDKs move headers there, and all of them are signed.

Pure. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from dataclasses import replace
from typing import Final

from stead_controller.aws.protocol.message import Request

_PREFIX: Final = "x-amz-"
_SIGNING: Final = frozenset(
    f"x-amz-{name}"
    for name in (
        "algorithm",
        "content-sha256",
        "credential",
        "date",
        "expires",
        "security-token",
        "signature",
        "signedheaders",
        "user-agent",
    )
)
# S3 ignores these in a URL: an SDK writes the checksum of an empty body there, since it does not know the body yet.
_CHECKSUMS: Final = ("x-amz-checksum-", "x-amz-sdk-checksum-")


def with_headers(request: Request) -> Request:
    """Return a request whose headers include those in its query; headers that the request already has are unchanged."""
    known = set(request.header_names())
    found = [(name.lower(), value) for name, value in request.query_fields if name.lower().startswith(_PREFIX)]
    moved = [
        (name, value)
        for name, value in found
        if name not in _SIGNING and name not in known and not name.startswith(_CHECKSUMS)
    ]
    return replace(request, headers=(*request.headers, *moved)) if moved else request
