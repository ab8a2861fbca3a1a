"""Signature Version 4: parses what a request claims about its signer, and checks the signature with a secret key.

Pure: no clock, no look-ups. The rules are those of
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html: paths are normalised and
encoded twice, and the body is always signed; for S3, paths are not changed, and the body's hash is passed in.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from stead_controller.aws.protocol.message import Request
from stead_controller.errors import NotAuthenticated

ALGORITHM: Final = "AWS4-HMAC-SHA256"
CLOCK_SKEW: Final = timedelta(minutes=15)
MAX_EXPIRES: Final = 604_800
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
S3: Final = "s3"

_TIME: Final = "%Y%m%dT%H%M%SZ"
_TIME_FORM: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z\Z")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}\Z")
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+\Z")
_REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SERVICE: Final = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_ -]{0,62}[A-Za-z0-9_-])?\Z")  # `Service Quotas` is valid
_KEY_ID: Final = re.compile(r"[A-Za-z0-9]{4,128}\Z")


class Reason(Enum):
    """Why a request's signer could not be established."""

    MISSING = "missing"
    INCOMPLETE = "incomplete"
    UNKNOWN_KEY = "unknown key"
    MISMATCH = "mismatch"
    EXPIRED = "expired"
    REGION = "region"
    SERVICE = "service"  # it is not that of the VPC endpoint that the request came through
    TOKEN_EXPIRED = "token expired"  # noqa: S105 — the name of a reason


class Refused(NotAuthenticated):
    """An invalid signature, and why; `aws/errors.py` decides how much of that the caller may learn."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Store the reason in addition to the text."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claim:
    """The signer that a request claims to have, the time, the scope, and the signed headers."""

    access_key_id: str
    time: datetime
    time_text: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    presigned: bool
    expires: int | None
    session_token: str | None = field(repr=False)

    @property
    def scope(self) -> str:
        """The credential scope, in its signed form."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def read_claim(request: Request) -> Claim:
    """Read the claim from the Authorization header or from a presigned URL; raises Refused."""
    authorizations = request.header_values("authorization")
    query = dict(request.query_fields)
    presigned = "X-Amz-Algorithm" in query or "X-Amz-Signature" in query
    if authorizations and presigned:
        raise Refused(Reason.INCOMPLETE, "The request is signed both in its headers and in its query string.")
    if len(authorizations) > 1:
        raise Refused(Reason.INCOMPLETE, "The request has several Authorization headers.")
    if authorizations:
        return _claim_of_header(request, authorizations[0])
    if presigned:
        if len(query) != len(request.query_fields):
            raise Refused(Reason.INCOMPLETE, "The query string has a parameter twice.")
        return _claim_of_query(query)
    if "AWSAccessKeyId" in query:
        raise Refused(Reason.INCOMPLETE, "Signature Version 2 is not supported; sign with Signature Version 4.")
    raise Refused(Reason.MISSING, "Request is missing Authentication Token")


def _claim_of_header(request: Request, text: str) -> Claim:
    algorithm, _, rest = text.strip().partition(" ")
    _require_algorithm(algorithm)
    parts: dict[str, str] = {}
    for piece in rest.split(","):
        name, equals, value = piece.strip().partition("=")
        if not equals or name in parts:
            raise Refused(Reason.INCOMPLETE, "The Authorization header is not a list of key=value pairs.")
        parts[name] = value
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not parts.get(name):
            raise Refused(Reason.INCOMPLETE, f"Authorization header requires '{name}' parameter.")
    amz_date = request.header("x-amz-date")
    if len(request.header_values("x-amz-date")) > 1 or len(request.header_values("x-amz-security-token")) > 1:
        raise Refused(Reason.INCOMPLETE, "The request has a signing header twice.")
    time = _read_time(amz_date) if amz_date is not None else _read_date_header(request.header("date"))
    token = request.header("x-amz-security-token")
    return _claim(parts["Credential"], time, parts["SignedHeaders"], parts["Signature"], token)


