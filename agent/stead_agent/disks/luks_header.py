"""Renders the header of an encrypted disk from its key: LUKS 1 with AES-256-XTS. Pure, but for the random key.

The format is LUKS On-Disk Format Specification 1.2.3 (https://gitlab.com/cryptsetup/cryptsetup/-/wikis/Specification).
The passphrase is a random key, so stretching it has no benefit; QEMU's own tools always benchmark the key derivation
for 2.6 seconds of CPU time, which is why the header is made here, in some milliseconds.
"""

import hashlib
import os
import struct
import uuid
from typing import Final

from stead_agent.disks.disk_sources import passphrase_of

_HEADER: Final = struct.Struct(">6sH32s32s32sII20s32sI40s")
_SLOT: Final = struct.Struct(">II32sII")
_MAGIC: Final = b"LUKS\xba\xbe"
_SLOTS: Final = 8
_ENABLED, _DISABLED = 0x00AC71F3, 0x0000DEAD
_STRIPES: Final = 4000
_ITERATIONS: Final = 1000  # the minimum that the format allows
_KEY_BYTES: Final = 64  # two AES-256 keys, as XTS needs
_DIGEST_BYTES: Final = 20
_SALT_BYTES: Final = 32
_SECTOR: Final = 512
_FIRST_SECTOR: Final = 8  # of key material, which is aligned to 4 KiB
_SLOT_SECTORS: Final = -(-_KEY_BYTES * _STRIPES // 4096) * 8
_PAYLOAD_SECTOR: Final = _FIRST_SECTOR + _SLOTS * _SLOT_SECTORS

LUKS_BYTES: Final = _PAYLOAD_SECTOR * _SECTOR
"""The length of a header with room for all key slots; most of it is zero."""


def render_luks(encryption_key: bytes) -> bytes:
    """Render the beginning of a header, up to its last byte that is not zero, for a disk with a new master key."""
    master_key = os.urandom(_KEY_BYTES)
    digest_salt, slot_salt = os.urandom(_SALT_BYTES), os.urandom(_SALT_BYTES)
    head = _HEADER.pack(
        _MAGIC,
        1,
        b"aes",
        b"xts-plain64",
        b"sha256",
        _PAYLOAD_SECTOR,
        _KEY_BYTES,
        hashlib.pbkdf2_hmac("sha256", master_key, digest_salt, _ITERATIONS, _DIGEST_BYTES),
        digest_salt,
        _ITERATIONS,
        str(uuid.uuid4()).encode("ascii"),
    )
    for slot in range(_SLOTS):
        at = _FIRST_SECTOR + slot * _SLOT_SECTORS
        head += _SLOT.pack(
            _DISABLED if slot else _ENABLED,
            0 if slot else _ITERATIONS,
            bytes(_SALT_BYTES) if slot else slot_salt,
            at,
            _STRIPES,
        )
    slot_key = hashlib.pbkdf2_hmac("sha256", passphrase_of(encryption_key), slot_salt, _ITERATIONS, _KEY_BYTES)
    return head.ljust(_FIRST_SECTOR * _SECTOR, b"\0") + _encrypted(slot_key, _split(master_key))


def _split(key: bytes) -> bytes:
    """Split a key into stripes, all of which are needed to recover it (the specification's AFsplit)."""
    noise = os.urandom(_KEY_BYTES * (_STRIPES - 1))
    mixed = bytes(_KEY_BYTES)
    for at in range(0, len(noise), _KEY_BYTES):
        mixed = _diffused(_xor(mixed, noise[at : at + _KEY_BYTES]))
    return noise + _xor(mixed, key)


def _diffused(block: bytes) -> bytes:
    size = hashlib.sha256().digest_size
    parts = (block[at : at + size] for at in range(0, len(block), size))
    return b"".join(hashlib.sha256(number.to_bytes(4, "big") + part).digest() for number, part in enumerate(parts))


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))


def _encrypted(key: bytes, content: bytes) -> bytes:
    """Encrypt sectors like those of a disk, numbered from 0."""
    from cryptography.hazmat.primitives.ciphers import Cipher  # noqa: PLC0415 - 10 MiB, only for encryption
    from cryptography.hazmat.primitives.ciphers.algorithms import AES  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.ciphers.modes import XTS  # noqa: PLC0415 - see above

    aes = AES(key)
    sectors = []
    for number, at in enumerate(range(0, len(content), _SECTOR)):
        encryptor = Cipher(aes, XTS(number.to_bytes(16, "little"))).encryptor()
        sectors.append(encryptor.update(content[at : at + _SECTOR]) + encryptor.finalize())
    return b"".join(sectors)
