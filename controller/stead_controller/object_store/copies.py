"""A copy gets its source's headers, and the encryption that the request or the target bucket asks for, as in S3.

The server behind stores the name of a KMS key in an object's metadata, so a copy would get its source's key name
instead of its own. If either has one, the source's headers are read and sent as new ones.
See https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html.
"""

from dataclasses import dataclass, field
from typing import Final

from stead_controller.errors import BadRequest
from stead_controller.object_store import encryption, headers
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.exchange import Exchange
from stead_controller.object_store.operations import OF_CONTENT

DIRECTIVE: Final = "x-amz-metadata-directive"

_CONDITION: Final = "x-amz-copy-source-if-"


@dataclass(frozen=True, slots=True)
class Copy:
    """The headers of a copy for the server behind; `is_pinned`: they are valid only while the source is unchanged."""

    headers: dict[str, str] = field(default_factory=dict)
    is_pinned: bool = False


async def headers_of(
    exchange: Exchange, backend: Backend, given: dict[str, str], at_rest: encryption.AtRest | None
) -> Copy:
    """Return the headers that make a copy as S3 does, from those that the request gives; raises BackendError."""
    sent = at_rest.sent() if at_rest is not None else {}
    given = {headers.STORAGE_CLASS: headers.STANDARD, **given}  # as in S3, not the source's
    if given.get(DIRECTIVE) == "REPLACE":
        return Copy({**given, **sent})
    path, _, version = exchange.source.partition("?versionId=")
    async with await backend.send(Ask("HEAD", path, [("versionId", version)] if version else [])) as answer:
        status, found = answer.status, headers.answered(answer.headers)
    has_name = headers.RESERVED in found or headers.RESERVED in sent
    if status >= 400 or not (has_name or _changes_itself(exchange, path, version)):
        return Copy({**given, **sent})  # the server behind answers with the error
    own = {
        name: value
        for name, value in found.items()
        if name in OF_CONTENT or (name.startswith(headers.METADATA) and name != headers.RESERVED)
    }
    rest = {
        name: value for name, value in given.items() if name not in OF_CONTENT and not name.startswith(headers.METADATA)
    }
    is_pinned = "etag" in found and not any(name.startswith(_CONDITION) for name in given)
    pin = {f"{_CONDITION}match": found["etag"]} if is_pinned else {}
    return Copy({**rest, **own, **pin, DIRECTIVE: "REPLACE", **sent}, is_pinned=is_pinned)


def _changes_itself(exchange: Exchange, source: str, version: str) -> bool:
    """Tell whether an object is copied to itself to change its encryption or storage class, which S3 allows."""
    asked = exchange.request.header(encryption.HEADER) or exchange.request.header(headers.STORAGE_CLASS)
    return (
        bool(asked) and not version and source == path_of(exchange.existing_bucket.backend_name, exchange.address.key)
    )


def was_changed() -> BadRequest:
    """Return S3's error for an object that is overwritten while it is copied."""
    text = "A conflicting conditional operation is currently in progress against this resource. Please try again."
    return BadRequest(text, code="OperationAborted")
