"""S3's XML: errors, our own answers, and answers of the server behind with our names put in.

Pure. Shapes: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html; errors:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

import hashlib
import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from stead_controller.errors import BadRequest
from stead_controller.resources.storage.buckets import PUBLIC_ACCESS, BucketFacts

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_CONTROL: Final = "http://awss3control.amazonaws.com/doc/2018-08-20/"
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_MOST_DELETED: Final = 1000
_PART: Final = re.compile(rb"<Part>.*?</Part>", re.DOTALL)
_CUSTOMERS: Final = "SSE-C"

ETAG_OF_NOTHING: Final = '"d41d8cd98f00b204e9800998ecf8427e"'
"""The ETag of an empty object, which SeaweedFS omits from its listings of versions."""

# HTTP statuses of S3's codes; 400 for all others.
STATUSES: Final[dict[str, int]] = {
    "AccessDenied": 403,
    "AccessForbidden": 403,
    "AccountProblem": 403,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ExpiredToken": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidObjectState": 403,
    "InvalidRange": 416,
    "MetadataConfigurationNotFound": 404,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchCORSConfiguration": 404,
    "NoSuchConfiguration": 404,
    "NoSuchKey": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchPublicAccessBlockConfiguration": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NoSuchWebsiteConfiguration": 404,
    "NotImplemented": 501,
    "OperationAborted": 409,
    "ObjectLockConfigurationNotFoundError": 404,
    "OwnershipControlsNotFoundError": 404,
    "PreconditionFailed": 412,
    "ReplicationConfigurationNotFoundError": 404,
    "RequestTimeTooSkewed": 403,
    "ServerSideEncryptionConfigurationNotFoundError": 404,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
}

_ABSENT: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(
        ("GetBucketMetadataConfiguration", "GetBucketMetadataTableConfiguration"),
        ("MetadataConfigurationNotFound", "The metadata configuration was not found"),
    ),
    "GetBucketReplication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "GetBucketWebsite": (
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration",
    ),
    "GetObjectLockConfiguration": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
}

_NO_MORE: Final = "<IsTruncated>false</IsTruncated>"
_FIXED: Final[dict[str, tuple[str, str]]] = {
    "GetBucketAbac": ("AbacStatus", "<Status>Disabled</Status>"),
    "GetBucketAccelerateConfiguration": ("AccelerateConfiguration", ""),
    "GetBucketLogging": ("BucketLoggingStatus", ""),
    "GetBucketNotificationConfiguration": ("NotificationConfiguration", ""),
    "GetBucketRequestPayment": ("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
    "ListBucketAnalyticsConfigurations": ("ListBucketAnalyticsConfigurationResult", _NO_MORE),
    "ListBucketIntelligentTieringConfigurations": ("ListBucketIntelligentTieringConfigurationsOutput", _NO_MORE),
    "ListBucketInventoryConfigurations": ("ListInventoryConfigurationsResult", _NO_MORE),
    "ListBucketMetricsConfigurations": ("ListMetricsConfigurationsResult", _NO_MORE),
}

SAME_FOR_ALL: Final = frozenset({*_ABSENT, *_FIXED})


@dataclass(frozen=True, slots=True)
class EncryptionRule:
    """How new objects of a bucket are encrypted: `key` is the KMS key's name as the client gave it, or empty.

    `blocks_customers` says that SSE-C (customer-provided keys) is blocked, which it always is.
    """

    algorithm: str
    key: str = ""
    has_bucket_key: bool = False
    blocks_customers: bool = False


def write_error(code: str, message: str, resource: str, request_id: str) -> bytes:
    """Write S3's error document."""
    return (
        f"{_HEAD}<Error><Code>{escape(code)}</Code><Message>{_text(message)}</Message>"
        f"<Resource>{_text(resource)}</Resource><RequestId>{request_id}</RequestId></Error>"
    ).encode("utf-8", "replace")


def wrapped_error(document: bytes) -> bytes:
    """Wrap S3's error document as S3 Control does."""
    inner = document.decode().removeprefix(_HEAD)
    return f"{_HEAD}<ErrorResponse>{inner}</ErrorResponse>".encode()


def canonical_id(account_id: str) -> str:
    """Return the canonical user id of an account, 64 hexadecimal digits."""
    return hashlib.sha256(f"canonical user {account_id}".encode()).hexdigest()


