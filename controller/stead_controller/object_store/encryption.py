"""Encryption at rest: what a client may ask for, and what is done.

As in S3, all new objects are encrypted with AES-256, asked for or not, if the server behind can encrypt. The embedded
one does, with a key for each object. If another server does not, requests for encryption are refused, and no answer
claims encryption. See https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingServerSideEncryption.html.

There is no KMS. SSE-KMS objects are encrypted like all others; the name of the key, from the request or the bucket's
default, is stored with the object by the server behind, in RESERVED, and shown wherever S3 shows it. Features that need
a KMS are refused: an encryption context, and DSSE-KMS. A part does not say how it is encrypted: the key's name
belongs to the whole object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest
from stead_controller.object_store import answers
from stead_controller.object_store.backend import ENCRYPTED, Backend
from stead_controller.object_store.headers import RESERVED
from stead_controller.resources.storage import kms_keys
from stead_controller.resources.storage.buckets import BucketFacts

((HEADER, ALGORITHM),) = ENCRYPTED.items()
KMS: Final = "aws:kms"
KEY: Final = f"{HEADER}-aws-kms-key-id"
BUCKET_KEY: Final = f"{HEADER}-bucket-key-enabled"
WRITING: Final = frozenset({"CopyObject", "CreateMultipartUpload", "PutObject"})

_TWO_LAYERS: Final = "aws:kms:dsse"
_DEFAULT_KEY: Final = "alias/aws/s3"
_BUCKET_KEY: Final = "bucket-key"  # what RESERVED may contain besides the key


@dataclass(frozen=True, slots=True)
class AtRest:
    """How an object is encrypted: `key` is the ARN of the KMS key that is shown for it, empty for SSE-S3."""

    key: str = ""
    has_bucket_key: bool = False

    def sent(self) -> dict[str, str]:
        """Return the headers with which the server behind stores this."""
        if not self.key:
            return dict(ENCRYPTED)
        return {**ENCRYPTED, RESERVED: f"{self.key} {_BUCKET_KEY}" if self.has_bucket_key else self.key}

    def answered(self) -> dict[str, str]:
        """Return the headers that show this to a client."""
        if not self.key:
            return dict(ENCRYPTED)
        return {HEADER: KMS, KEY: self.key, **({BUCKET_KEY: "true"} if self.has_bucket_key else {})}


def shown(headers: Mapping[str, str]) -> dict[str, str]:
    """Return an answer's headers, by lower-case names, with the key's name where S3 has it."""
    found = dict(headers)
    key, _, more = found.pop(RESERVED, "").partition(" ")
    if HEADER in found and key:
        found |= AtRest(key, has_bucket_key=more == _BUCKET_KEY).answered()
    return found


def check(request: Request, operation: str) -> None:
    """Raise BadRequest if a request asks for an encryption that does not exist, or where it may not ask for one."""
    asked = request.header_values(HEADER)
    if asked and operation not in WRITING:
        raise BadRequest(f"{HEADER} header is not supported for this operation.", code="InvalidArgument")
    if asked not in ([], [ALGORITHM], [KMS]):
        raise wrong_algorithm(",".join(asked))
    has_key = bool(request.header_values(KEY))
    bucket_key = request.header_values(BUCKET_KEY)
    if (has_key and asked != [KMS]) or (bucket_key not in ([], ["false"]) and asked == [ALGORITHM]):
        text = f"Server Side Encryption with AWS KMS managed key requires HTTP header {HEADER} : {KMS}"
        raise BadRequest(text, code="InvalidArgument")
    if bucket_key not in ([], ["false"], ["true"]) or (bucket_key and operation not in WRITING):
        raise BadRequest(f"The {BUCKET_KEY} header is not valid.", code="InvalidArgument")


def wrong_algorithm(asked: str) -> BadRequest:
    """Return S3's error for an unknown encryption algorithm, or for DSSE-KMS, which Stead does not have."""
    if asked == _TWO_LAYERS:
        return BadRequest(f"The encryption {_TWO_LAYERS} is not implemented.", code="NotImplemented")
    return BadRequest(
        f"The encryption request that you specified is not valid. The valid values are {ALGORITHM} and {KMS}.",
        code="InvalidEncryptionAlgorithmError",
    )


def not_built() -> BadRequest:
    """Return S3's error for encryption that the server behind cannot do."""
    return BadRequest(
        "A header you provided implies functionality that is not implemented.",
        code="NotImplemented",
    )


def named_key(request: Request, region: str, account_id: str) -> str | None:
    """Return the KMS key that a request itself names, in the form that conditions compare: its ARN if it is one."""
    if request.header(HEADER) != KMS:
        return request.header(KEY)
    name = request.header(KEY) or _DEFAULT_KEY
    return kms_keys.arn_of(name, "aws", region, account_id) or name


def key_arn(name: str, region: str, account_id: str) -> str:
    """Return the ARN of the key that an account means by a name, maybe empty; raises BadRequest with KMS's message."""
    named = kms_keys.region_of(name)
    arn = kms_keys.arn_of(name or _DEFAULT_KEY, "aws", region, account_id)
    if named not in (None, region):
        raise BadRequest(f"Invalid arn {named}", code="KMS.NotFoundException")
    if arn is None:
        raise BadRequest(f"Invalid keyId '{name[:80]}'", code="KMS.NotFoundException")
    return arn


async def of_bucket(backend: Backend, bucket: BucketFacts, region: str, account_id: str) -> AtRest | None:
    """Return how an account's new object is encrypted by default; None: it is not encrypted. Raises BackendError."""
    if not await backend.encrypts(f"/{bucket.backend_name}"):
        return None
    rule = answers.read_encryption(bucket.encryption.encode()) if bucket.encryption is not None else None
    if rule is None or rule.algorithm != KMS:
        return AtRest()
    return AtRest(key_arn(rule.key, region, account_id), has_bucket_key=rule.has_bucket_key)


async def of_request(
    backend: Backend, request: Request, bucket: BucketFacts, region: str, account_id: str
) -> AtRest | None:
    """Return how the new object of a request is encrypted; None: it is not. Raises BadRequest, BackendError."""
    found = await of_bucket(backend, bucket, region, account_id)
    asked = request.header(HEADER)
    if found is None and asked is not None:
        raise not_built()
    if found is None or asked == ALGORITHM:
        return found and AtRest()
    key = found.key if asked is None else key_arn(request.header(KEY) or "", region, account_id)
    said = request.header(BUCKET_KEY)
    has_bucket_key = found.has_bucket_key if said is None else said == "true"
    if has_bucket_key and not key:
        raise BadRequest(f"{BUCKET_KEY} is of {KMS}.", code="InvalidArgument")
    return AtRest(key, has_bucket_key=has_bucket_key)
