"""SSH keys as text: made, or read from the forms that EC2 imports; fingerprints as EC2 computes them. Pure.

An RSA key that was made here is known by the SHA-1 of its private half, an imported one by the MD5 of its public half,
an ED25519 key always by the SHA-256 of its public half.
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_ssh_public_key,
)

from stead_controller.errors import InvalidParameter
from stead_controller.resources.instances import putty_key

MAX_MATERIAL: Final = 16 * 1024
_RSA_BITS: Final = range(1024, 8193)
_SSH2_BEGIN: Final = "---- BEGIN SSH2 PUBLIC KEY ----"
_SSH2_END: Final = "---- END SSH2 PUBLIC KEY ----"
_PEM: Final = re.compile(r"-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as it is stored: `openssh` is an authorized_keys line without a comment."""

    key_type: str
    openssh: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key: its public half, and the text of its private half as EC2 hands it out."""

    public: PublicKey
    private_text: str = field(repr=False)


def make_rsa(key_format: str, comment: str) -> MadeKey:
    """Make an RSA key of 2048 bits; its private half is PKCS#1, or PuTTY's with the format `ppk`."""
    private = generate_private_key(65537, 2048)
    fingerprint = _colon_hex(hashlib.sha1(_pkcs8(private), usedforsecurity=False).digest())
    public = PublicKey("rsa", _openssh(private.public_key()), fingerprint)
    if key_format == "ppk":
        return MadeKey(public, putty_key.write(private, comment))
    text = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return MadeKey(public, text.decode("ascii").rstrip("\n"))


def make_ed25519(key_format: str, comment: str) -> MadeKey:
    """Make an ED25519 key; its private half is in OpenSSH's format, whose readers want the last newline, or PuTTY's."""
    private = Ed25519PrivateKey.generate()
    if key_format == "ppk":
        return MadeKey(_imported(private.public_key()), putty_key.write(private, comment))
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return MadeKey(_imported(private.public_key()), text.decode("ascii"))


# By type: from a format and a comment to a key.
GENERATORS: Final[dict[str, Callable[[str, str], MadeKey]]] = {"rsa": make_rsa, "ed25519": make_ed25519}


def read(material: bytes) -> PublicKey:
    """Read a public key in OpenSSH's, RFC 4716's or (base64, PEM or plain) DER format.

    Raises InvalidParameter with EC2's code for anything else, and for keys that are neither RSA nor ED25519.
    """
    if len(material) > MAX_MATERIAL:
        raise _bad_format(f"The public key is longer than {MAX_MATERIAL} bytes")
    try:
        text = material.decode("ascii").strip()
    except UnicodeDecodeError:
        key = load_der(material)
    else:
        key = _from_text(text)
    if isinstance(key, RSAPublicKey) and key.key_size not in _RSA_BITS:
        raise _bad_format(f"RSA keys must have {_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits")
    return _imported(key)


def load_der(der: bytes) -> RSAPublicKey | Ed25519PublicKey:
    """Read a SubjectPublicKeyInfo; raises InvalidParameter."""
    try:
        return _known_kind(load_der_public_key(der))
    except (ValueError, UnsupportedAlgorithm):
        raise _bad_format() from None


def _from_text(text: str) -> RSAPublicKey | Ed25519PublicKey:
    if text.startswith(_SSH2_BEGIN):
        return _from_ssh_blob(_ssh2_blob(text))
    pem = _PEM.match(text)
    if pem:
        return load_der(_base64(pem[1]))
    words = text.split(maxsplit=2)
    if len(words) >= 2 and words[0].startswith("ssh-") and "\n" not in text:
        return _from_ssh_blob(_base64(words[1]), words[0])
    return load_der(_base64(text))


def _ssh2_blob(text: str) -> bytes:
    """The key of an RFC 4716 text: headers (`Tag: value`, continued by a backslash) are skipped."""
    body: list[str] = []
    continued = False
    for line in text.removeprefix(_SSH2_BEGIN).splitlines():
        if line.strip() == _SSH2_END:
            return _base64("".join(body))
        if continued or ":" in line:
            continued = line.endswith("\\")
        else:
            body.append(line)
    raise _bad_format()


def _from_ssh_blob(blob: bytes, stated: str | None = None) -> RSAPublicKey | Ed25519PublicKey:
    """Read SSH's wire format, whose own name of the algorithm must be the stated one."""
    length = int.from_bytes(blob[:4])
    algorithm = blob[4 : 4 + length]
    if algorithm not in (b"ssh-rsa", b"ssh-ed25519") or (stated is not None and stated.encode() != algorithm):
        raise _bad_format()
    try:
        return _known_kind(load_ssh_public_key(algorithm + b" " + b64encode(blob)))
    except (ValueError, UnsupportedAlgorithm):
        raise _bad_format() from None


def _known_kind(key: object) -> RSAPublicKey | Ed25519PublicKey:
    if isinstance(key, RSAPublicKey | Ed25519PublicKey):
        return key
    raise _bad_format()


def _base64(text: str) -> bytes:
    try:
        return b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _bad_format() from None


def _imported(key: RSAPublicKey | Ed25519PublicKey) -> PublicKey:
    openssh = _openssh(key)
    if isinstance(key, Ed25519PublicKey):
        digest = hashlib.sha256(b64decode(openssh.split()[1])).digest()
        return PublicKey("ed25519", openssh, b64encode(digest).decode("ascii"))
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey("rsa", openssh, _colon_hex(hashlib.md5(der, usedforsecurity=False).digest()))


def _openssh(key: RSAPublicKey | Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def _pkcs8(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _colon_hex(digest: bytes) -> str:
    return digest.hex(":")


def _bad_format(message: str = "Key is not in valid OpenSSH public key format") -> InvalidParameter:
    return InvalidParameter(message, code="InvalidKey.Format")
