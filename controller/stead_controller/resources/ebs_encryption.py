"""Whether an account's new volumes are encrypted by themselves, and under which key.

See https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html.
"""

from stead_controller.db.tables import EbsEncryption, Snapshot
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources import volume_keys
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.transaction import Transaction


def is_by_default(tx: Transaction, account_id: str) -> bool:
    """Tell whether new volumes of an account are encrypted, whatever is asked."""
    found = tx.session.get(EbsEncryption, account_id)
    return found is not None and found.by_default


def set_by_default(tx: Transaction, caller: Caller, *, on: bool) -> bool:
    """Set whether new volumes of the caller's account are encrypted, whatever is asked."""
    _settings(tx, caller.account_id).by_default = on
    return on


def default_key(tx: Transaction, account_id: str) -> str:
    """Give the key under which an account's volumes are encrypted when none is named: an ARN, or an alias at first."""
    found = tx.session.get(EbsEncryption, account_id)
    return (found.default_key_id if found is not None else "") or volume_keys.DEFAULT_ALIAS


def set_default_key(tx: Transaction, caller: Caller, cloud: Cloud, name: str) -> str:
    """Set the key, and give its ARN; raises InvalidParameter."""
    arn = volume_keys.key_arn(cloud, caller.account_id, name)
    _settings(tx, caller.account_id).default_key_id = arn
    return arn


def reset_default_key(tx: Transaction, caller: Caller) -> str:
    """Take the key that accounts have at first."""
    _settings(tx, caller.account_id).default_key_id = ""
    return volume_keys.DEFAULT_ALIAS


def key_for(
    tx: Transaction, cloud: Cloud, account_id: str, snapshot: Snapshot | None, *, encrypted: bool, key: str | None
) -> str | None:
    """Say under which key a new volume is encrypted, or None when it is not.

    It is when that is asked for or its account wants all to be. Raises InvalidParameter for what is no key, and for a
    key where there is no encryption, Unsupported for an encrypted snapshot.
    """
    if snapshot is not None and snapshot.encrypted:
        raise Unsupported("Volumes of encrypted snapshots are not supported.")
    if not (encrypted or is_by_default(tx, account_id)):
        if key is not None:
            raise InvalidParameter(
                "The parameter KmsKeyId requires the parameter Encrypted to be set.", code="InvalidParameterDependency"
            )
        return None
    if key is not None:
        return volume_keys.key_arn(cloud, account_id, key)
    return volume_keys.key_arn(cloud, account_id, default_key(tx, account_id))


def _settings(tx: Transaction, account_id: str) -> EbsEncryption:
    found = tx.session.get(EbsEncryption, account_id)
    if found is None:
        found = EbsEncryption(account_id=account_id, by_default=False, default_key_id="")
        tx.session.add(found)
    return found