def buckets(found: Sequence[BucketFacts], account_id: str, *, prefix: str, token: str) -> bytes:
    """Write ListAllMyBucketsResult."""
    rows = "".join(
        f"<Bucket><Name>{bucket.name}</Name><CreationDate>{_time(bucket.created)}</CreationDate></Bucket>"
        for bucket in found
    )
    more = f"<ContinuationToken>{token}</ContinuationToken>" if token else ""
    latest_places = f"<Prefix>{_text(prefix)}</Prefix>" if prefix else ""
    return _document(
        "ListAllMyBucketsResult", f"{_owner('Owner', account_id)}<Buckets>{rows}</Buckets>{more}{latest_places}"
    )


def location(region: str) -> bytes:
    """Write LocationConstraint, which is empty for us-east-1."""
    return _document("LocationConstraint", "" if region == "us-east-1" else region)


def access_control(account_id: str) -> bytes:
    """Write the only AccessControlPolicy that buckets and objects have: full control for the owner."""
    grantee = (
        '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">'
        f"<ID>{canonical_id(account_id)}</ID></Grantee>"
    )
    grant = f"<Grant>{grantee}<Permission>FULL_CONTROL</Permission></Grant>"
    return _document(
        "AccessControlPolicy", f"{_owner('Owner', account_id)}<AccessControlList>{grant}</AccessControlList>"
    )


def fixed(operation: str) -> bytes:
    """Return the answer that is the same for all buckets; raises BadRequest for settings that no bucket has."""
    if operation in _ABSENT:
        code, message = _ABSENT[operation]
        raise BadRequest(message, code=code)
    root, content = _FIXED[operation]
    return _document(root, content)


def ownership() -> bytes:
    """Write the only OwnershipControls that buckets have: the owner owns all objects."""
    return _document("OwnershipControls", "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>")


def encryption(rule: EncryptionRule) -> bytes:
    """Write the ServerSideEncryptionConfiguration of a bucket."""
    key = f"<KMSMasterKeyID>{_text(rule.key)}</KMSMasterKeyID>" if rule.key else ""
    default = f"<SSEAlgorithm>{rule.algorithm}</SSEAlgorithm>{key}"
    blocked = f"<EncryptionType>{_CUSTOMERS}</EncryptionType>"
    rows = (
        f"<ApplyServerSideEncryptionByDefault>{default}</ApplyServerSideEncryptionByDefault>"
        f"<BucketKeyEnabled>{str(rule.has_bucket_key).lower()}</BucketKeyEnabled>"
        + (f"<BlockedEncryptionTypes>{blocked}</BlockedEncryptionTypes>" if rule.blocks_customers else "")
    )
    return _document("ServerSideEncryptionConfiguration", f"<Rule>{rows}</Rule>")


def public_access_block(blocked: Collection[str]) -> bytes:
    """Write which settings of PUBLIC_ACCESS are on."""
    rows = (f"<{name}>{str(name in blocked).lower()}</{name}>" for name in PUBLIC_ACCESS)
    return _document("PublicAccessBlockConfiguration", "".join(rows))


def policy_status(*, is_public: bool) -> bytes:
    """Write whether a bucket's policy is public."""
    return _document("PolicyStatus", f"<IsPublic>{str(is_public).lower()}</IsPublic>")


def checksum(values: Sequence[tuple[str, str]]) -> bytes:
    """Write the Checksum element of an object's attributes."""
    return f"<Checksum>{''.join(f'<{name}>{_text(value)}</{name}>' for name, value in values)}</Checksum>".encode()


def cors(rules: Sequence[Sequence[tuple[str, str]]]) -> bytes:
    """Write a CORSConfiguration; each rule is given as its elements."""
    rows = ("".join(f"<{tag}>{_text(value)}</{tag}>" for tag, value in rule) for rule in rules)
    return _document("CORSConfiguration", "".join(f"<CORSRule>{row}</CORSRule>" for row in rows))


def tagging(tags: Sequence[tuple[str, str]]) -> bytes:
    """Write a Tagging document for the server behind."""
    rows = (f"<Tag><Key>{_text(key)}</Key><Value>{_text(value)}</Value></Tag>" for key, value in tags)
    return _document("Tagging", f"<TagSet>{''.join(rows)}</TagSet>")


def resource_tags(tags: Sequence[tuple[str, str]]) -> bytes:
    """Write S3 Control's ListTagsForResourceResult."""
    rows = (f"<Tag><Key>{_text(key)}</Key><Value>{_text(value)}</Value></Tag>" for key, value in tags)
    return _document("ListTagsForResourceResult", f"<Tags>{''.join(rows)}</Tags>", _CONTROL)


