"""Temporary credentials are stateless: a session token holds, sealed, all that a session is.

Whoever has the master key can read every token, so that tokens outlive a restart and any controller knows them. A token
is sealed for its access key's id: with another key it is no token.
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
"""What a token is sealed for, with its access key's id after a colon."""

PREFIX: Final = "ASIA"
"""What ids of temporary access keys begin with."""

MOST: Final = 4_200
"""Characters of the longest token."""

_VERSION: Final = b"\x01"
_SECRET_BYTES: Final = 30
_ID_BYTES: Final = 10
# An id is 80 bits in base32, as AWS's own are: a bit that is set, 40 bits of the account's number, the rest at random.
_ACCOUNT_BITS: Final = 40
_RANDOM_BITS: Final = 39


@dataclass(frozen=True, slots=True)
class Facts:
    """What a token says. Of a role the principal is the role, else the user who asked, or nobody for root.

    `policy` is the session policy as it was given, `policy_arns` are managed policies, read anew each time; between
    them they limit the session where there are any, and a federated user's in any case. `origin` is the instance that
    a role's credentials were made for, `provider` the ARN of the issuer who knew whom they are for.
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
        """Write it down compressed."""
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
    """What a caller is given; it is kept nowhere."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """What a genuine token says, and the secret key that belongs to it."""

    secret: str = field(repr=False)
    facts: Facts


def mint(sealer: Sealer, facts: Facts, *, least: int = 0) -> TemporaryCredentials:
    """Make credentials for a session, whose token has `least` characters at least, up to `MOST`."""
    key_id = _new_key_id(facts.account_id)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    content = secret.encode() + facts.packed()
    token = _sealed(sealer, content, key_id)
    if len(token) < least:
        missing = (min(least, MOST) - len(token)) * 3 // 4 + 3  # bytes of which base64 makes as many characters
        token = _sealed(sealer, content + bytes(missing), key_id)
    return TemporaryCredentials(key_id, secret, token, facts.expires)


def _sealed(sealer: Sealer, content: bytes, key_id: str) -> str:
    return base64.b64encode(_VERSION + sealer.seal(content, f"{CONTEXT}:{key_id}")).decode()


def open_token(sealer: Sealer, access_key_id: str, token: str) -> Opened | None:
    """Read a token, which may have expired; None when it is none of ours, or another key's."""
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
    """Read the account out of the id of a temporary access key; None when it is none of ours."""
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
    values = json.loads(zlib.decompressobj().decompress(packed))  # what follows fills the token up
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
