"""The key with which the embedded object store seals the keys of objects: created once, stored sealed."""

import secrets
from typing import Final

from stead_controller.db.tables import ObjectKey
from stead_controller.request.transaction import Transaction
from stead_controller.secrets.sealing import KEY_BYTES, Sealer

_EMBEDDED: Final = "embedded"


def context(name: str) -> str:
    """What a key is sealed for."""
    return f"object-key:{name}"


def of_embedded(tx: Transaction, sealer: Sealer) -> bytes:
    """Return the key (32 bytes), created at first use; raises cryptography's InvalidTag under another master key."""
    row = tx.session.get(ObjectKey, _EMBEDDED)
    if row is not None:
        return sealer.open(row.sealed, context(_EMBEDDED))
    key = secrets.token_bytes(KEY_BYTES)
    tx.session.add(ObjectKey(name=_EMBEDDED, sealed=sealer.seal(key, context(_EMBEDDED))))
    tx.session.flush()
    return key
