"""Verify a JSON Web Token of an OpenID Connect issuer and read its claims. Pure.

See RFC 7515 (signatures), 7517 and 7518 (keys and algorithms) and 7519 (claims). The key determines the algorithm,
never the token alone.
"""

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from stead_controller.errors import BadRequest
from stead_controller.secrets.oidc_issuers import Keys

_TAGS: Final = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY: Final = "https://aws.amazon.com/source_identity"
_MOST_CHARACTERS: Final = 20_000
_LEAST_RSA_BITS: Final = 2048
# The key type of each accepted algorithm; symmetric algorithms and `none` are not accepted.
_KINDS: Final[dict[object, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
_PUBLIC: Final = ("kty", "n", "e", "crv", "x", "y")


def invalid(message: str) -> BadRequest:
    """Make the error for a token that cannot be verified."""
    return BadRequest(message, code="InvalidIdentityToken")


def issuer_of(token: str) -> str:
    """Read the token's issuer, which is not verified yet. Raises BadRequest."""
    _, claims = _parts(token)
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise invalid("Missing a required claim: iss")
    return issuer


def claims_of(token: str, keys: Keys, now: datetime) -> dict[str, Any]:
    """Return the claims of a token that one of the keys has signed and that is valid now; raises BadRequest."""
    header, claims = _parts(token)
    algorithm = header.get("alg")
    candidates = [key for key in keys if _may_have_signed(key, header, algorithm)]
    if not any(_has_signed(key, str(algorithm), token) for key in candidates):
        raise invalid("The ID Token provided could not be verified: no key of the provider has signed it.")
    for name in ("exp", "iat"):
        if not isinstance(claims.get(name), int | float) or isinstance(claims.get(name), bool):
            raise invalid(f"Missing a required claim: {name}")
    if claims["exp"] <= now.timestamp():
        raise BadRequest(
            f"Token expired: current date/time {int(now.timestamp())} must be before the expiration date/time "
            f"{int(claims['exp'])}",
            code="ExpiredTokenException",
        )
    not_before = claims.get("nbf", claims["iat"])
    if not isinstance(not_before, int | float) or not_before > now.timestamp() + 300:
        raise invalid("The token is not valid yet.")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise invalid("Missing a required claim: sub")
    return claims


def audiences_of(claims: Mapping[str, Any]) -> list[str]:
    """List the audiences of a token."""
    said = claims.get("aud")
    return [each for each in (said if isinstance(said, list) else [said]) if isinstance(each, str)]


def tags_of(claims: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the issuer's session tags, and the keys of the transitive ones; raises BadRequest."""
    said = claims.get(_TAGS, {})
    found = said.get("principal_tags", {}) if isinstance(said, dict) else None
    handed_on = said.get("transitive_tag_keys", []) if isinstance(said, dict) else None
    if not isinstance(found, dict) or not isinstance(handed_on, list):
        raise invalid(f"The claim {_TAGS} is malformed.")
    tags = {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in found.items()}
    if not all(isinstance(text, str) for text in (*tags.values(), *handed_on)):
        raise invalid(f"The claim {_TAGS} is malformed.")
    return tags, tuple(handed_on)


def source_identity_of(claims: Mapping[str, Any]) -> str:
    """Read the issuer's source identity, empty if there is none; raises BadRequest."""
    identity = claims.get(_SOURCE_IDENTITY, "")
    if not isinstance(identity, str):
        raise invalid(f"The claim {_SOURCE_IDENTITY} is malformed.")
    return identity


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the header and the claims of a token, which are not verified yet."""
    pieces = token.split(".")
    if len(token) > _MOST_CHARACTERS or len(pieces) != 3:
        raise invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
    try:
        header, claims = (json.loads(_decoded(piece)) for piece in pieces[:2])
    except (ValueError, binascii.Error, RecursionError) as error:
        raise invalid("The ID Token provided is not a valid JWT.") from error
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
        raise invalid("The ID Token provided is not a valid JWT.")
    return header, claims


def _decoded(piece: str) -> bytes:
    return urlsafe_b64decode(piece.encode("ascii") + b"=" * (-len(piece) % 4))


def _may_have_signed(key: Mapping[str, Any], header: Mapping[str, Any], algorithm: object) -> bool:
    return (
        algorithm in _KINDS
        and key.get("kty") == _KINDS[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and ("kid" not in header or key.get("kid", header["kid"]) == header["kid"])
    )


def _has_signed(key: Mapping[str, Any], algorithm: str, token: str) -> bool:
    from joserfc import jws  # noqa: PLC0415 - few clouds use such tokens, and the import would slow down each start
    from joserfc.errors import JoseError  # noqa: PLC0415 - as above
    from joserfc.jwk import ECKey, RSAKey  # noqa: PLC0415 - as above

    given = {name: key[name] for name in _PUBLIC if name in key}  # without private parts, if a key set has any
    try:
        public = RSAKey.import_key(given) if key["kty"] == "RSA" else ECKey.import_key(given)
        if isinstance(public, RSAKey) and public.raw_value.key_size < _LEAST_RSA_BITS:
            return False
        jws.deserialize_compact(token, public, algorithms=[algorithm])
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        return False  # a wrong signature, or an invalid key
    return True
