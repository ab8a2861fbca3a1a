"""Presigned URLs of Signature Version 2, which boto3 still makes by default.

Pure. The rules are those of https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html, for query
strings. Other forms of Version 2 are not supported.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import MAX_EXPIRES, S3, Claim, Reason, Refused

_KEY_ID: Final = re.compile(r"[A-Za-z0-9]{4,128}\Z")
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{27}=\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,11}\Z")
_TOKEN: Final = "x-amz-security-token"  # noqa: S105 — a parameter's name
# Query fields that are signed; botocore also signs some that the documentation does not name.
_SUBRESOURCES: Final = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)


def is_one(request: Request) -> bool:
    """Tell whether a request uses such a URL; EC2's Version 2 requests state their version."""
    query = request.query
    return "AWSAccessKeyId=" in query and "Expires=" in query and "SignatureVersion=" not in query


def read_claim(request: Request) -> Claim:
    """Read the URL's claimed signer, and until when it is valid; raises Refused."""
    fields = dict(request.query_fields)
    if request.header("authorization") is not None or len(fields) != len(request.query_fields):
        raise Refused(Reason.INCOMPLETE, "The request is signed twice, or has a query parameter twice.")
    key_id, signature, expires = (fields.get(name, "") for name in ("AWSAccessKeyId", "Signature", "Expires"))
    if not (_KEY_ID.match(key_id) and _SIGNATURE.match(signature) and _NUMBER.match(expires)):
        raise Refused(
            Reason.INCOMPLETE, "Query-string authentication requires Signature, Expires and AWSAccessKeyId parameters."
        )
    end = datetime.fromtimestamp(int(expires), UTC)
    # Only the end is known: the start is assumed to be the earliest possible time.
    made = end - timedelta(seconds=MAX_EXPIRES)
    token = fields.get(_TOKEN)
    return Claim(key_id, made, expires, "", "", S3, (), signature, True, MAX_EXPIRES, token)


def check_coverage(request: Request, subresources: Collection[str]) -> None:
    """Raise Refused for a subresource that this version's signatures do not cover: anyone could have added it."""
    named = {name for name, _ in request.query_fields}
    unsigned = sorted(named.intersection(subresources) - _SUBRESOURCES)
    if unsigned:
        raise Refused(Reason.MISMATCH, f"Signature Version 2 does not sign '{unsigned[0]}'; use Version 4.")


def is_signed_with(request: Request, claim: Claim, secret: str, bucket: str) -> bool:
    """Tell whether this secret made the signature; `bucket` is the one in the Host header, if there is one."""
    path = (f"/{bucket}" if bucket else "") + request.path
    # For a bucket alone, botocore signs the path with a trailing slash, others without.
    paths = (path, f"{path}/") if path.count("/") == 1 else (path,)
    is_one = [hmac.compare_digest(_signature(request, claim, secret, each), claim.signature) for each in paths]
    return any(is_one)


def _signature(request: Request, claim: Claim, secret: str, path: str) -> str:
    lines = [
        request.method,
        request.header("content-md5") or "",
        request.header("content-type") or "",
        claim.time_text,
        *_amazon_headers(request, claim),
        path + _subresources(request),
    ]
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    return b64encode(hmac.digest(secret.encode(), text, "sha1")).decode()


def _amazon_headers(request: Request, claim: Claim) -> list[str]:
    names = {name for name in request.header_names() if name.startswith("x-amz-")}
    found = {name: ",".join(value.strip() for value in request.header_values(name)) for name in names}
    if claim.session_token is not None:
        found[_TOKEN] = claim.session_token
    return [f"{name}:{found[name]}" for name in sorted(found)]


def _subresources(request: Request) -> str:
    found = []
    for piece in request.query.split("&"):
        name, equals, value = piece.partition("=")
        if name in _SUBRESOURCES:
            found.append((name, f"{name}={unquote(value.replace('+', ' '))}" if equals and value else name))
    return "?" + "&".join(text for _, text in sorted(found)) if found else ""
