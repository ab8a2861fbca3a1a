"""CloudTrail's record of a call to S3: the request and its outcome, without signatures and other credentials.

Field names: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-understanding-s3-entries.html
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers
from stead_controller.object_store.exchange import Exchange
from stead_controller.object_store.operations import FIELDS

_MOST_TEXT: Final = 1024
MOST_DOCUMENT: Final = 1 << 16
_MOST_KEYS: Final = 1 << 15  # maximum bytes of keys that are shown of one deletion
_DEPTH: Final = 16
_HEADERS: Final = (
    "range",
    "x-amz-acl",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-copy-source",
    "x-amz-expected-bucket-owner",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
)
# Of a presigned URL: how long it is valid, not its signature, key or token.
_OF_URLS: Final = ("Expires", "X-Amz-Algorithm", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")
_ANSWERED: Final = (
    "x-amz-copy-source-version-id",
    "x-amz-delete-marker",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-version-id",
)
# Documents that would be too long, and those with contents.
_NOT_SHOWN: Final = frozenset({"CompleteMultipartUpload", "DeleteObjects"})


def asked(exchange: Exchange) -> dict[str, Any]:
    """Return the parameters of a request, as far as they were read: `Bucket`, `Key`, the rest by CloudTrail's names."""
    address, request = exchange.address, exchange.request
    found: dict[str, Any] = {"Bucket": address.bucket} if address.bucket else {}
    if address.key:
        found["Key"] = address.key
    host = request.header("host")
    if host:
        found["Host"] = host[:_MOST_TEXT]
    for name, value in exchange.query.items():
        if name in FIELDS or name in _OF_URLS:
            found[name] = value[:_MOST_TEXT]
    for name in _HEADERS:
        header = request.header(name)
        if header is not None:
            found[name] = header[:_MOST_TEXT]
    return {**found, **exchange.noted, **_document(exchange)}


def answered(headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the headers of an answer that describe what was written."""
    return {name: headers[name] for name in _ANSWERED if name in headers} or None


def additional(exchange: Exchange) -> dict[str, Any]:
    """Return how a request was signed, and the bytes of content sent and received."""
    found: dict[str, Any] = {"bytesTransferredIn": exchange.received, "bytesTransferredOut": exchange.sent}
    if exchange.claim is not None:
        found["SignatureVersion"] = "SigV2" if exchange.is_version_2 else "SigV4"
        found["AuthenticationMethod"] = "QueryString" if exchange.claim.presigned else "AuthHeader"
    return found


def deletion(keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return which keys, with their versions, were to be deleted."""
    shown: list[dict[str, str]] = []
    room = _MOST_KEYS
    for key, version in keys:
        room -= len(key) + len(version)
        if room < 0:
            break
        shown.append({"key": key, **({"versionId": version} if version else {})})
    more = len(keys) - len(shown)
    return {"delete": {"objects": shown, **({"more": more} if more else {})}}


def _document(exchange: Exchange) -> dict[str, Any]:
    """Return the content of a short document, if one was read."""
    content = exchange.content
    if not content or exchange.operation_name in _NOT_SHOWN:
        return {}
    if len(content) > MOST_DOCUMENT:
        return {"document": {"omitted": True, "originalSize": len(content)}}
    try:
        if exchange.operation_name == "PutBucketPolicy":
            return {"bucketPolicy": json.loads(content)}
        root = answers.parse(content)
        return {root.tag: _plain(root, _DEPTH)}
    except (BadRequest, ValueError, RecursionError):
        return {"document": content[:_MOST_TEXT].decode("utf-8", "replace")}


def _plain(element: ET.Element, depth: int) -> Any:
    """Return an element's text, or its children by their names; several children of one name become a list."""
    if not len(element) or not depth:
        return element.text or ""
    found: dict[str, Any] = {}
    for child in element:
        value = _plain(child, depth - 1)
        if child.tag not in found:
            found[child.tag] = value
        elif isinstance(found[child.tag], list):
            found[child.tag].append(value)
        else:
            found[child.tag] = [found[child.tag], value]
    return found