def read_resource_tags(document: bytes) -> list[tuple[str, str]]:
    """Return the tags of S3 Control's TagResourceRequest; raises BadRequest."""
    root = parse(document)
    found = [(tag.findtext("Key", ""), tag.findtext("Value", "")) for tag in root.findall("Tags/Tag")]
    if root.tag != "TagResourceRequest" or not found or not all(key for key, _ in found):
        raise malformed()
    if len(dict(found)) != len(found):
        raise BadRequest("Cannot provide multiple Tags with the same key", code="InvalidTag")
    return found


def translate(document: bytes, bucket: BucketFacts, url: str) -> bytes:
    """Put the bucket's own name, owner and URL into an answer of the server behind."""
    text = document.decode("utf-8", "replace")
    text = re.sub(rf"<(Name|Bucket|BucketName)>{re.escape(bucket.backend_name)}</\1>", rf"<\1>{bucket.name}</\1>", text)
    text = re.sub(r"<ETag>([0-9a-f-]+)</ETag>", r"<ETag>&quot;\1&quot;</ETag>", text)  # which SeaweedFS sometimes omits
    text = text.replace("<ETag>&#34;&#34;</ETag>", f"<ETag>{_text(ETAG_OF_NOTHING)}</ETag>")  # of empty versions
    text = re.sub(r"<Location>[^<]*</Location>", lambda _: f"<Location>{_text(url)}</Location>", text)
    for name in ("Owner", "Initiator"):
        text = re.sub(rf"<{name}>.*?</{name}>", _owner(name, bucket.account_id), text, flags=re.DOTALL)
    return text.encode()


def latest_parts(document: bytes) -> bytes:
    """Remove replaced parts from a ListPartsResult; SeaweedFS lists them together with their replacements."""
    latest: dict[bytes, tuple[bytes, int]] = {}
    for place, part in enumerate(_PART.findall(document)):
        number, time = (_text_of(part, name) for name in (b"PartNumber", b"LastModified"))
        latest[number] = max(latest.get(number, (b"", 0)), (time, place))
    latest_places = {place for _, place in latest.values()}
    places = itertools.count()
    return _PART.sub(lambda found: found[0] if next(places) in latest_places else b"", document)


def _text_of(part: bytes, name: bytes) -> bytes:
    found = re.search(rb"<%s>([^<]*)<" % name, part)
    return found[1] if found else b""


def read_error(document: bytes) -> tuple[str, str]:
    """Return code and message of the server's error document; both are empty if it is not one."""
    try:
        root = parse(document)
    except BadRequest:
        return "", ""
    return root.findtext("Code", ""), root.findtext("Message", "")


def parse(document: bytes) -> ET.Element:
    """Parse a document and remove the namespace from its elements' names; raises BadRequest."""
    if b"<!" in document:
        raise malformed()
    try:
        root = ET.fromstring(document)  # noqa: S314 — only a DTD is dangerous, and it was refused above
    except (ET.ParseError, ValueError):
        raise malformed() from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def read_creation(document: bytes) -> tuple[str, list[tuple[str, str]]]:
    """Return the LocationConstraint and the tags of a CreateBucketConfiguration; raises BadRequest."""
    if not document:
        return "", []
    root = parse(document)
    if root.tag != "CreateBucketConfiguration":
        raise malformed()
    unknown = {element.tag for element in root} - {"LocationConstraint", "Tags"}
    if unknown:
        raise BadRequest(f"A bucket's {min(unknown)[:80]} is not implemented.", code="NotImplemented")
    tags = [(tag.findtext("Key", ""), tag.findtext("Value", "")) for tag in root.findall("Tags/Tag")]
    if len({key for key, _ in tags}) != len(tags):
        raise BadRequest("Cannot provide multiple Tags with the same key", code="InvalidTag")
    return root.findtext("LocationConstraint", "").strip(), tags


def read_encryption(document: bytes) -> EncryptionRule:
    """Read a ServerSideEncryptionConfiguration; raises BadRequest."""
    root = parse(document)
    rules = root.findall("Rule")
    if root.tag != "ServerSideEncryptionConfiguration" or len(root) != 1 or len(rules) != 1:
        raise malformed()
    given = {element.tag: element for element in rules[0]}
    default = given.pop("ApplyServerSideEncryptionByDefault", None)
    bucket_key = given.pop("BucketKeyEnabled", None)
    blocked = given.pop("BlockedEncryptionTypes", None)
    switch = "false" if bucket_key is None else (bucket_key.text or "").strip().lower()
    if default is None or given or switch not in ("true", "false"):
        raise malformed()
    types = [] if blocked is None else [(element.text or "").strip() for element in blocked]
    if types not in ([], [_CUSTOMERS]):  # blocking other types is not implemented, so they would stay allowed
        raise BadRequest(f"BlockedEncryptionTypes other than {_CUSTOMERS} are not implemented.", code="NotImplemented")
    algorithm, key = (default.findtext(name, "").strip() for name in ("SSEAlgorithm", "KMSMasterKeyID"))
    if key and algorithm == "AES256":
        raise BadRequest(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms", code="InvalidArgument"
        )
    return EncryptionRule(algorithm, key, has_bucket_key=switch == "true", blocks_customers=bool(types))


