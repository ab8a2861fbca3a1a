"""Determines the caller of a request from its signature.

An unknown key is checked against a secret that no key has, so that it differs from a known key with a wrong signature
neither in time, apart from a few instructions of the interpreter, nor, for EC2, in the answer.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import Claim, Reason, Refused, check_coverage, check_time, is_signed_with
from stead_controller.request.caller import Caller, Session
from stead_controller.resources.iam.accounts import OpenedKey

NOBODYS_SECRET: Final = secrets.token_urlsafe(30)
_NOBODYS_KEY: Final = OpenedKey(NOBODYS_SECRET, Caller("", "", "", ""), active=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key with its secret and its owner; temporary ones have a session token and an expiration time."""

    access_key_id: str
    secret: str = field(repr=False)
    caller: Caller
    active: bool = True
    session_token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


_NOBODYS: Final = Credential("", NOBODYS_SECRET, _NOBODYS_KEY.caller, active=False)

KeyLookup = Callable[[str, str | None], Awaitable[Credential | None]]
"""From an access key's id, and its session token, to its credential; None if it does not exist."""


def by_opened_keys(find: Callable[[str, str | None], Awaitable[OpenedKey | None]]) -> KeyLookup:
    """Make a KeyLookup of a function that returns decrypted keys."""

    async def find_credential(access_key_id: str, session_token: str | None) -> Credential | None:
        found = await find(access_key_id, session_token)
        key = found or _NOBODYS_KEY  # so that both cases take the same time
        session = key.caller.session
        credential = Credential(
            access_key_id,
            key.secret,
            key.caller,
            active=key.active,
            session_token=None if session is None else session_token,
            expires=None if session is None else session.expires,
        )
        return credential if found else None

    return find_credential


def begun_by(params: Mapping[str, Any], result: Mapping[str, Any] | None, now: datetime) -> Caller | None:
    """Return the caller whose role session an unsigned operation has begun, by its answer; None if there is none."""
    if result is None or not result.get("AssumedRoleUser") or not result.get("Credentials"):
        return None
    user, credentials, role_arn = result["AssumedRoleUser"], result["Credentials"], params.get("RoleArn", "")
    role_id, _, name = user["AssumedRoleId"].partition(":")
    return Caller(
        account_id=role_arn.split(":")[4],
        arn=user["Arn"],
        user_id=user["AssumedRoleId"],
        access_key_id=credentials["AccessKeyId"],
        kind="role",
        session=Session(name, issued=now, expires=credentials["Expiration"]),
        principal_id=role_id,
        principal_arn=role_arn,
    )


async def authenticate(
    request: Request,
    claim: Claim,
    find_key: KeyLookup,
    now: datetime,
    *,
    allow_unsigned_payload: bool = False,
    body_hash: str | None = None,
) -> Caller:
    """Determine who signed the request; raises Refused."""
    found = await find_signer(
        request, claim, find_key, now, allow_unsigned_payload=allow_unsigned_payload, body_hash=body_hash
    )
    return found.caller


async def find_signer(
    request: Request,
    claim: Claim,
    find_key: KeyLookup,
    now: datetime,
    *,
    allow_unsigned_payload: bool = False,
    body_hash: str | None = None,
) -> Credential:
    """Return the key that signed the request; raises Refused.

    `body_hash` is the hash that the signature covers, for a body that is checked later while it is received.
    """
    check_time(claim, now)
    check_coverage(request, claim)
    credential = await find_key(claim.access_key_id, claim.session_token) or _NOBODYS
    is_genuine = is_signed_with(
        request, claim, credential.secret, allow_unsigned_payload=allow_unsigned_payload, body_hash=body_hash
    )
    return require_signer(credential, claim.session_token, is_genuine=is_genuine, now=now)


def require_signer(
    credential: Credential | None, session_token: str | None, *, is_genuine: bool, now: datetime
) -> Credential:
    """Return the key found for a signature, if it made this signature; raises Refused."""
    known = credential or _NOBODYS
    is_same = _same_token(known.session_token, session_token)  # computed for both, so that both take the same time
    if not known.active or not is_same:
        raise Refused(Reason.UNKNOWN_KEY, "The security token included in the request is invalid.")
    if not is_genuine:
        raise Refused(
            Reason.MISMATCH,
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    if known.expires is not None and known.expires <= now:
        raise Refused(Reason.TOKEN_EXPIRED, "The security token included in the request is expired")
    return known


def _same_token(stored: str | None, given: str | None) -> bool:
    if stored is None or given is None:
        return stored is given
    return hmac.compare_digest(stored.encode(), given.encode("utf-8", "surrogateescape"))
