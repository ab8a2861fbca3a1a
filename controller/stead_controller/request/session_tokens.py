"""Temporary credentials are stateless: a session token holds all facts of a session, sealed.

Every controller with the master key can read every token, so tokens survive a restart. A token is sealed for its
access key's id: it is invalid with another key.
"""

import base64
import binascii
import json
import secrets
import zlib
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidTag

from stead_controller.request.caller import Kind, Origin
from stead_controller.secrets.sealing import Sealer

CONTEXT: Final = "session-token"
"""The context that a token is sealed for, followed by a colon and its access key's id."""

PREFIX: Final = "ASIA"
"""The prefix of the ids of temporary access keys."""

MOST: Final = 4_200
"""The maximum length of a token in characters."""

_VERSION: Final = b"\x01"
_SECRET_BYTES: Final = 30
_ID_BYTES: Final = 10
# An id is 80 bits in base32, as AWS's own are: a 1 bit, 40 bits of the account's number, the rest random.
_ACCOUNT_BITS: Final = 40
_RANDOM_BITS: Final = 39


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of a token. The principal is the role for a role's session, else the calling user, empty for root.

    `policy` is the inline session policy, `policy_arns` are managed policies, read again at each use; together they
    limit the session if there are any, and a federated user's in any case. `origin` is the instance that a role's
    credentials were made for, `provider` the ARN of the identity provider that authenticated the user.
    """

    kind: Kind
    account_id: str
    principal_id: str
    name: str
    issued: datetime
    expires: datetime
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    transitive: tuple[str, ...] = ()
    source_identity: str = ""
    mfa: bool = False
    origin: Origin | None = None
    provider: str = ""

    def packed(self) -> bytes:
        """Serialise and compress it."""
        return zlib.compress(json.dumps(self._values(), separators=(",", ":")).encode(), 9)

    def _values(self) -> dict[str, Any]:
        values = {
            "kind": self.kind,
            "account": self.account_id,
            "principal": self.principal_id,
            "name": self.name,
            "issued": _milliseconds(self.issued),
            "expires": _milliseconds(self.expires),
            "policy": self.policy,
            "arns": self.policy_arns,
            "tags": self.tags,
            "transitive": self.transitive,
            "source": self.source_identity,
            "mfa": self.mfa,
            "origin": None if self.origin is None else astuple(self.origin),
            "provider": self.provider,
        }
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """The credentials that a caller gets; they are not stored."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """The content of a genuine token, and the secret key that belongs to it."""

    secret: str = field(repr=False)
    facts: Facts


def mint(sealer: Sealer, facts: Facts, *, least: int = 0) -> TemporaryCredentials:
    """Make credentials for a session; the token has at least `least` characters and at most `MOST`."""
    key_id = _new_key_id(facts.account_id)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    content = secret.encode() + facts.packed()
    token = _sealed(sealer, content, key_id)
    if len(token) < least:
        missing = (
            min(least, MOST) - len(token)
        ) * 3 // 4 + 3  # the number of bytes that base64 encodes in so many characters
        token = _sealed(sealer, content + bytes(missing), key_id)
    return TemporaryCredentials(key_id, secret, token, facts.expires)


def _sealed(sealer: Sealer, content: bytes, key_id: str) -> str:
    return base64.b64encode(_VERSION + sealer.seal(content, f"{CONTEXT}:{key_id}")).decode()


def open_token(sealer: Sealer, access_key_id: str, token: str) -> Opened | None:
    """Read a token, which may have expired; None when it is not this cloud's, or belongs to another key."""
    try:
        raw = base64.b64decode(token.encode("ascii"), validate=True)
        if raw[:1] != _VERSION:
            return None
        content = sealer.open(raw[1:], f"{CONTEXT}:{access_key_id}")
    except (UnicodeEncodeError, binascii.Error, ValueError, InvalidTag):
        return None
    length = len(secrets.token_urlsafe(_SECRET_BYTES))
    return Opened(content[:length].decode(), _read(content[length:]))


def account_of(access_key_id: str) -> str | None:
    """Read the account from the id of a temporary access key; None when it is not this cloud's."""
    if not access_key_id.startswith(PREFIX) or len(access_key_id) != len(PREFIX) + _ID_BYTES * 8 // 5:
        return None
    try:
        number = int.from_bytes(base64.b32decode(access_key_id[len(PREFIX) :]))
    except binascii.Error:
        return None
    account = number >> _RANDOM_BITS & ((1 << _ACCOUNT_BITS) - 1)
    return f"{account:012}" if number >> (_ACCOUNT_BITS + _RANDOM_BITS) and account < 10**12 else None


def _new_key_id(account_id: str) -> str:
    number = (1 << _ACCOUNT_BITS | int(account_id)) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return PREFIX + base64.b32encode(number.to_bytes(_ID_BYTES)).decode()


def _read(packed: bytes) -> Facts:
    values = json.loads(zlib.decompressobj().decompress(packed))  # the rest is padding
    return Facts(
        kind=values["kind"],
        account_id=values["account"],
        principal_id=values.get("principal", ""),
        name=values.get("name", ""),
        issued=_time(values["issued"]),
        expires=_time(values["expires"]),
        policy=values.get("policy", ""),
        policy_arns=tuple(values.get("arns", ())),
        tags=tuple((key, value) for key, value in values.get("tags", ())),
        transitive=tuple(values.get("transitive", ())),
        source_identity=values.get("source", ""),
        mfa=values.get("mfa", False),
        origin=Origin(*values["origin"]) if "origin" in values else None,
        provider=values.get("provider", ""),
    )


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
