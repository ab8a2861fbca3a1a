"""What a URL signed by Version 4 says in its query as headers would: SDKs move headers there, which all are signed.

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
# S3 ignores those of a URL: an SDK writes there that of no content, since it does not know what will be sent.
_CHECKSUMS: Final = ("x-amz-checksum-", "x-amz-sdk-checksum-")


def with_headers(request: Request) -> Request:
    """Give a request whose headers are also those that its query says; one that it has itself is left as it is."""
    known = set(request.header_names())
    found = [(name.lower(), value) for name, value in request.query_fields if name.lower().startswith(_PREFIX)]
    moved = [
        (name, value)
        for name, value in found
        if name not in _SIGNING and name not in known and not name.startswith(_CHECKSUMS)
    ]
    return replace(request, headers=(*request.headers, *moved)) if moved else request
