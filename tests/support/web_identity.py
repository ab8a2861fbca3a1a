"""An OpenID Connect issuer for tests: its keys, as an operator configures them, and its tokens."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def encoded(content: bytes) -> str:
    """Encode as the Base64 of JSON Web Tokens."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def number(value: int) -> str:
    """Encode a number as in JSON Web Keys."""
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


@dataclass
class Issuer:
    """An issuer with an RSA key and one on an elliptic curve."""

    url: str = "https://issuer.example/team"
    rsa_key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    ec_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def keys(self) -> list[dict[str, Any]]:
        """The published key set."""
        one, other = self.rsa_key.public_key().public_numbers(), self.ec_key.public_key().public_numbers()
        return [
            {"kty": "RSA", "kid": "one", "use": "sig", "n": number(one.n), "e": number(one.e)},
            {"kty": "EC", "kid": "two", "crv": "P-256", "x": number(other.x), "y": number(other.y)},
        ]

    @property
    def file(self) -> str:
        """The operator's configuration file."""
        return json.dumps({"issuer": self.url, "jwks": {"keys": self.keys}})

    def token(self, now: datetime, algorithm: str = "RS256", **claims: Any) -> str:
        """Sign a token that is valid for an hour, unless its claims say otherwise; None removes a claim."""
        said = {
            "iss": self.url,
            "sub": "job-7",
            "aud": "stead",
            "iat": int(now.timestamp()),
            "exp": int(now.timestamp()) + 3600,
            **claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        header = {"alg": algorithm, "kid": "one" if algorithm.startswith("RS") else "two"}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, said))
        return f"{signed}.{encoded(self._sign(signed.encode(), algorithm))}"

    def _sign(self, content: bytes, algorithm: str) -> bytes:
        if algorithm == "RS256":
            return self.rsa_key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        if algorithm == "ES256":
            pair = decode_dss_signature(self.ec_key.sign(content, ec.ECDSA(hashes.SHA256())))
            return b"".join(each.to_bytes(32) for each in pair)
        return b""
