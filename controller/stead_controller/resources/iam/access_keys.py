"""Access keys of users, and of an account's root: two each, shown once, switched off and on, deleted.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update

from stead_controller.db.tables import AccessKey, IamRole, IamUser
from stead_controller.errors import NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities, iam_names, iam_quotas
from stead_controller.secrets.sealing import Sealer

_SECRET_BYTES: Final = 30  # 40 characters of base64
_USE_OF_KEY: Final = (
    update(AccessKey)
    .where(AccessKey.id == bindparam("one"))
    .values(last_used=bindparam("at"), last_used_service=bindparam("service"), last_used_region=bindparam("region"))
)
_USE_OF_ROLE: Final = (
    update(IamRole)
    .where(IamRole.id == bindparam("one"))
    .values(last_used=bindparam("at"), last_used_region=bindparam("region"))
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new access key; the secret is never shown again. A key of root has no user name."""

    id: str
    secret: str = field(repr=False)
    created: datetime
    user_name: str | None = None


@dataclass(frozen=True, slots=True)
class DescribedKey:
    """An access key without its secret; one of root has no user's name."""

    id: str
    user_name: str | None
    active: bool
    created: datetime


@dataclass(frozen=True, slots=True)
class LastUse:
    """When a key was last used, for which service and in which region; all None if it never was."""

    user_name: str | None
    at: datetime | None
    service: str | None
    region: str | None


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A use of an access key; for a role's session `role_id` is the role, and the key has no row."""

    access_key_id: str
    role_id: str
    service: str
    region: str
    at: datetime


def add(tx: Transaction, sealer: Sealer, account_id: str, user_id: str, now: datetime) -> NewKey:
    """Make a key for a user, or for root if the user id is the account's; raises LimitExceeded."""
    iam_quotas.check(
        tx,
        "AccessKeysPerUser",
        iam_quotas.ACCESS_KEYS_PER_USER,
        AccessKey.id,
        AccessKey.user_id == user_id,
    )
    made = NewKey(iam_names.new_access_key_id(), secrets.token_urlsafe(_SECRET_BYTES), now)
    tx.session.add(
        AccessKey(
            id=made.id,
            account_id=account_id,
            user_id=user_id,
            arn=f"arn:aws:iam::{account_id}:root" if user_id == account_id else "",
            secret_sealed=sealer.seal(made.secret.encode(), context(made.id)),
            active=True,
            created=now,
        )
    )
    return made


def context(access_key_id: str) -> str:
    """Return the context that a key's secret is sealed for."""
    return f"access-key:{access_key_id}"


def create(tx: Transaction, caller: Caller, sealer: Sealer, user_name: str | None, now: datetime) -> NewKey:
    """Make a key; raises NotFound, InvalidParameter, LimitExceeded."""
    user_id, owner_name = _owner(tx, caller, user_name)
    return replace(add(tx, sealer, caller.account_id, user_id, now), user_name=owner_name)


def of_user(tx: Transaction, caller: Caller, user_name: str | None) -> list[DescribedKey]:
    """A user's keys without their secrets, the oldest first; raises NotFound, InvalidParameter."""
    user_id, owner_name = _owner(tx, caller, user_name)
    mine = select(AccessKey).where(AccessKey.user_id == user_id).order_by(AccessKey.created, AccessKey.id)
    return [DescribedKey(key.id, owner_name, key.active, key.created) for key in tx.session.scalars(mine)]


def switch(tx: Transaction, caller: Caller, user_name: str | None, access_key_id: str, *, active: bool) -> None:
    """Switch a key on or off; raises NotFound, InvalidParameter."""
    _find(tx, caller, user_name, access_key_id).active = active


def remove(tx: Transaction, caller: Caller, user_name: str | None, access_key_id: str) -> None:
    """Delete a key; raises NotFound, InvalidParameter."""
    tx.session.delete(_find(tx, caller, user_name, access_key_id))


def last_used(tx: Transaction, caller: Caller, access_key_id: str) -> LastUse:
    """Return the last use of one of the account's keys; raises NotFound."""
    key = _own(tx, caller, access_key_id)
    user = tx.session.get(IamUser, key.user_id)
    return LastUse(user.name if user else None, key.last_used, key.last_used_service, key.last_used_region)


def write_uses(tx: Transaction, uses: Sequence[KeyUse]) -> None:
    """Store when keys and roles were last used; those deleted meanwhile are skipped."""
    keys = [
        {"one": use.access_key_id, "at": use.at, "service": use.service, "region": use.region}
        for use in uses
        if not use.role_id
    ]
    roles = [{"one": use.role_id, "at": use.at, "region": use.region} for use in uses if use.role_id]
    connection = tx.session.connection()
    if keys:
        connection.execute(_USE_OF_KEY, keys)
    if roles:
        connection.execute(_USE_OF_ROLE, roles)


def _owner(tx: Transaction, caller: Caller, user_name: str | None) -> tuple[str, str | None]:
    """Return the id and name of the user whose keys the request is about; root's if root names no user."""
    if user_name is None and caller.kind == "root":
        return caller.account_id, None
    user = entities.find_user(tx, caller, entities.own_name(caller, user_name))
    return user.id, user.name


def _find(tx: Transaction, caller: Caller, user_name: str | None, access_key_id: str) -> AccessKey:
    user_id, _ = _owner(tx, caller, user_name)
    key = _own(tx, caller, access_key_id)
    if key.user_id != user_id:
        raise _absent(access_key_id)
    return key


def _own(tx: Transaction, caller: Caller, access_key_id: str) -> AccessKey:
    mine = AccessKey.account_id == caller.account_id
    key = tx.session.scalar(select(AccessKey).where(mine, AccessKey.id == access_key_id))
    if key is None:
        raise _absent(access_key_id)
    return key


def _absent(access_key_id: str) -> NotFound:
    return NotFound("iam-access-key", access_key_id, message=f"The Access Key with id {access_key_id} cannot be found.")
