"""Headers: which of a request's headers have an effect or are forwarded, and which headers of answers are returned.

Pure. S3's model names the headers of each operation (`tests/unit/.../test_headers.py` checks all of them): each is
forwarded, read by a module here, or refused by name; a header that requests nothing is accepted with that value.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from stead_controller.errors import BadRequest
from stead_controller.object_store.operations import COPYING, Operation
from stead_controller.object_store.refused_operations import REFUSED_NAMES

# Request headers that are forwarded to the server behind, by lower-case name; x-amz-meta-… are too.
HEADERS: Final = frozenset(
    [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
        "expires",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "range",
        "x-amz-checksum-algorithm",
        "x-amz-checksum-crc32",
        "x-amz-checksum-crc32c",
        "x-amz-checksum-crc64nvme",
        "x-amz-checksum-mode",
        "x-amz-checksum-sha1",
        "x-amz-checksum-sha256",
        "x-amz-checksum-type",
        "x-amz-copy-source-if-match",
        "x-amz-copy-source-if-modified-since",
        "x-amz-copy-source-if-none-match",
        "x-amz-copy-source-if-unmodified-since",
        "x-amz-copy-source-range",
        "x-amz-max-parts",
        "x-amz-metadata-directive",
        "x-amz-mp-object-size",
        "x-amz-object-attributes",
        "x-amz-part-number-marker",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-tagging-directive",
    ]
)
METADATA: Final = "x-amz-meta-"
RESERVED: Final = "x-amz-meta-stead-kms-key"
"""The metadata in which the server behind stores the name of a KMS key: clients can neither send nor see it."""

# Answer headers that are returned to the client, by lower-case name; x-amz-meta-… are too.
ANSWERED: Final = frozenset(
    [
        "accept-ranges",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-range",
        "content-type",
        "etag",
        "expires",
        "last-modified",
        "x-amz-checksum-crc32",
        "x-amz-checksum-crc32c",
        "x-amz-checksum-crc64nvme",
        "x-amz-checksum-sha1",
        "x-amz-checksum-sha256",
        "x-amz-checksum-type",
        "x-amz-copy-source-version-id",
        "x-amz-delete-marker",
        "x-amz-expiration",
        "x-amz-missing-meta",
        "x-amz-server-side-encryption",
        "x-amz-mp-parts-count",
        "x-amz-storage-class",
        "x-amz-tagging-count",
        "x-amz-version-id",
    ]
)

# Headers that are read here or request only the default; by lower-case name, with where, or why there is no effect.
READ: Final[Mapping[str, str]] = {
    "x-amz-acl": "_check: the one ACL that there is",
    "x-amz-api-version": "_ONLY: the one version of S3's API, which the SDK for C++ names in each request",
    "x-amz-bucket-namespace": "_ONLY: the one namespace that there is",
    "x-amz-bucket-object-lock-enabled": "bucket_operations.create_bucket",
    "x-amz-bypass-governance-retention": "_check: no object is locked",
    "x-amz-confirm-remove-self-bucket-access": "nobody is warned, as in S3; the root of an account keeps the policy",
    "x-amz-content-sha256": "payload.declared_hash",
    "x-amz-copy-source": "authorization: the server behind gets another",
    "x-amz-date": "aws.signature",
    "x-amz-decoded-content-length": "payload.Payload",
    "x-amz-expected-bucket-owner": "authorization",
    "x-amz-object-ownership": "bucket_settings.check_ownership",
    "x-amz-optional-object-attributes": "of objects that are being restored, of which there are none",
    "x-amz-request-payer": "the owner of a bucket pays, whoever would",
    "x-amz-security-token": "aws.authenticate",
    "x-amz-server-side-encryption": "encryption.check",
    "x-amz-server-side-encryption-aws-kms-key-id": "encryption.check",
    "x-amz-server-side-encryption-bucket-key-enabled": "encryption.check",
    "x-amz-skip-destination-validation": "bucket_settings: no destination is taken that could be looked at",
    "x-amz-source-expected-bucket-owner": "authorization",
    "x-amz-trailer": "payload.Payload",
    "x-amz-transition-default-minimum-object-size": "_ONLY: what S3 takes for said where nothing is",
    "x-amz-user-agent": "what a browser cannot say in User-Agent",
}

SMALLEST_MOVED: Final = {"x-amz-transition-default-minimum-object-size": "all_storage_classes_128K"}
"""S3's default where a client says nothing: no object of any size is moved to another storage class here."""

