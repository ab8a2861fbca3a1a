"""Accounts and their root access keys: find and disable accounts, look up the owner of an access key."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, or_, select

from stead_controller.db import load
from stead_controller.db.load import Load, columns_of
from stead_controller.db.tables import AccessKey, Account, IamUser
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request import session_tokens
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import access_keys, entities
from stead_controller.secrets.sealing import Sealer

type AccountRow = Account
"""An account as shown to operators."""

# Read for each request of a caller who has not called for a second.
_KEY: Final = Load(
    AccessKey,
    select(*columns_of(AccessKey), Account.disabled)
    .join(Account, Account.id == AccessKey.account_id)
    .where(AccessKey.id == bindparam("id")),
)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A new account; the secret is never shown again."""

    account_id: str
    name: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """An access key with its secret in clear text, and its owner."""

    secret: str = field(repr=False)
    caller: Caller
    active: bool


def list_accounts(tx: Transaction) -> list[Account]:
    """All accounts, oldest first."""
    return list(tx.session.scalars(select(Account).order_by(Account.created, Account.id)))


def find_account(tx: Transaction, name: str) -> Account:
    """An account by its id or its name; raises NotFound."""
    found = tx.session.scalar(select(Account).where(or_(Account.id == name, Account.name == name)).limit(1))
    if found is None:
        raise NotFound("account", name)
    return found


def disable(tx: Transaction, name: str, *, disabled: bool) -> Account:
    """Disable all credentials of an account, or enable them again; raises NotFound."""
    account = find_account(tx, name)
    account.disabled = disabled
    return account


def create_root_key(tx: Transaction, sealer: Sealer, name: str, now: datetime) -> NewAccount:
    """Make another root key for an account; raises NotFound, LimitExceeded."""
    account = find_account(tx, name)
    key = access_keys.add(tx, sealer, account.id, account.id, now)
    return NewAccount(account.id, account.name, key.id, key.secret)


def root_keys(tx: Transaction, name: str) -> list[AccessKey]:
    """The root keys of an account, the oldest first; raises NotFound."""
    account = find_account(tx, name)
    mine = select(AccessKey).where(AccessKey.user_id == account.id)
    return list(tx.session.scalars(mine.order_by(AccessKey.created, AccessKey.id)))


def delete_root_key(tx: Transaction, name: str, access_key_id: str) -> None:
    """Delete a root key of an account; raises NotFound."""
    account = find_account(tx, name)
    key = tx.session.get(AccessKey, access_key_id)
    if key is None or key.user_id != account.id:
        raise NotFound("access-key", access_key_id)
    tx.session.delete(key)


def open_key(tx: Transaction, sealer: Sealer, access_key_id: str) -> OpenedKey | None:
    """Find an access key and open its secret; None when there is none."""
    found = _KEY.with_more(tx.session, {"id": access_key_id})
    if not found:
        return None
    ((key, (disabled,)),) = found
    user = None if key.user_id == key.account_id else load.get(tx.session, IamUser, key.user_id)
    if user is None and key.user_id != key.account_id:
        return None  # its user was deleted
    secret = sealer.open(key.secret_sealed, access_keys.context(key.id)).decode()
    return OpenedKey(secret, _owner_of(key, user), active=key.active and not disabled)


def account_of_key(tx: Transaction, access_key_id: str) -> str:
    """Return the account of any access key, whoever asks, as in AWS; raises InvalidParameter."""
    account_id = session_tokens.account_of(access_key_id) or tx.session.scalar(
        select(AccessKey.account_id).where(AccessKey.id == access_key_id)
    )
    if account_id is None:
        raise InvalidParameter(f"Access key {access_key_id} is not valid.")
    return account_id


def _owner_of(key: AccessKey, user: IamUser | None) -> Caller:
    if user is None:
        return Caller(account_id=key.account_id, arn=key.arn, user_id=key.user_id, access_key_id=key.id)
    arn = entities.arn_of(user)
    return Caller(
        account_id=key.account_id,
        arn=arn,
        user_id=user.id,
        access_key_id=key.id,
        kind="user",
        principal_id=user.id,
        principal_arn=arn,
        user_name=user.name,
    )
