"""A private key becomes the text of a PuTTY key file, not encrypted. Pure.

Version 2 of the format, which all PuTTYs since 0.52 read and EC2 hands out; its parts are in appendix C of the manual,
https://the.earth.li/~sgtatham/putty/latest/htmldoc/AppendixC.html. The MAC proves nothing without a passphrase, but
PuTTY demands it.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_MAC_KEY: Final = b"putty-private-key-file-mac-key"
_LINE: Final = 64


def write(key: RSAPrivateKey | Ed25519PrivateKey, comment: str) -> str:
    """Write a key with a comment of one line, such as the key pair's name."""
    openssh = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    algorithm, encoded = openssh.split()
    public, private = b64decode(encoded), _private_blob(key)
    covered = b"".join(map(_string, (algorithm, b"none", comment.encode(), public, private)))
    digest = hmac.digest(hashlib.sha1(_MAC_KEY, usedforsecurity=False).digest(), covered, "sha1")
    lines = (
        f"PuTTY-User-Key-File-2: {algorithm.decode()}",
        "Encryption: none",
        f"Comment: {comment}",
        *_wrapped("Public-Lines", public),
        *_wrapped("Private-Lines", private),
        f"Private-MAC: {digest.hex()}",
        "",
    )
    return "\n".join(lines)


def _private_blob(key: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    """What a reader cannot tell from the public half: exponent, primes and the inverse of the second; or the seed."""
    if isinstance(key, Ed25519PrivateKey):
        return _string(key.private_bytes_raw())
    numbers = key.private_numbers()
    return b"".join(map(_number, (numbers.d, numbers.p, numbers.q, numbers.iqmp)))


def _number(value: int) -> bytes:
    """SSH's mpint (RFC 4251, section 5) of a positive number."""
    return _string(value.to_bytes(value.bit_length() // 8 + 1))


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4) + content


def _wrapped(title: str, blob: bytes) -> list[str]:
    text = b64encode(blob).decode("ascii")
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return [f"{title}: {len(lines)}", *lines]
