"""Files sealed by a passphrase: scrypt (RFC 7914) makes the key, AES-256-GCM encrypts a tar. Pure.

The bytes: a line that says what they are, log2 of scrypt's N in one byte, 16 bytes of salt, 12 of nonce, ciphertext.
"""

import io
import secrets
import tarfile
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from stead_controller.errors import SteadError

COST: Final = 17
"""log2 of scrypt's N: 128 MiB of memory and half a second for each guess of the passphrase."""

_HEADER: Final = b"stead sealed files 1\n"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_MOST_COST: Final = 20


class WrongPassphraseError(SteadError):
    """The passphrase is not that of the sealed files, or they were changed."""


def seal(files: Mapping[str, bytes], passphrase: bytes, context: str, cost: int = COST) -> bytes:
    """Seal files by their names; `context` must be said again to open them, so that none can be swapped."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    opening = _HEADER + bytes([cost]) + salt
    return opening + nonce + _cipher(passphrase, salt, cost).encrypt(nonce, pack(files), opening + context.encode())


def unseal(sealed: bytes, passphrase: bytes, context: str) -> dict[str, bytes]:
    """Return the files by their names; raises WrongPassphraseError."""
    opening = len(_HEADER) + 1 + _SALT_BYTES
    if not sealed.startswith(_HEADER) or len(sealed) < opening + _NONCE_BYTES or sealed[len(_HEADER)] > _MOST_COST:
        raise WrongPassphraseError("These are no sealed files of Stead.")
    cost, salt = sealed[len(_HEADER)], sealed[len(_HEADER) + 1 : opening]
    nonce, rest = sealed[opening : opening + _NONCE_BYTES], sealed[opening + _NONCE_BYTES :]
    try:
        packed = _cipher(passphrase, salt, cost).decrypt(nonce, rest, sealed[:opening] + context.encode())
    except InvalidTag as error:
        raise WrongPassphraseError("The passphrase does not open the keys of this backup.") from error
    return unpack(packed)


def _cipher(passphrase: bytes, salt: bytes, cost: int) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=_KEY_BYTES, n=1 << cost, r=8, p=1).derive(passphrase))


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of files by their names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o600
            tar.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()


def unpack(packed: bytes) -> dict[str, bytes]:
    """Return the files of a tar by their names."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r") as tar:
        for entry in tar:
            content = tar.extractfile(entry)
            if content is not None:
                files[entry.name] = content.read()
    return files
