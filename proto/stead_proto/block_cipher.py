"""Encryption of the blocks of encrypted snapshots, after a disk is cut into blocks and before their digests.

AES-256 in XTS mode, as for disks: the ciphertext has the content's length, and is equal for equal content at the same
place, so that a later snapshot of a volume shares the unchanged blocks. A block is identified by the digest of its
ciphertext: the digest protects integrity, and without the key nobody can tell that two volumes have equal content. A
module apart from `blocks.py`, so that an agent without encrypted volumes saves the 10 MiB of `cryptography`.
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
    """Encrypts and decrypts the blocks of snapshots with the same key; may be used from several threads."""

    def __init__(self, key: bytes) -> None:
        """Take a volume's key; XTS needs two different keys, which are derived from it."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes")
        self._aes = AES(hmac.digest(key, _PURPOSE, "sha512"))

    def encrypt(self, index: int, content: bytes) -> bytes:
        """Encrypt a whole block; `index` is its place on the disk, in blocks."""
        encryptor = self._cipher(index, content).encryptor()
        return encryptor.update(content) + encryptor.finalize()

    def decrypt(self, index: int, content: bytes) -> bytes:
        """Decrypt a whole block, whose digest was checked before; a wrong key or place gives wrong bytes."""
        decryptor = self._cipher(index, content).decryptor()
        return decryptor.update(content) + decryptor.finalize()

    def _cipher(self, index: int, content: bytes) -> Cipher[XTS]:
        if len(content) != BLOCK_BYTES:
            raise BadBlockError(f"a block of {len(content)} bytes")
        return Cipher(self._aes, XTS(index.to_bytes(_TWEAK_BYTES, "little")))
