"""Table of S3's operations: by method, path and query of a request, with the permission and the fields that each needs.

Pure. https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html; actions:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html. A query field or header that is
not in these tables is never forwarded to the server behind.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from stead_controller.errors import BadRequest
from stead_controller.object_store.addressing import Address
from stead_controller.object_store.refused_operations import REFUSED, Level

type Body = Literal["none", "document", "stream"]

SUBRESOURCES: Final = frozenset(
    [
        "accelerate",
        "acl",
        "analytics",
        "attributes",
        "cors",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "abac",
        "annotation",
        "metadataAnnotationTable",
        "metadataConfiguration",
        "metadataInventoryTable",
        "metadataJournalTable",
        "metadataTable",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versioning",
        "versions",
        "website",
    ]
)
# Query fields that SDKs and presigned URLs add.
_ELSEWHERE: Final = frozenset({"x-id", "AWSAccessKeyId", "Expires", "Signature"})
_LISTING: Final = ("prefix", "delimiter", "max-keys", "encoding-type")
OF_CONTENT: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
"""Headers that the writer of an object sets and that are stored with it."""
_ANSWER: Final = tuple(f"response-{name}" for name in OF_CONTENT)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation; `is_answered_here`: without the server behind, or with several requests to it."""

    name: str
    action: str
    query: tuple[str, ...] = ()
    body: Body = "none"
    is_answered_here: bool = False


def _here(name: str, action: str, body: Body = "none", query: tuple[str, ...] = ()) -> Operation:
    return Operation(name, action, query, body, is_answered_here=True)


def _of_list(kind: str) -> Operation:
    return _here(f"ListBucket{kind}Configurations", f"Get{kind}Configuration", query=("continuation-token",))


def _absent(kind: str) -> Operation:
    return _here(f"DeleteBucket{kind}Configuration", f"Put{kind}Configuration", query=("id",))