# Values that request only the default.
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "x-amz-api-version": ("2006-03-01",),
    "x-amz-bucket-namespace": ("global",),
    **{name: (value,) for name, value in SMALLEST_MOVED.items()},
}
_ACLS: Final = (["private"], ["bucket-owner-full-control"])
# Headers for Object Lock, which no bucket has: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
_OF_LOCKED: Final = frozenset(
    {"x-amz-object-lock-legal-hold", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"}
)
_BYPASS: Final = "x-amz-bypass-governance-retention"
_MOST_METADATA: Final = (
    2048  # characters of all names and values: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
)
STORAGE_CLASS: Final = "x-amz-storage-class"
STANDARD: Final = "STANDARD"
# Classes that differ only in price and in the number of sites in S3; the others are archives, or stored elsewhere.
_CLASSES: Final = frozenset(
    {STANDARD, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
# Operations that do not accept preconditions about the object that they overwrite, as in S3:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_PRECONDITIONS: Final = ("if-match", "if-none-match")
_UNCONDITIONAL: Final = frozenset({"CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy"})
_MAKING: Final = frozenset({"CompleteMultipartUpload", "PutObject"})  # accept only `If-None-Match: *`


def answered(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of the server's answer that concern the client, by lower-case names; RESERVED is included."""
    found = {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() in ANSWERED or name.lower().startswith(METADATA)
    }
    if "content-encoding" in found:
        encoding = own_encoding(found.pop("content-encoding"))  # SeaweedFS also stores the encoding of the transfer
        if encoding:
            found["content-encoding"] = encoding
    if found.get(STORAGE_CLASS) == STANDARD:
        del found[STORAGE_CLASS]  # S3 answers the storage class only if it is not STANDARD
    return found


def own_encoding(text: str) -> str:
    """Return the encoding of an object itself, without that of its transfer."""
    parts = [part.strip() for part in text.split(",")]
    return ", ".join(part for part in parts if part and part.lower() != "aws-chunked")


def check_headers(operation: Operation, headers: Mapping[str, Sequence[str]]) -> None:
    """Raise BadRequest for a header that asks for more than is implemented, for any operation.

    `headers` are the values by lower-case names. Operations that are refused completely are refused later, by name.
    """
    if operation.name in REFUSED_NAMES:
        return
    if "x-amz-copy-source" in headers and operation.name not in COPYING:
        raise BadRequest("You can only specify a copy source header for copy requests.", code="InvalidArgument")
    metadata = [(name, ",".join(values)) for name, values in headers.items() if name.startswith(METADATA)]
    if sum(len(name) - len(METADATA) + len(value) for name, value in metadata) > _MOST_METADATA:
        text = "Your metadata headers exceed the maximum allowed metadata size"
        raise BadRequest(text, code="MetadataTooLarge")
    if RESERVED in headers:
        raise BadRequest(f"The metadata {RESERVED} is reserved.", code="InvalidArgument")
    for name in _PRECONDITIONS:
        if name in headers and operation.name in _UNCONDITIONAL:
            raise _not_built(name)
    if operation.name in _MAKING and headers.get("if-none-match", ["*"]) != ["*"]:
        raise _not_built("if-none-match")
    if operation.name == "CopyObject" and "x-amz-checksum-algorithm" in headers:
        raise _not_built("x-amz-checksum-algorithm")  # a copy has the algorithm of its source
    for name, values in headers.items():
        if name.startswith("x-amz-") and not name.startswith(METADATA):
            _check(name, list(values))


def _check(name: str, values: list[str]) -> None:
    """Raise BadRequest if one of Amazon's headers would not have its effect."""
    if name == "x-amz-acl" or name.startswith("x-amz-grant-"):
        if values not in _ACLS:
            raise BadRequest("The bucket does not allow ACLs", code="AccessControlListNotSupported")
    elif name in _OF_LOCKED:
        raise BadRequest("Bucket is missing Object Lock Configuration", code="InvalidRequest")
    elif name == _BYPASS:
        if values != ["false"]:
            text = f"{_BYPASS} is only applicable to Object Lock enabled buckets"
            raise BadRequest(text, code="InvalidArgument")
    elif name == STORAGE_CLASS:
        if len(values) != 1 or values[0] not in _CLASSES:
            raise BadRequest("The storage class you specified is not valid", code="InvalidStorageClass")
    elif name in _ONLY:
        if values != [*_ONLY[name]]:
            raise _not_built(name)
    elif name not in HEADERS and name not in READ:
        raise _not_built(name)


def _not_built(name: str) -> BadRequest:
    return BadRequest(
        f"A header you provided implies functionality that is not implemented: {name[:80]}", code="NotImplemented"
    )
