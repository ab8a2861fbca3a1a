"""Values of the condition keys of a request to S3.

A key that a request does not have is left out: a Deny statement about it does not apply then, so every key of
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html that a request can have is here.
"""

import re
from typing import Any, Final

from stead_controller.object_store import encryption
from stead_controller.object_store.addressing import Address
from stead_controller.object_store.exchange import Exchange
from stead_controller.resources.iam import principal_keys
from stead_controller.resources.policy_keys import source_keys

KMS_KEY: Final = f"s3:{encryption.KEY}"
EXISTING_TAG: Final = "s3:ExistingObjectTag/"
REQUESTED_TAG: Final = "s3:RequestObjectTag"  # with a tag's key; `…TagKeys` is the list of all of them

# Keys whose value is a header's value.
_HEADERS: Final = {
    "aws:Referer": "referer",
    "aws:UserAgent": "user-agent",
    "s3:if-match": "if-match",
    "s3:if-none-match": "if-none-match",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
    "s3:object-lock-mode": "x-amz-object-lock-mode",
    "s3:object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    **{
        f"s3:{name}": name
        for name in (
            "x-amz-acl",
            "x-amz-grant-full-control",
            "x-amz-grant-read",
            "x-amz-grant-read-acp",
            "x-amz-grant-write",
            "x-amz-grant-write-acp",
            "x-amz-metadata-directive",
            "x-amz-object-ownership",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-customer-algorithm",
            "x-amz-storage-class",
            "x-amz-website-redirect-location",
        )
    },
}
# Keys whose value is a query field's value.
_FIELDS: Final = {
    "s3:delimiter": "delimiter",
    "s3:max-keys": "max-keys",
    "s3:prefix": "prefix",
    "s3:VersionId": "versionId",
}
# Whether a write creates an object: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
_MAKES_OBJECT: Final = {
    "CompleteMultipartUpload": True,
    "CopyObject": True,
    "CreateMultipartUpload": False,
    "PutObject": True,
    "UploadPart": False,
    "UploadPartCopy": False,
}
_TLS: Final = re.compile(r"TLSv(\d(?:\.\d)?)\Z")


def of_request(exchange: Exchange, region: str) -> dict[str, Any]:
    """Return the values of all keys except tags of the caller and objects; None is a key that the request lacks."""
    request, query = exchange.request, exchange.query
    found: dict[str, Any] = {
        **principal_keys.of_caller(exchange.asked, exchange.now),
        "aws:CurrentTime": exchange.now,
        "aws:EpochTime": int(exchange.now.timestamp()),
        "aws:RequestedRegion": region,
        "aws:SecureTransport": request.secure,
        **source_keys.of_request(request.source_ip, request.via),
        **_of_signature(exchange),
        **{key: request.header(name) for key, name in _HEADERS.items()},
        **{key: query.get(name) for key, name in _FIELDS.items()},
        "s3:ObjectCreationOperation": _MAKES_OBJECT.get(exchange.operation.name) if exchange.operation else None,
        KMS_KEY: encryption.named_key(request, region, exchange.asked.account_id),
        "s3:TlsVersion": _tls_version(exchange),
        **_of_tags(exchange.tagging),
    }
    if exchange.source_address is not None:
        found["s3:x-amz-copy-source"] = _source(exchange.source_address)
    return found


def of_creation(location: str, tags: dict[str, str]) -> dict[str, Any]:
    """Return the keys that the document of a new bucket adds."""
    return {
        "s3:LocationConstraint": location or None,
        "aws:TagKeys": list(tags),
        **{f"aws:RequestTag/{key}": value for key, value in tags.items()},
    }


def of_requested_tags(tags: dict[str, str]) -> dict[str, Any]:
    """Return the keys that a document with an object's tags adds."""
    return _of_tags(tags)


def of_existing_tags(tags: dict[str, str]) -> dict[str, Any]:
    """Return the keys that the tags of an existing object add."""
    return {f"{EXISTING_TAG}{key}": value for key, value in tags.items()}


def _of_tags(tags: dict[str, str] | None) -> dict[str, Any]:
    if tags is None:
        return {}
    return {f"{REQUESTED_TAG}Keys": list(tags), **{f"{REQUESTED_TAG}/{key}": value for key, value in tags.items()}}


def _of_signature(exchange: Exchange) -> dict[str, Any]:
    """Return the keys about the signature; for Version 2, `s3:signatureAge` is the maximum, as the start is unknown."""
    claim = exchange.claim
    if claim is None:
        return {}
    age = (exchange.now - claim.time).total_seconds() * 1000
    return {
        "s3:authType": "REST-QUERY-STRING" if claim.presigned else "REST-HEADER",
        "s3:signatureAge": max(0, int(age)),
        "s3:signatureversion": "AWS" if exchange.is_version_2 else "AWS4-HMAC-SHA256",
        "s3:x-amz-content-sha256": exchange.payload.declared if exchange.payload else None,
    }


def _tls_version(exchange: Exchange) -> str | None:
    transport = exchange.http.transport if exchange.request.secure else None
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    match = _TLS.match(tls.version() or "") if tls is not None else None
    return match[1] if match else None


def _source(source: Address) -> str:
    """Return a copy source in one canonical form; a header may write it in several."""
    return f"{source.bucket}/{source.key}"