_TABLE: Final[dict[tuple[str, Level, str], Operation]] = {
    ("GET", "service", ""): _here(
        "ListBuckets",
        "ListAllMyBuckets",
        query=("bucket-region", "continuation-token", "max-buckets", "prefix"),
    ),
    ("PUT", "bucket", ""): _here("CreateBucket", "CreateBucket", "document"),
    ("DELETE", "bucket", ""): _here("DeleteBucket", "DeleteBucket"),
    ("HEAD", "bucket", ""): _here("HeadBucket", "ListBucket"),
    ("GET", "bucket", ""): Operation("ListObjects", "ListBucket", (*_LISTING, "marker")),
    ("GET", "bucket", "versions"): Operation(
        "ListObjectVersions", "ListBucketVersions", (*_LISTING, "versions", "key-marker", "version-id-marker")
    ),
    ("GET", "bucket", "uploads"): Operation(
        "ListMultipartUploads",
        "ListBucketMultipartUploads",
        ("prefix", "delimiter", "max-uploads", "encoding-type", "uploads", "key-marker", "upload-id-marker"),
    ),
    ("POST", "bucket", "delete"): _here("DeleteObjects", "DeleteObject", "document"),
    ("GET", "bucket", "versioning"): Operation("GetBucketVersioning", "GetBucketVersioning", ("versioning",)),
    ("PUT", "bucket", "versioning"): Operation(
        "PutBucketVersioning", "PutBucketVersioning", ("versioning",), "document"
    ),
    ("GET", "bucket", "tagging"): Operation("GetBucketTagging", "GetBucketTagging", ("tagging",)),
    ("PUT", "bucket", "tagging"): Operation("PutBucketTagging", "PutBucketTagging", ("tagging",), "document"),
    ("DELETE", "bucket", "tagging"): Operation("DeleteBucketTagging", "PutBucketTagging", ("tagging",)),
    ("GET", "bucket", "lifecycle"): Operation(
        "GetBucketLifecycleConfiguration", "GetLifecycleConfiguration", ("lifecycle",)
    ),
    ("PUT", "bucket", "lifecycle"): Operation(
        "PutBucketLifecycleConfiguration", "PutLifecycleConfiguration", ("lifecycle",), "document"
    ),
    ("DELETE", "bucket", "lifecycle"): Operation("DeleteBucketLifecycle", "PutLifecycleConfiguration", ("lifecycle",)),
    ("GET", "bucket", "policy"): _here("GetBucketPolicy", "GetBucketPolicy"),
    ("PUT", "bucket", "policy"): _here("PutBucketPolicy", "PutBucketPolicy", "document"),
    ("DELETE", "bucket", "policy"): _here("DeleteBucketPolicy", "DeleteBucketPolicy"),
    ("GET", "bucket", "location"): _here("GetBucketLocation", "GetBucketLocation"),
    ("GET", "bucket", "acl"): _here("GetBucketAcl", "GetBucketAcl"),
    ("PUT", "bucket", "acl"): _here("PutBucketAcl", "PutBucketAcl", "document"),
    ("GET", "bucket", "accelerate"): _here("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration"),
    ("PUT", "bucket", "accelerate"): _here(
        "PutBucketAccelerateConfiguration", "PutAccelerateConfiguration", "document"
    ),
    ("GET", "bucket", "abac"): _here("GetBucketAbac", "GetBucketAbac"),
    ("PUT", "bucket", "abac"): _here("PutBucketAbac", "PutBucketAbac", "document"),
    ("GET", "bucket", "cors"): _here("GetBucketCors", "GetBucketCORS"),
    ("PUT", "bucket", "cors"): _here("PutBucketCors", "PutBucketCORS", "document"),
    ("GET", "bucket", "analytics"): _of_list("Analytics"),
    ("DELETE", "bucket", "analytics"): _absent("Analytics"),
    ("DELETE", "bucket", "cors"): _here("DeleteBucketCors", "PutBucketCORS"),
    ("GET", "bucket", "encryption"): _here("GetBucketEncryption", "GetEncryptionConfiguration"),
    ("PUT", "bucket", "encryption"): _here("PutBucketEncryption", "PutEncryptionConfiguration", "document"),
    ("DELETE", "bucket", "encryption"): _here("DeleteBucketEncryption", "PutEncryptionConfiguration"),
    ("GET", "bucket", "intelligent-tiering"): _of_list("IntelligentTiering"),
    ("DELETE", "bucket", "intelligent-tiering"): _absent("IntelligentTiering"),
    ("GET", "bucket", "inventory"): _of_list("Inventory"),
    ("DELETE", "bucket", "inventory"): _absent("Inventory"),
    ("GET", "bucket", "metrics"): _of_list("Metrics"),
    ("DELETE", "bucket", "metrics"): _absent("Metrics"),
    ("GET", "bucket", "logging"): _here("GetBucketLogging", "GetBucketLogging"),
    ("PUT", "bucket", "logging"): _here("PutBucketLogging", "PutBucketLogging", "document"),
    ("GET", "bucket", "metadataConfiguration"): _here(
        "GetBucketMetadataConfiguration", "GetBucketMetadataTableConfiguration"
    ),
    ("DELETE", "bucket", "metadataConfiguration"): _here(
        "DeleteBucketMetadataConfiguration", "DeleteBucketMetadataTableConfiguration"
    ),
    ("GET", "bucket", "metadataTable"): _here(
        "GetBucketMetadataTableConfiguration", "GetBucketMetadataTableConfiguration"
    ),
    ("DELETE", "bucket", "metadataTable"): _here(
        "DeleteBucketMetadataTableConfiguration", "DeleteBucketMetadataTableConfiguration"
    ),
    ("GET", "bucket", "notification"): _here("GetBucketNotificationConfiguration", "GetBucketNotification"),
    ("PUT", "bucket", "notification"): _here("PutBucketNotificationConfiguration", "PutBucketNotification", "document"),
    ("GET", "bucket", "object-lock"): _here("GetObjectLockConfiguration", "GetBucketObjectLockConfiguration"),
    ("GET", "bucket", "ownershipControls"): _here("GetBucketOwnershipControls", "GetBucketOwnershipControls"),
    ("PUT", "bucket", "ownershipControls"): _here(
        "PutBucketOwnershipControls", "PutBucketOwnershipControls", "document"
    ),
    ("DELETE", "bucket", "ownershipControls"): _here("DeleteBucketOwnershipControls", "PutBucketOwnershipControls"),
    ("GET", "bucket", "policyStatus"): _here("GetBucketPolicyStatus", "GetBucketPolicyStatus"),
    ("GET", "bucket", "publicAccessBlock"): _here("GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
    ("PUT", "bucket", "publicAccessBlock"): _here("PutPublicAccessBlock", "PutBucketPublicAccessBlock", "document"),
    ("DELETE", "bucket", "publicAccessBlock"): _here("DeletePublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("GET", "bucket", "replication"): _here("GetBucketReplication", "GetReplicationConfiguration"),
    ("DELETE", "bucket", "replication"): _here("DeleteBucketReplication", "PutReplicationConfiguration"),
    ("GET", "bucket", "requestPayment"): _here("GetBucketRequestPayment", "GetBucketRequestPayment"),
    ("PUT", "bucket", "requestPayment"): _here("PutBucketRequestPayment", "PutBucketRequestPayment", "document"),
    ("GET", "bucket", "website"): _here("GetBucketWebsite", "GetBucketWebsite"),
    ("DELETE", "bucket", "website"): _here("DeleteBucketWebsite", "DeleteBucketWebsite"),
    ("GET", "object", ""): Operation("GetObject", "GetObject", ("versionId", "partNumber", *_ANSWER)),
    ("HEAD", "object", ""): Operation("HeadObject", "GetObject", ("versionId", "partNumber", *_ANSWER)),
    ("PUT", "object", ""): Operation("PutObject", "PutObject", (), "stream"),
    ("DELETE", "object", ""): Operation("DeleteObject", "DeleteObject", ("versionId",)),
    ("POST", "object", "uploads"): Operation("CreateMultipartUpload", "PutObject", ("uploads",)),
    ("PUT", "object", "uploadId"): Operation("UploadPart", "PutObject", ("uploadId", "partNumber"), "stream"),
    ("POST", "object", "uploadId"): Operation("CompleteMultipartUpload", "PutObject", ("uploadId",), "document"),
    ("DELETE", "object", "uploadId"): Operation("AbortMultipartUpload", "AbortMultipartUpload", ("uploadId",)),
    ("GET", "object", "uploadId"): Operation(
        "ListParts", "ListMultipartUploadParts", ("uploadId", "max-parts", "part-number-marker", "encoding-type")
    ),
    ("GET", "object", "tagging"): Operation("GetObjectTagging", "GetObjectTagging", ("tagging", "versionId")),
    ("PUT", "object", "tagging"): Operation(
        "PutObjectTagging", "PutObjectTagging", ("tagging", "versionId"), "document"
    ),
    ("DELETE", "object", "tagging"): Operation("DeleteObjectTagging", "DeleteObjectTagging", ("tagging", "versionId")),
    ("GET", "object", "attributes"): Operation(
        "GetObjectAttributes", "GetObjectAttributes", ("attributes", "versionId")
    ),
    ("GET", "object", "acl"): _here("GetObjectAcl", "GetObjectAcl", query=("versionId",)),
    ("PUT", "object", "acl"): _here("PutObjectAcl", "PutObjectAcl", "document", ("versionId",)),
    ("GET", "object", "legal-hold"): _here("GetObjectLegalHold", "GetObjectLegalHold", query=("versionId",)),
    ("PUT", "object", "legal-hold"): _here("PutObjectLegalHold", "PutObjectLegalHold", "document", ("versionId",)),
    ("GET", "object", "retention"): _here("GetObjectRetention", "GetObjectRetention", query=("versionId",)),
    ("PUT", "object", "retention"): _here("PutObjectRetention", "PutObjectRetention", "document", ("versionId",)),
    ("POST", "object", "restore"): _here("RestoreObject", "RestoreObject", "document", ("versionId",)),
    **{named: _here(name, action) for named, (name, action) in REFUSED.items()},
}

# With an `id`, an operation that lists configurations returns one of them.
_OF_ONE: Final[dict[str, Operation]] = {
    f"ListBucket{name}Configurations": _here(f"GetBucket{name}Configuration", f"Get{name}Configuration", query=("id",))
    for name in ("Analytics", "IntelligentTiering", "Inventory", "Metrics")
}
LIST_V2: Final = Operation(
    "ListObjectsV2", "ListBucket", (*_LISTING, "list-type", "continuation-token", "fetch-owner", "start-after")
)
COPY: Final = Operation("CopyObject", "PutObject")
COPY_PART: Final = Operation("UploadPartCopy", "PutObject", ("uploadId", "partNumber"))

FIELDS: Final = SUBRESOURCES.union(
    {"list-type", "id"}, *(each.query for each in (*_TABLE.values(), LIST_V2, COPY_PART))
)
"""All query fields that have a meaning for an operation."""

NAMES: Final = frozenset(one.name for one in (*_TABLE.values(), *_OF_ONE.values(), LIST_V2, COPY, COPY_PART))
COPYING: Final = frozenset({COPY.name, COPY_PART.name})
_PARTS: Final = frozenset({"UploadPart", COPY_PART.name})
_MOST_PARTS: Final = 10_000


def find_operation(method: str, address: Address, query: Collection[str], *, copies: bool) -> Operation:
    """Return the operation that a request names; raises BadRequest if Stead lacks it or it does not exist.

    `query` are the names of its query fields; `copies` says whether it has a copy source.
    """
    level: Level = "object" if address.key else "bucket" if address.bucket else "service"
    named = sorted(SUBRESOURCES.intersection(query))
    if len(named) > 1:
        raise BadRequest(f"Conflicting query string parameters: {', '.join(named)}", code="InvalidArgument")
    which = (method, level, named[0] if named else "")
    found = _TABLE.get(which)
    if which in REFUSED and found is not None:
        return found  # whatever else it contains
    if found is None:
        if named or method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            raise BadRequest(
                "A header or query you provided implies functionality that is not implemented.", code="NotImplemented"
            )
        raise BadRequest("The specified method is not allowed against this resource.", code="MethodNotAllowed")
    unknown = {name for name in query if not name.lower().startswith("x-amz-")} - _ELSEWHERE - {*found.query, *named}
    if unknown and method in ("PUT", "POST", "DELETE"):
        # Otherwise an unknown newer subresource would be taken for the bucket or object itself, and might delete it.
        raise BadRequest(f"The query field {min(unknown)} is not implemented.", code="NotImplemented")
    if found.name in _OF_ONE and "id" in query:
        return _OF_ONE[found.name]
    if found.name == "ListObjects" and "list-type" in query:
        return LIST_V2
    if copies and found.name in ("PutObject", "UploadPart"):
        return COPY if found.name == "PutObject" else COPY_PART
    return found


def check_fields(operation: Operation, query: Mapping[str, str]) -> None:
    """Raise BadRequest for an empty upload id or version id, or a part without number.

    The server behind would ignore an empty one, and take the request for another operation.
    """
    if "uploadId" in operation.query and not query.get("uploadId"):
        text = (
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
            "completed."
        )
        raise BadRequest(text, code="NoSuchUpload")
    if "versionId" in operation.query and query.get("versionId") == "":
        raise BadRequest("Version id cannot be the empty string", code="InvalidArgument")
    part = query.get("partNumber")
    has_part = "partNumber" in operation.query and (part is not None or operation.name in _PARTS)
    if has_part and not _is_part(part or ""):
        text = f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive"
        raise BadRequest(text, code="InvalidArgument")


def _is_part(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= _MOST_PARTS
