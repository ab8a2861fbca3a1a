"""Keys of encrypted volumes and snapshots, and the keys of KMS that they are said to be under.

A data key is 32 random bytes, sealed by the master key. A volume's snapshots have its key, and so have volumes and
copies made from them under the same KMS key: they share blocks, as in EC2. Rows with the same sealed bytes have the
same key; after a change of the master key, others may have the same key too.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from stead_controller.db.tables import ImageTask, Snapshot, Volume
from stead_controller.errors import InvalidParameter
from stead_controller.request.cloud import Cloud
from stead_controller.resources.storage import kms_keys
from stead_proto.block_cipher import BlockCipher

CONTEXT: Final = "volume-key"
"""What a key is sealed for."""

DEFAULT_ALIAS: Final = "alias/aws/ebs"

_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A data key, sealed, and the key of KMS that it is said to be under."""

    sealed: bytes
    kms_key_id: str | None


def _new_sealed_key(cloud: Cloud) -> bytes:
    """Make a key, sealed by the master key."""
    return cloud.sealer.seal(secrets.token_bytes(_KEY_BYTES), CONTEXT)


def new_key(cloud: Cloud, kms_key_id: str) -> SealedKey:
    """Make a key that is said to be under one of KMS."""
    return SealedKey(_new_sealed_key(cloud), kms_key_id)


def key_arn(cloud: Cloud, account_id: str, name: str) -> str:
    """Return the ARN by which a key is shown, of its id, its alias, or an ARN of either; raises InvalidParameter."""
    arn = kms_keys.arn_of(name, cloud.partition, cloud.region, account_id)
    if arn is None:
        raise InvalidParameter(f"The value '{name}' is not the id, the ARN or the alias of a KMS key.")
    return arn


def encrypt(cloud: Cloud, made: Volume | Snapshot | ImageTask, key_id: str, source: Snapshot | Volume | None) -> None:
    """Set the key of a new volume, snapshot or task: its source's if that has the same KMS key, else a new one."""
    made.encrypted = True
    made.kms_key_id = key_id
    if source is not None and source.encrypted and source.kms_key_id == key_id:
        made.sealed_key = source.sealed_key
    else:
        made.sealed_key = _new_sealed_key(cloud)


def cipher(cloud: Cloud, snapshot: Snapshot) -> BlockCipher | None:
    """Return what encrypts and decrypts the blocks of a snapshot; None for one that is not encrypted."""
    return None if snapshot.sealed_key is None else BlockCipher(cloud.sealer.open(snapshot.sealed_key, CONTEXT))
