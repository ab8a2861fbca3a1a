"""Create, import and find key pairs; fingerprints are EC2's, the private key is shown once and never stored.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from stead_controller.catalog import ids
from stead_controller.db.tables import KeyPair
from stead_controller.errors import AlreadyExists, InvalidParameter, LimitExceeded, MissingParameter, NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, clauses, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.instances import public_keys

_MAX_NAME: Final = 255
# "You can have up to 5,000 key pairs per Region": https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateKeyPair.html
MOST: Final = 5000

FILTERS: Final[dict[str, Condition]] = {
    "key-pair-id": text(KeyPair.id),
    "fingerprint": text(KeyPair.fingerprint),
    "key-name": text(KeyPair.name),
}


@dataclass(frozen=True, slots=True)
class NewKeyPair:
    """A new key pair; `private_key` is shown to the caller and not stored."""

    id: str
    name: str
    fingerprint: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DescribedKeyPair:
    """A key pair with the keys and values of its tags."""

    pair: KeyPair
    tags: Sequence[tuple[str, str]]


def create(
    tx: Transaction,
    caller: Caller,
    name: str,
    made: public_keys.MadeKey | None,
    *,
    key_type: str,
    key_format: str,
    key_tags: Mapping[str, str],
    now: datetime,
) -> NewKeyPair:
    """Store a new key pair; raises InvalidParameter, AlreadyExists, LimitExceeded.

    `made` is a new key of that type and format, made before the transaction; None when there is no such type.
    """
    _check_new(tx, caller, name)
    if key_format not in ("pem", "ppk"):
        raise InvalidParameter(f"Value ({key_format}) for parameter keyFormat is invalid. Expecting pem or ppk.")
    if made is None or key_type != made.public.key_type:
        raise InvalidParameter(f"Value ({key_type}) for parameter keyType is invalid. Expecting rsa or ed25519.")
    row = _add(tx, caller, name, made.public, key_tags=key_tags, now=now)
    return NewKeyPair(row.id, name, row.fingerprint, made.private_text)


def import_public_key(
    tx: Transaction, caller: Caller, name: str, material: bytes, *, key_tags: Mapping[str, str], now: datetime
) -> KeyPair:
    """Store a public key that the caller made.

    Raises MissingParameter without material, InvalidParameter (InvalidKey.Format), AlreadyExists, LimitExceeded.
    """
    if not material:
        raise MissingParameter("PublicKeyMaterial")
    _check_new(tx, caller, name)
    return _add(tx, caller, name, public_keys.read(material), key_tags=key_tags, now=now)


def find(tx: Transaction, caller: Caller, name: str) -> KeyPair:
    """Return the caller's key pair of that name; raises NotFound."""
    query = select(KeyPair).where(KeyPair.account_id == caller.account_id, KeyPair.name == name)
    found = tx.session.scalar(query)
    if found is None:
        raise NotFound("key-pair", name)
    return found


def describe(tx: Transaction, caller: Caller, asked: Selection, names: Sequence[str]) -> list[DescribedKeyPair]:
    """Find the caller's key pairs, sorted by name; raises MalformedId, NotFound."""
    mine = KeyPair.account_id == caller.account_id
    lookup.require(tx, "key-pair", KeyPair.id, asked.ids, mine)
    query = select(KeyPair).where(mine, *clauses(tx, caller, asked.filters, FILTERS, KeyPair.id)).order_by(KeyPair.name)
    if names:
        known = set(tx.session.scalars(select(KeyPair.name).where(mine, KeyPair.name.in_(names))))
        missing = [name for name in dict.fromkeys(names) if name not in known]
        if missing:
            raise NotFound("key-pair", missing)
        query = query.where(KeyPair.name.in_(names))
    if asked.ids:
        query = query.where(KeyPair.id.in_(asked.ids))
    found = tx.session.scalars(query).all()
    tagged = tags.pairs_of(tx, caller.account_id, [pair.id for pair in found])
    return [DescribedKeyPair(pair, tagged.get(pair.id, ())) for pair in found]


def remove(tx: Transaction, caller: Caller, *, name: str | None, key_pair_id: str | None) -> str | None:
    """Delete a key pair by name or id and return its id; None when there is none, which is no error.

    Raises MissingParameter when neither is given, MalformedId.
    """
    chosen = [KeyPair.account_id == caller.account_id]
    if key_pair_id is not None:
        lookup.check_form("key-pair", [key_pair_id])
        chosen.append(KeyPair.id == key_pair_id)
    if name is not None:
        chosen.append(KeyPair.name == name)
    if len(chosen) == 1:
        raise MissingParameter("KeyName")
    removed = tx.session.execute(
        delete(KeyPair).where(*chosen).returning(KeyPair.id).execution_options(synchronize_session=False)
    ).scalar()
    if removed is not None:
        tags.remove_all(tx, [removed])
    return removed


def _check_new(tx: Transaction, caller: Caller, name: str) -> None:
    if not name or len(name) > _MAX_NAME or not name.isascii() or not name.isprintable() or name.strip() != name:
        raise InvalidParameter(
            f"Value for parameter keyName is invalid. Expecting 1 to {_MAX_NAME} printable ASCII characters, without "
            "spaces at its ends."
        )
    query = select(KeyPair.id).where(KeyPair.account_id == caller.account_id, KeyPair.name == name)
    if tx.session.scalar(query) is not None:
        raise AlreadyExists("key-pair", f"The keypair '{name}' already exists.")
    if quotas.count(tx, MOST, KeyPair.id, KeyPair.account_id == caller.account_id) >= MOST:
        raise LimitExceeded(f"The maximum number of key pairs has been reached ({MOST}).", code="KeyPairLimitExceeded")


def _add(
    tx: Transaction,
    caller: Caller,
    name: str,
    key: public_keys.PublicKey,
    *,
    key_tags: Mapping[str, str],
    now: datetime,
) -> KeyPair:
    row = KeyPair(
        id=ids.new_id("key-pair"),
        account_id=caller.account_id,
        name=name,
        key_type=key.key_type,
        fingerprint=key.fingerprint,
        public_key=f"{key.openssh} {name}",
        created=now,
    )
    tx.session.add(row)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [("key-pair", row.id)], {"key-pair": key_tags})
    return row
