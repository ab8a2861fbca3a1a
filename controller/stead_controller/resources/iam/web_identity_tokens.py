"""A JSON Web Token of an OpenID Connect issuer becomes its claims, if a key of the issuer has signed it. Pure.

See RFC 7515 (signatures), 7517 and 7518 (keys and algorithms) and 7519 (claims). Which algorithm may be used is said by
the key, never by the token alone.
"""

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from stead_controller.errors import BadRequest
from stead_controller.secrets.oidc_issuers import Keys

_TAGS: Final = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY: Final = "https://aws.amazon.com/source_identity"
_MOST_CHARACTERS: Final = 20_000
_LEAST_RSA_BITS: Final = 2048
_RSA: Final[dict[str, hashes.HashAlgorithm]] = {
    "RS256": hashes.SHA256(),
    "RS384": hashes.SHA384(),
    "RS512": hashes.SHA512(),
}
_EC: Final[dict[str, tuple[str, ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    "ES256": ("P-256", ec.SECP256R1(), hashes.SHA256()),
    "ES384": ("P-384", ec.SECP384R1(), hashes.SHA384()),
    "ES512": ("P-521", ec.SECP521R1(), hashes.SHA512()),
}


def invalid(message: str) -> BadRequest:
    """Make the error of a token that proves nothing."""
    return BadRequest(message, code="InvalidIdentityToken")


def issuer_of(token: str) -> str:
    """Read whose token it says it is; nothing is proven by that. Raises BadRequest."""
    _, claims, _, _ = _parts(token)
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise invalid("Missing a required claim: iss")
    return issuer


def claims_of(token: str, keys: Keys, now: datetime) -> dict[str, Any]:
    """Give the claims of a token that one of the keys has signed and whose time it is; raises BadRequest."""
    header, claims, signed, signature = _parts(token)
    algorithm = header.get("alg")
    candidates = [key for key in keys if _may_have_signed(key, header, algorithm)]
    if not any(_has_signed(key, str(algorithm), signed, signature) for key in candidates):
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
    """List for whom a token is."""
    said = claims.get("aud")
    return [each for each in (said if isinstance(said, list) else [said]) if isinstance(each, str)]


def tags_of(claims: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the session tags that the issuer gives, and the keys of those that are handed on; raises BadRequest."""
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
    """Read who the issuer says is behind the session, nothing where it does not say; raises BadRequest."""
    identity = claims.get(_SOURCE_IDENTITY, "")
    if not isinstance(identity, str):
        raise invalid(f"The claim {_SOURCE_IDENTITY} is malformed.")
    return identity


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Take a token apart: header, claims, what is signed, signature."""
    pieces = token.split(".")
    if len(token) > _MOST_CHARACTERS or len(pieces) != 3:
        raise invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
    try:
        header, claims = (json.loads(_decoded(piece)) for piece in pieces[:2])
        signature = _decoded(pieces[2])
    except (ValueError, binascii.Error) as error:
        raise invalid("The ID Token provided is not a valid JWT.") from error
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
        raise invalid("The ID Token provided is not a valid JWT.")
    return header, claims, f"{pieces[0]}.{pieces[1]}".encode(), signature


def _decoded(piece: str) -> bytes:
    return urlsafe_b64decode(piece.encode("ascii") + b"=" * (-len(piece) % 4))


def _may_have_signed(key: Mapping[str, Any], header: Mapping[str, Any], algorithm: object) -> bool:
    kind = "RSA" if algorithm in _RSA else "EC" if algorithm in _EC else None
    return (
        kind is not None
        and key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and ("kid" not in header or key.get("kid", header["kid"]) == header["kid"])
    )


def _has_signed(key: Mapping[str, Any], algorithm: str, signed: bytes, signature: bytes) -> bool:
    try:
        if algorithm in _RSA:
            return _rsa_has_signed(key, _RSA[algorithm], signed, signature)
        return _ec_has_signed(key, algorithm, signed, signature)
    except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError):
        return False  # another signature, or a key that is none


def _rsa_has_signed(key: Mapping[str, Any], algorithm: hashes.HashAlgorithm, signed: bytes, signature: bytes) -> bool:
    public = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
    if public.key_size < _LEAST_RSA_BITS:
        return False
    public.verify(signature, signed, padding.PKCS1v15(), algorithm)
    return True


def _ec_has_signed(key: Mapping[str, Any], algorithm: str, signed: bytes, signature: bytes) -> bool:
    name, curve, digest = _EC[algorithm]
    size = (curve.key_size + 7) // 8
    if key.get("crv") != name or len(signature) != 2 * size:
        return False
    public = ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()
    pair = encode_dss_signature(int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))
    public.verify(pair, signed, ec.ECDSA(digest))
    return True


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text))
