"""Encryption at rest: what a client may ask, and what is so.

As in S3, all new objects are encrypted with AES-256 (SSE-S3), asked for or not, wherever the server behind does it. The
embedded one does; where another does not, who asks for it is refused, and nobody is told that it is so. See
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingServerSideEncryption.html.
"""

from typing import Final

from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest
from stead_controller.object_store.backend import ENCRYPTED, Backend

((HEADER, ALGORITHM),) = ENCRYPTED.items()
BUCKET_KEY: Final = f"{HEADER}-bucket-key-enabled"  # of KMS, which there is not: only `false` is so
WRITING: Final = frozenset({"CopyObject", "CreateMultipartUpload", "PutObject"})


def check(request: Request, operation: str) -> None:
    """Raise BadRequest unless a request asks for the one encryption that there is, where it may ask, or for none."""
    asked = request.header_values(HEADER)
    if asked and operation not in WRITING:
        raise BadRequest(f"{HEADER} header is not supported for this operation.", code="InvalidArgument")
    if asked and asked != [ALGORITHM]:
        raise wrong_algorithm()
    if request.header_values(BUCKET_KEY) not in ([], ["false"]):
        raise not_built()


def wrong_algorithm() -> BadRequest:
    """S3's words for any encryption but SSE-S3's."""
    return BadRequest(
        f"The encryption request that you specified is not valid. The valid value is {ALGORITHM}.",
        code="InvalidEncryptionAlgorithmError",
    )


def not_built() -> BadRequest:
    """S3's words for what the server behind cannot do."""
    return BadRequest(
        "A header you provided implies functionality that is not implemented.",
        code="NotImplemented",
    )


async def of_bucket(backend: Backend, path: str) -> dict[str, str]:
    """Give the headers that new objects at a path, or below it, are sent with; raises BackendError."""
    bucket = "/" + path.split("/", 2)[1]
    return dict(ENCRYPTED) if await backend.encrypts(bucket) else {}


async def of_request(backend: Backend, request: Request, path: str) -> dict[str, str]:
    """Give the headers that the new object of a request is sent with; raises BadRequest, BackendError."""
    found = await of_bucket(backend, path)
    if not found and request.header(HEADER) is not None:
        raise not_built()
    return found