def _claim_of_query(query: dict[str, str]) -> Claim:
    _require_algorithm(query.get("X-Amz-Algorithm", ""))
    for name in ("X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"):
        if not query.get(name):
            raise Refused(Reason.INCOMPLETE, f"AWS query-string parameters must include '{name}'.")
    expires_text = query.get("X-Amz-Expires")
    expires = None
    if expires_text is not None:
        is_number = expires_text.isascii() and expires_text.isdigit() and len(expires_text) <= 6
        expires = int(expires_text) if is_number else 0
        if not 1 <= expires <= MAX_EXPIRES:
            raise Refused(Reason.INCOMPLETE, f"X-Amz-Expires must be a number of seconds from 1 to {MAX_EXPIRES}.")
    return _claim(
        query["X-Amz-Credential"],
        _read_time(query["X-Amz-Date"]),
        query["X-Amz-SignedHeaders"],
        query["X-Amz-Signature"],
        query.get("X-Amz-Security-Token"),
        presigned=True,
        expires=expires,
    )


def _claim(
    credential: str,
    time: datetime,
    signed_headers: str,
    signature: str,
    token: str | None,
    *,
    presigned: bool = False,
    expires: int | None = None,
) -> Claim:
    scope = credential.split("/")
    if len(scope) != 5 or scope[4] != "aws4_request" or not _KEY_ID.match(scope[0]):
        raise Refused(Reason.INCOMPLETE, "Credential must be KEY/DATE/REGION/SERVICE/aws4_request.")
    key_id, date, region, service, _ = scope
    if not (_REGION.match(region) and _SERVICE.match(service)):
        raise Refused(Reason.INCOMPLETE, "Credential should be scoped to a valid region and service.")
    time_text = time.strftime(_TIME)
    if date != time_text[:8]:
        raise Refused(Reason.MISMATCH, "Date in Credential scope does not match the date of the request.")
    if presigned:  # version 1 of the SDK for Ruby writes Host there, and signs host
        signed_headers = signed_headers.lower()
    names = tuple(sorted(signed_headers.split(";")))
    if len(set(names)) != len(names) or not all(_HEADER_NAME.match(name) for name in names):
        raise Refused(Reason.INCOMPLETE, "SignedHeaders must be lower-case header names, joined by semicolons.")
    if not _SIGNATURE.match(signature):
        raise Refused(Reason.INCOMPLETE, "Signature must be 64 lower-case hexadecimal digits.")
    return Claim(key_id, time, time_text, date, region, service, names, signature, presigned, expires, token)


def _require_algorithm(algorithm: str) -> None:
    if algorithm != ALGORITHM:
        raise Refused(Reason.INCOMPLETE, f"Unsupported AWS 'algorithm': must be {ALGORITHM}.")


def _read_time(text: str) -> datetime:
    try:
        if _TIME_FORM.match(text):
            return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        pass  # a month 13: refused below like every other malformed date
    raise Refused(Reason.INCOMPLETE, "X-Amz-Date must be in ISO8601 basic format, such as 20260131T120000Z.")


def _read_date_header(text: str | None) -> datetime:
    if text is None:
        raise Refused(Reason.INCOMPLETE, "Authorization header requires existence of either 'X-Amz-Date' or 'Date'.")
    if _TIME_FORM.match(text):
        return _read_time(text)
    try:
        time = parsedate_to_datetime(text)
        return (time.replace(tzinfo=UTC) if time.tzinfo is None else time).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(Reason.INCOMPLETE, "The Date header is no date.") from None


def check_time(claim: Claim, now: datetime) -> None:
    """Raise Refused unless `now` is within the claim's period of validity."""
    if claim.time - CLOCK_SKEW > now:
        raise Refused(Reason.EXPIRED, f"Signature not yet current: {claim.time_text} is too far in the future.")
    lifetime = CLOCK_SKEW if claim.expires is None else timedelta(seconds=claim.expires)
    if claim.time + lifetime < now:
        raise Refused(Reason.EXPIRED, "Request has expired.")


