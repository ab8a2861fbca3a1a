"""Parse host and path of a request into a bucket and a key; ambiguous paths are refused.

Pure. A key that is not a plain name is refused before authorization: a file-based server behind us may treat `a/../b`,
`a//b` and `a%2Fb` as objects other than the one that the policy check was about.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from stead_controller.errors import BadRequest

MOST_KEY_BYTES: Final = 1024

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_ADDRESS: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+\Z")
_RESERVED_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
# Of an interface endpoint; what precedes `bucket` is a bucket's name, what precedes `control` an account's id.
_ENDPOINT: Final = re.compile(
    r"(?:(?P<before>.+)\.)?(?:bucket|control)\.vpce-[0-9a-f]{17}-[0-9a-f]{8}(?:-[a-z0-9-]+)?"
    r"\.s3\.[a-z0-9-]+\.vpce\.amazonaws\.com\Z"
)
_UPLOADS: Final = ".uploads"  # where SeaweedFS stores uploaded parts, in the bucket itself
_VERSIONS: Final = ".versions"  # where it stores an object's earlier versions, next to the object
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{0,4096}\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """What a request addresses: no bucket, a bucket, or an object in it."""

    bucket: str = ""
    key: str = ""


def read_address(host: str, path: str, domain: str | tuple[str, ...]) -> Address:
    """Parse the address from the Host header and the raw path; a bucket may precede `domain`, or one of several.

    Raises BadRequest.
    """
    if not path.startswith("/"):
        raise BadRequest("Couldn't parse the specified URI.", code="InvalidURI")
    bucket = bucket_of_host(host, domain)
    rest = path[1:]
    if not bucket:
        name, _, rest = rest.partition("/")
        bucket = _decode(name)
    key = _decode(rest)
    if key:
        check_key(key)
    return Address(bucket, key)


def read_copy_source(path: str) -> Address:
    """Parse a header x-amz-copy-source without the version: a URL-encoded path, whose slashes may be encoded too.

    Unlike in the path of a request, a plus means a space. Raises BadRequest.
    """
    path = path.replace("+", "%20").replace("%2F", "/").replace("%2f", "/")
    found = read_address("", path if path.startswith("/") else f"/{path}", "")
    if not found.key:
        raise BadRequest(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey", code="InvalidArgument"
        )
    return found


def bucket_of_host(host: str, domain: str | tuple[str, ...]) -> str:
    """Return the bucket that precedes the domain in a Host header; empty if there is none."""
    name = host.lower().partition(":")[0]
    if found := _ENDPOINT.match(name):
        return found["before"] or ""
    domains = (domain,) if isinstance(domain, str) else domain
    suffix = next((f".{one}" for one in domains if one and name.endswith(f".{one}")), None)
    if suffix is None:
        return ""
    name = name.removesuffix(suffix)
    # Like Amazon's BUCKET.s3.REGION.DOMAIN; the bucket's name may contain dots itself.
    return re.sub(r"(?:^|\.)s3(?:[.-][a-z0-9-]+)?\Z", "", name)


def _decode(text: str) -> str:
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("Couldn't parse the specified URI.", code="InvalidURI") from None


def check_key(key: str) -> None:
    """Raise BadRequest unless the key is an object's plain name, without empty segments, `.` or `..`."""
    if len(key.encode("utf-8", "surrogatepass")) > MOST_KEY_BYTES:
        raise BadRequest("Your key is too long", code="KeyTooLongError")
    if not _is_plain(key):
        raise BadRequest(
            "A key's parts between slashes must not be empty, '.' or '..', nor be reserved names.",
            code="InvalidArgument",
        )


def _is_plain(key: str) -> bool:
    if not key.isprintable() and any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in key):
        return False
    steps = key.split("/")
    inner = steps[:-1] if key.endswith("/") else steps  # `a/` is an object of its own, which represents a folder
    if steps[0] == _UPLOADS:
        return False
    return all(step not in ("", ".", "..") and not step.endswith(_VERSIONS) for step in inner)


def check_prefix(name: str, prefix: str) -> None:
    """Raise BadRequest unless a prefix or marker of a listing stays in its bucket; it may end anywhere in a key."""
    inner = prefix.split("/")
    steps = inner[:-1]
    if (
        len(prefix) > MOST_KEY_BYTES
        or "\0" in prefix
        or inner[-1] in (".", "..")
        or any(step in ("", ".", "..") or step.endswith(_VERSIONS) for step in steps)
        or inner[0] == _UPLOADS
    ):
        raise BadRequest(f"The {name} is no beginning of a key.", code="InvalidArgument")


def check_token(name: str, token: str) -> None:
    """Raise BadRequest if an id or token, which is opaque here and meant for the server behind, could act as a path."""
    if not _TOKEN.match(token) or any(step in (".", "..") for step in token.split("/")) or token.startswith("/"):
        raise BadRequest(f"The {name} is not valid.", code="InvalidArgument")


def check_bucket_name(name: str) -> None:
    """Raise BadRequest for a name that S3 does not accept for a new bucket.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    if (
        not _NAME.match(name)
        or ".." in name
        or _ADDRESS.match(name)
        or name.startswith(_RESERVED_PREFIXES)
        or name.endswith(_RESERVED_SUFFIXES)
    ):
        raise BadRequest("The specified bucket is not valid.", code="InvalidBucketName")


def path_of(bucket: str, key: str = "") -> str:
    """Return the canonical path of a bucket or an object, percent-encoded."""
    return quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")
