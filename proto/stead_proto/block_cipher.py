"""How blocks of encrypted snapshots are encrypted, between the cut of a disk into blocks and their digests.

AES-256 in XTS mode, as disks are: as long as the content, and equal where the content was equal at the same place, so
that a later snapshot of a volume shares the blocks that did not change. What a block is known by is the digest of what
is stored: integrity is the digest's matter, and nobody without a key can tell that two volumes hold the same. Apart
from `blocks.py`, because an agent without encrypted volumes is spared the 10 MiB that `cryptography` weighs.
"""

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from stead_proto.blocks import BLOCK_BYTES, BadBlockError

KEY_BYTES: Final = 32
_PURPOSE: Final = b"stead: blocks of snapshots"
_TWEAK_BYTES: Final = 16


class BlockCipher:
    """Encrypts and decrypts the blocks of snapshots that have one key; may be used from several threads."""

    def __init__(self, key: bytes) -> None:
        """Take a volume's key; XTS needs two halves that differ, which are derived from it."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes")
        self._aes = AES(hmac.digest(key, _PURPOSE, "sha512"))

    def encrypt(self, index: int, content: bytes) -> bytes:
        """Encrypt a whole block; `index` is its place on the disk, in blocks."""
        encryptor = self._cipher(index, content).encryptor()
        return encryptor.update(content) + encryptor.finalize()

    def decrypt(self, index: int, content: bytes) -> bytes:
        """Decrypt a whole block, which is checked by its digest before; another key or place gives other bytes."""
        decryptor = self._cipher(index, content).decryptor()
        return decryptor.update(content) + decryptor.finalize()

    def _cipher(self, index: int, content: bytes) -> Cipher[XTS]:
        if len(content) != BLOCK_BYTES:
            raise BadBlockError(f"a block of {len(content)} bytes")
        return Cipher(self._aes, XTS(index.to_bytes(_TWEAK_BYTES, "little")))