def read_public_access_block(document: bytes) -> frozenset[str]:
    """Return which settings of PUBLIC_ACCESS a PublicAccessBlockConfiguration turns on; raises BadRequest."""
    root = parse(document)
    given = {element.tag: (element.text or "").strip().lower() for element in root}
    if (
        root.tag != "PublicAccessBlockConfiguration"
        or len(given) != len(root)
        or not set(given) <= set(PUBLIC_ACCESS)
        or not set(given.values()) <= {"true", "false"}
    ):
        raise malformed()
    return frozenset(name for name, value in given.items() if value == "true")


def asks_for_mfa_delete(document: bytes) -> bool:
    """Tell whether a VersioningConfiguration turns MFA delete on; raises BadRequest."""
    return parse(document).findtext("MfaDelete", "").strip().lower() == "enabled"


def read_ownership(document: bytes) -> str:
    """Return the ObjectOwnership of an OwnershipControls document; raises BadRequest."""
    root = parse(document)
    rules = root.findall("Rule/ObjectOwnership")
    if root.tag != "OwnershipControls" or len(rules) != 1:
        raise malformed()
    return (rules[0].text or "").strip()


def read_delete(document: bytes) -> tuple[list[tuple[str, str, str]], bool]:
    """Return the keys of a Delete document, each with its version id and its condition, and whether it is quiet.

    Raises BadRequest.
    """
    root = parse(document)
    found = [
        (
            item.findtext("Key", ""),
            item.findtext("VersionId", ""),
            next((child.tag for child in item if child.tag not in ("Key", "VersionId")), ""),
        )
        for item in root.findall("Object")
    ]
    if root.tag != "Delete" or not 1 <= len(found) <= _MOST_DELETED or not all(key for key, _, _ in found):
        raise malformed()
    return found, root.findtext("Quiet", "").strip().lower() == "true"


def has_versions(document: bytes) -> bool:
    """Tell whether a ListVersionsResult lists anything; raises BadRequest if the document is not one."""
    root = parse(document)
    return root.find("Version") is not None or root.find("DeleteMarker") is not None


def write_delete(keys: Sequence[tuple[str, str]], *, quiet: bool) -> bytes:
    """Write a Delete document for the server behind."""
    rows = "".join(
        f"<Object><Key>{_text(key)}</Key>{f'<VersionId>{_text(version)}</VersionId>' if version else ''}</Object>"
        for key, version in keys
    )
    return _document("Delete", f"{'<Quiet>true</Quiet>' if quiet else ''}{rows}")


def join_deleted(document: bytes, refused: Sequence[tuple[str, str, str, str]]) -> bytes:
    """Add refused keys (key, version id, code, message) to a DeleteResult, which may be empty."""
    rows = "".join(
        f"<Error><Key>{_text(key)}</Key>{f'<VersionId>{_text(version)}</VersionId>' if version else ''}"
        f"<Code>{code}</Code><Message>{_text(message)}</Message></Error>"
        for key, version, code, message in refused
    ).encode()
    if not document:
        return _document("DeleteResult", rows.decode())
    if not rows:
        return document
    head, end, tail = document.rpartition(b"</DeleteResult>")
    return head + rows + end + tail if end else document.replace(b"/>", b">" + rows + b"</DeleteResult>")


def _document(root: str, content: str, namespace: str = _NAMESPACE) -> bytes:
    return f'{_HEAD}<{root} xmlns="{namespace}">{content}</{root}>'.encode()


def _owner(name: str, account_id: str) -> str:
    return f"<{name}><ID>{canonical_id(account_id)}</ID><DisplayName>{account_id}</DisplayName></{name}>"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _text(text: str) -> str:
    """Escape text, and remove characters that XML does not allow."""
    return escape(
        "".join(letter if letter >= " " or letter in "\t\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
    )


def malformed() -> BadRequest:
    """Return S3's error for a malformed document."""
    return BadRequest(
        "The XML you provided was not well-formed or did not validate against our published schema", code="MalformedXML"
    )