def check_coverage(request: Request, claim: Claim) -> None:
    """Raise Refused unless the signature covers Host and every X-Amz header."""
    signed = set(claim.signed_headers)
    must = {name for name in request.header_names() if name.startswith("x-amz-")} | {"host"}
    for name in sorted(must - signed):
        raise Refused(Reason.MISMATCH, f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def payload_hash(request: Request, *, allow_unsigned: bool = False) -> str:
    """Return the hash that represents the body in the signature; raises Refused if the client declared another one."""
    computed = hashlib.sha256(request.body).hexdigest()
    for declared in request.header_values("x-amz-content-sha256"):
        if declared == UNSIGNED_PAYLOAD and allow_unsigned:
            return declared
        if not hmac.compare_digest(declared.encode("utf-8", "surrogateescape"), computed.encode()):
            raise Refused(Reason.MISMATCH, "The value of X-Amz-Content-Sha256 is not the hash of the body.")
    return computed


def canonical_request(request: Request, claim: Claim, body_hash: str) -> bytes:
    """Return the canonical request, which both sides must compute identically, byte for byte."""
    path = _path_of_objects(request.path) if claim.service == S3 else _canonical_path(request.path)
    lines = [request.method, path, _canonical_query(request.query, claim)]
    for name in claim.signed_headers:
        values = ",".join(" ".join(value.split()) for value in request.header_values(name))
        lines.append(f"{name}:{values}")
    lines += ["", ";".join(claim.signed_headers), body_hash]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _canonical_path(path: str) -> str:
    if path in ("", "/"):
        return "/"
    segments: list[str] = []
    for step in path.split("/"):
        if step == "..":
            del segments[-1:]
        elif step not in ("", "."):
            segments.append(step)
    slash = "/" if segments and path.endswith("/") else ""
    return quote(f"/{'/'.join(segments)}{slash}", safe="/~", encoding="utf-8", errors="surrogateescape")


def _path_of_objects(path: str) -> str:
    """Encode each segment of an S3 path in the canonical way; segments of keys may be anything, even empty."""
    return "/".join(_encode(unquote_to_bytes(step.encode("utf-8", "surrogateescape"))) for step in path.split("/"))


def _canonical_query(query: str, claim: Claim) -> str:
    if not query:
        return ""
    pairs = []
    for piece in query.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((_recode(name), _recode(value)))
    if claim.presigned:
        pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _recode(text: str) -> str:
    """Percent-encode in the canonical way a text that was encoded in any way."""
    return _encode(unquote_to_bytes(text.replace("+", " ")))


def _encode(content: bytes) -> str:
    return quote(content, safe="-_.~")


@lru_cache(maxsize=4096)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Return the signing key that is derived from a secret for a scope."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(request: Request, claim: Claim, secret: str, body_hash: str) -> str:
    """Return the signature of this request with this secret."""
    hashed = hashlib.sha256(canonical_request(request, claim, body_hash)).hexdigest()
    text = f"{ALGORITHM}\n{claim.time_text}\n{claim.scope}\n{hashed}"
    key = signing_key(secret, claim.date, claim.region, claim.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


def is_signed_with(
    request: Request, claim: Claim, secret: str, *, allow_unsigned_payload: bool = False, body_hash: str | None = None
) -> bool:
    """Tell whether this secret made the claim's signature; the time does not depend on the result.

    `body_hash` is the hash that the signature covers, for a body that is checked later while it is received.
    """
    if body_hash is None:
        body_hash = payload_hash(request, allow_unsigned=allow_unsigned_payload)
    expected = sign(request, claim, secret, body_hash)
    return hmac.compare_digest(expected, claim.signature)
