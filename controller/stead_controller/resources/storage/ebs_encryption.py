"""Encryption by default of an account's new volumes, and its default key.

See https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html.
"""

from stead_controller.db.tables import EbsEncryption, Snapshot
from stead_controller.errors import InvalidParameter
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import volume_keys


def is_by_default(tx: Transaction, account_id: str) -> bool:
    """Tell whether new volumes of an account are always encrypted."""
    found = lookup.get_rare(tx, EbsEncryption, account_id)
    return found is not None and found.by_default


def set_by_default(tx: Transaction, caller: Caller, *, on: bool) -> bool:
    """Set whether new volumes of the caller's account are always encrypted."""
    _settings(tx, caller.account_id).by_default = on
    return on


def default_key(tx: Transaction, account_id: str) -> str:
    """Return an account's default key for volumes: an ARN, or initially an alias."""
    found = tx.session.get(EbsEncryption, account_id)
    return (found.default_key_id if found is not None else "") or volume_keys.DEFAULT_ALIAS


def set_default_key(tx: Transaction, caller: Caller, cloud: Cloud, name: str) -> str:
    """Set the key, and return its ARN; raises InvalidParameter."""
    arn = volume_keys.key_arn(cloud, caller.account_id, name)
    _settings(tx, caller.account_id).default_key_id = arn
    return arn


def reset_default_key(tx: Transaction, caller: Caller) -> str:
    """Reset to the initial key of accounts."""
    _settings(tx, caller.account_id).default_key_id = ""
    return volume_keys.DEFAULT_ALIAS


def key_for(
    tx: Transaction, cloud: Cloud, account_id: str, snapshot: Snapshot | None, *, encrypted: bool, key: str | None
) -> str | None:
    """Return the key under which a new volume is encrypted, or None when it is not.

    It is encrypted if requested, by its account's default, or if its snapshot is; then under the snapshot's key unless
    another is named or the snapshot is another account's. Raises InvalidParameter for an invalid key, and for a key
    without encryption.
    """
    source = snapshot if snapshot is not None and snapshot.encrypted else None
    if not (encrypted or source is not None or is_by_default(tx, account_id)):
        if key is not None:
            raise InvalidParameter(
                "The parameter KmsKeyId requires the parameter Encrypted to be set.", code="InvalidParameterDependency"
            )
        return None
    if key is not None:
        return volume_keys.key_arn(cloud, account_id, key)
    if source is not None and source.account_id == account_id and source.kms_key_id is not None:
        return source.kms_key_id
    return volume_keys.key_arn(cloud, account_id, default_key(tx, account_id))


def key_for_copy(
    tx: Transaction, cloud: Cloud, account_id: str, source: Snapshot, *, encrypted: bool, key: str | None
) -> str | None:
    """Return the key under which a copy of a snapshot is encrypted, or None when it is not.

    Unless one is named it is the account's default key, whatever key the source is under. Raises InvalidParameter as
    `key_for`.
    """
    wanted = encrypted or source.encrypted
    return key_for(tx, cloud, account_id, None, encrypted=wanted, key=key)


def is_managed_key(cloud: Cloud, account_id: str, key_id: str | None) -> bool:
    """Tell whether a key is an account's initial (AWS managed) one, which cannot be shared with others."""
    return key_id == volume_keys.key_arn(cloud, account_id, volume_keys.DEFAULT_ALIAS)


def _settings(tx: Transaction, account_id: str) -> EbsEncryption:
    found = tx.session.get(EbsEncryption, account_id)
    if found is None:
        found = EbsEncryption(account_id=account_id, by_default=False, default_key_id="")
        tx.session.add(found)
    return found
