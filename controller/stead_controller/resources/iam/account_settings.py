"""What IAM knows of an account as a whole: its alias, its rules for passwords, and how much it has of what.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html.
"""

import json
import re
from collections.abc import Mapping
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
    "Users": (IamUser, quotas.IAM_USERS),
    "Groups": (IamGroup, quotas.IAM_GROUPS),
    "Roles": (IamRole, quotas.IAM_ROLES),
    "InstanceProfiles": (IamInstanceProfile, quotas.IAM_INSTANCE_PROFILES),
    "Policies": (IamPolicy, quotas.IAM_POLICIES),
}
_FIXED: Final = {
    "AccessKeysPerUserQuota": iam_quotas.ACCESS_KEYS_PER_USER,
    "AccountPasswordPresent": 0,
    "AccountSigningCertificatesPresent": 0,
    "GlobalEndpointTokenVersion": 2,  # tokens are good wherever the cloud is asked
    "AssumeRolePolicySizeQuota": iam_quotas.TRUST_POLICY_SIZE,
    "GroupPolicySizeQuota": iam_quotas.INLINE_SIZES["group"],
    "GroupsPerUserQuota": iam_quotas.GROUPS_PER_USER,
    "PolicySizeQuota": iam_quotas.POLICY_SIZE,
    "PolicyVersionsInUseQuota": 10_000,
    "RolePolicySizeQuota": iam_quotas.INLINE_SIZES["role"],
    "ServerCertificates": 0,
    "ServerCertificatesQuota": 0,  # none can be uploaded
    "SigningCertificatesPerUserQuota": 0,
    "UserPolicySizeQuota": iam_quotas.INLINE_SIZES["user"],
    "VersionsPerPolicyQuota": iam_quotas.VERSIONS_PER_POLICY,
}
# What a new policy says of rules that it does not mention.
_UNSAID: Final[dict[str, Any]] = {
    "MinimumPasswordLength": 6,
    "RequireSymbols": False,
    "RequireNumbers": False,
    "RequireUppercaseCharacters": False,
    "RequireLowercaseCharacters": False,
    "AllowUsersToChangePassword": False,
}


def summary(tx: Transaction, caller: Caller) -> dict[str, int]:
    """How much the account has, and how much it may have."""
    found = dict(_FIXED)
    for name, (model, quota) in _COUNTED.items():
        found[name] = _count(tx, model.id, model.account_id == caller.account_id)
        found[f"{name}Quota"] = quotas.limit(tx, caller.account_id, quota)
    for kind, quota in iam_quotas.POLICIES_PER.items():
        found[f"AttachedPoliciesPer{kind.capitalize()}Quota"] = quotas.limit(tx, caller.account_id, quota)
    found["Providers"] = _count(tx, IamOidcProvider.id, IamOidcProvider.account_id == caller.account_id)
    found["MFADevices"] = _count(tx, IamMfaDevice.id, IamMfaDevice.account_id == caller.account_id)
    in_use = (IamMfaDevice.account_id == caller.account_id) & IamMfaDevice.user_id.is_not(None)
    found["MFADevicesInUse"] = _count(tx, IamMfaDevice.id, in_use)
    of_root = IamMfaDevice.user_id == caller.account_id
    found["AccountMFAEnabled"] = int(_count(tx, IamMfaDevice.id, of_root) > 0)
    attached = IamAttachedPolicy.account_id == caller.account_id
    found["PolicyVersionsInUse"] = _count(tx, IamAttachedPolicy.policy_arn.distinct(), attached)
    root = AccessKey.user_id == caller.account_id
    found["AccountAccessKeysPresent"] = int(_count(tx, AccessKey.id, root) > 0)
    return found


def alias(tx: Transaction, caller: Caller) -> str | None:
    """The account's alias, if it has one."""
    return tx.session.scalar(select(IamAccount.alias).where(IamAccount.account_id == caller.account_id))


def set_alias(tx: Transaction, caller: Caller, text: str) -> None:
    """Give the account an alias instead of the one that it has; raises InvalidParameter, AlreadyExists."""
    if not re.match(_ALIAS, text):
        raise iam_names.invalid("accountAlias", f"Member must satisfy regular expression pattern: {_ALIAS}")
    holder = tx.session.scalar(select(IamAccount.account_id).where(IamAccount.alias == text))
    if holder is not None and holder != caller.account_id:
        raise AlreadyExists("iam-account-alias", f"The account alias {text} already exists.")
    _row(tx, caller).alias = text


def remove_alias(tx: Transaction, caller: Caller, text: str) -> None:
    """Take the alias away; raises NotFound where the account has another or none."""
    if alias(tx, caller) != text:
        message = f"The Account Alias with alias name {text} cannot be found."
        raise NotFound("iam-account-alias", text, message=message)
    _row(tx, caller).alias = None


def set_password_policy(tx: Transaction, caller: Caller, rules: Mapping[str, Any]) -> None:
    """Set all rules for passwords: what is not said has its default."""
    _row(tx, caller).password_policy = json.dumps({**_UNSAID, **rules})


def password_policy(tx: Transaction, account_id: str) -> dict[str, Any] | None:
    """The rules that were set, if any."""
    text = tx.session.scalar(select(IamAccount.password_policy).where(IamAccount.account_id == account_id))
    return json.loads(text) if text else None


def show_password_policy(tx: Transaction, caller: Caller) -> dict[str, Any]:
    """The rules in the API's shape; raises NotFound where none were set."""
    rules = password_policy(tx, caller.account_id)
    if rules is None:
        raise _no_policy(caller)
    return {**rules, "ExpirePasswords": "MaxPasswordAge" in rules}


def remove_password_policy(tx: Transaction, caller: Caller) -> None:
    """Return to the rules of an account that set none; raises NotFound where none were set."""
    if password_policy(tx, caller.account_id) is None:
        raise _no_policy(caller)
    _row(tx, caller).password_policy = None


def _no_policy(caller: Caller) -> NotFound:
    message = f"The Password Policy with domain name {caller.account_id} cannot be found."
    return NotFound("iam-password-policy", caller.account_id, message=message)


def _row(tx: Transaction, caller: Caller) -> IamAccount:
    row = tx.session.get(IamAccount, caller.account_id)
    if row is None:
        row = IamAccount(account_id=caller.account_id)
        tx.session.add(row)
    return row


def _count(tx: Transaction, column: Any, where: Any) -> int:
    return tx.session.scalar(select(func.count(column)).where(where)) or 0
