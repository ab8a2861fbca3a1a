"""Settings of an account as a whole: its alias, and its number of entities and quotas.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select

from stead_controller.db.tables import (
    AccessKey,
    IamAccount,
    IamAttachedPolicy,
    IamGroup,
    IamInstanceProfile,
    IamMfaDevice,
    IamOidcProvider,
    IamPolicy,
    IamRole,
    IamUser,
)
from stead_controller.errors import AlreadyExists, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import iam_names, iam_quotas
from stead_controller.resources.quotas import Quota

_ALIAS: Final = r"^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$"
_COUNTED: Final[dict[str, tuple[Any, Quota]]] = {
    "user": (IamUser, quotas.IAM_USERS),
    "group": (IamGroup, quotas.IAM_GROUPS),
    "role": (IamRole, quotas.IAM_ROLES),
    "instance-profile": (IamInstanceProfile, quotas.IAM_INSTANCE_PROFILES),
    "policy": (IamPolicy, quotas.IAM_POLICIES),
}


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """The number of an account's entities, and its limits.

    `counts` and `limits` are by kind, as in ARNs; `policies_per` is the maximum number of managed policies of a user,
    a group and a role.
    """

    counts: Mapping[str, int]
    limits: Mapping[str, int]
    policies_per: Mapping[str, int]
    oidc_providers: int
    mfa_devices: int
    mfa_devices_in_use: int
    root_has_mfa_device: bool
    policies_in_use: int
    root_has_access_key: bool


def summary(tx: Transaction, caller: Caller) -> AccountSummary:
    """Return the number of the account's entities, and its limits."""
    account_id = caller.account_id
    in_use = (IamMfaDevice.account_id == account_id) & IamMfaDevice.user_id.is_not(None)
    attached = IamAttachedPolicy.account_id == account_id
    return AccountSummary(
        counts={kind: _count(tx, model.id, model.account_id == account_id) for kind, (model, _) in _COUNTED.items()},
        limits={kind: quotas.limit(tx, account_id, quota) for kind, (_, quota) in _COUNTED.items()},
        policies_per={kind: quotas.limit(tx, account_id, quota) for kind, quota in iam_quotas.POLICIES_PER.items()},
        oidc_providers=_count(tx, IamOidcProvider.id, IamOidcProvider.account_id == account_id),
        mfa_devices=_count(tx, IamMfaDevice.id, IamMfaDevice.account_id == account_id),
        mfa_devices_in_use=_count(tx, IamMfaDevice.id, in_use),
        root_has_mfa_device=_count(tx, IamMfaDevice.id, IamMfaDevice.user_id == account_id) > 0,
        policies_in_use=_count(tx, IamAttachedPolicy.policy_arn.distinct(), attached),
        root_has_access_key=_count(tx, AccessKey.id, AccessKey.user_id == account_id) > 0,
    )


def alias(tx: Transaction, caller: Caller) -> str | None:
    """The account's alias, if it has one."""
    return tx.session.scalar(select(IamAccount.alias).where(IamAccount.account_id == caller.account_id))


def set_alias(tx: Transaction, caller: Caller, text: str) -> None:
    """Set the account's alias, replacing the one that it has; raises InvalidParameter, AlreadyExists."""
    if not re.match(_ALIAS, text):
        raise iam_names.invalid("accountAlias", f"Member must satisfy regular expression pattern: {_ALIAS}")
    holder = tx.session.scalar(select(IamAccount.account_id).where(IamAccount.alias == text))
    if holder is not None and holder != caller.account_id:
        raise AlreadyExists("iam-account-alias", f"The account alias {text} already exists.")
    row_of(tx, caller).alias = text


def remove_alias(tx: Transaction, caller: Caller, text: str) -> None:
    """Remove the alias; raises NotFound where the account has another or none."""
    if alias(tx, caller) != text:
        message = f"The Account Alias with alias name {text} cannot be found."
        raise NotFound("iam-account-alias", text, message=message)
    row_of(tx, caller).alias = None


def row_of(tx: Transaction, caller: Caller) -> IamAccount:
    """Return the row of the caller's account settings, which is created if it does not exist."""
    row = tx.session.get(IamAccount, caller.account_id)
    if row is None:
        row = IamAccount(account_id=caller.account_id)
        tx.session.add(row)
    return row


def _count(tx: Transaction, column: Any, where: Any) -> int:
    return tx.session.scalar(select(func.count(column)).where(where)) or 0
