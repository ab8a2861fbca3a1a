"""Secrets at rest: sealed with AES-256-GCM under the master key, which lives in a file of mode 0600."""

import os
import secrets
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Sealer:
    """Seals short secrets; their purpose and owner (`context`) are authenticated: sealed bytes cannot be swapped."""

    def __init__(self, key: bytes) -> None:
        """Take a 32-byte master key."""
        self._aead = AESGCM(key)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the master key, making it at the first use; raises PermissionError when others can read it."""
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others: chmod 600 {path}")
        return cls(path.read_bytes())

    def seal(self, secret: bytes, context: str) -> bytes:
        """Encrypt a secret for a context, such as `access-key:AKIA…`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt what `seal` made for the same context; raises cryptography's InvalidTag otherwise."""
        return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())


def no_sealer() -> Sealer:
    """Make one with a key that nobody has: for a cloud that keeps no secrets, such as a test's."""
    return Sealer(secrets.token_bytes(_KEY_BYTES))
