"""Encrypt ("seal") secrets at rest with AES-256-GCM under a master key, which has versions.

The version is part of the sealed bytes: two bytes of magic, two of version, twelve of nonce, then ciphertext and tag.
Bytes sealed before there were versions begin with the nonce, and are of version 1. The newest version seals, all open.
"""

import secrets
import struct
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
FIRST_VERSION: Final = 1

_HEADER: Final = struct.Struct(">2sH")
_MAGIC: Final = b"\xf5K"
_NONCE_BYTES: Final = 12

type Keys = Mapping[int, bytes]
"""Master keys of 32 bytes by their versions."""


def _no_news(_version: int) -> Keys | None:
    return None


class Sealer:
    """Seals short secrets; their purpose and owner (`context`) are authenticated: sealed bytes cannot be swapped."""

    def __init__(self, keys: bytes | Keys, look_again: Callable[[int], Keys | None] = _no_news) -> None:
        """Take a master key, or all its versions.

        `look_again` returns all current versions; it is called for bytes of an unknown version, as after another
        controller changed the key. It returns None when it has nothing new.
        """
        self._look_again = look_again
        self.use({FIRST_VERSION: keys} if isinstance(keys, bytes) else keys)

    def use(self, keys: Keys) -> None:
        """Use these versions from now on; may be called while other threads seal and open."""
        ciphers = {version: AESGCM(key) for version, key in keys.items()}
        self._state = (max(ciphers), ciphers)

    @property
    def version(self) -> int:
        """The version that seals."""
        return self._state[0]

    @property
    def versions(self) -> tuple[int, ...]:
        """All versions that open, in order."""
        return tuple(sorted(self._state[1]))

    def seal(self, secret: bytes, context: str) -> bytes:
        """Encrypt a secret for a context, such as `access-key:AKIA…`."""
        version, ciphers = self._state
        header, nonce = _HEADER.pack(_MAGIC, version), secrets.token_bytes(_NONCE_BYTES)
        return header + nonce + ciphers[version].encrypt(nonce, secret, header + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt what `seal` made for the same context; raises cryptography's InvalidTag otherwise."""
        version = version_of(sealed)
        if version is not None:
            cipher = self._state[1].get(version) or self._known_by_now(version)
            if cipher is not None:
                header, rest = sealed[: _HEADER.size], sealed[_HEADER.size :]
                try:
                    return _decrypt(cipher, rest, header + context.encode())
                except InvalidTag:
                    pass  # it may have been sealed before there were versions, and begin like a header by chance
        first = self._state[1].get(FIRST_VERSION)
        if first is None:
            raise InvalidTag
        return _decrypt(first, sealed, context.encode())

    def is_newest(self, sealed: bytes) -> bool:
        """Tell whether bytes are marked as sealed under the newest version."""
        return version_of(sealed) == self.version

    def reseal(self, sealed: bytes, context: str) -> bytes:
        """Seal again under the newest version; raises InvalidTag."""
        return self.seal(self.open(sealed, context), context)

    def _known_by_now(self, version: int) -> AESGCM | None:
        keys = self._look_again(version)
        if keys is None:
            return None
        self.use(keys)
        return self._state[1].get(version)


def version_of(sealed: bytes) -> int | None:
    """Read the key version that sealed some bytes; None for those sealed before there were versions."""
    if len(sealed) < _HEADER.size:
        return None
    magic, version = _HEADER.unpack_from(sealed)
    return int(version) if magic == _MAGIC else None


def _decrypt(cipher: AESGCM, sealed: bytes, associated: bytes) -> bytes:
    if len(sealed) < _NONCE_BYTES:
        raise InvalidTag
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)


def no_sealer() -> Sealer:
    """Make a sealer with a random key: for a cloud that stores no secrets, such as a test's."""
    return Sealer(secrets.token_bytes(KEY_BYTES))
