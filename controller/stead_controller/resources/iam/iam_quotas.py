"""IAM's default quotas for each kind of entity that has no adjustable quota in `quotas.py`.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, func, select

from stead_controller.errors import LimitExceeded
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.quotas import Quota

VERSIONS_PER_POLICY: Final = 5
POLICIES_PER: Final = {
    "group": quotas.IAM_POLICIES_PER_GROUP,
    "role": quotas.IAM_POLICIES_PER_ROLE,
    "user": quotas.IAM_POLICIES_PER_USER,
}
GROUPS_PER_USER: Final = 10
ACCESS_KEYS_PER_USER: Final = 2
MFA_DEVICES_PER_USER: Final = 8
TAGS: Final = 50
POLICY_SIZE: Final = 6144
TRUST_POLICY_SIZE: Final = 2048
INLINE_SIZES: Final = {"user": 2048, "group": 5120, "role": 10240}


def check(tx: Transaction, quota: str, most: int, column: Any, *where: ColumnElement[bool]) -> None:
    """Raise LimitExceeded where the maximum number of rows exists already; call before adding one."""
    tx.session.flush()
    if (tx.session.scalar(select(func.count(column)).where(*where)) or 0) >= most:
        raise exceeded(quota, most)


def check_account(tx: Transaction, caller: Caller, quota: Quota, name: str, model: Any) -> None:
    """Raise LimitExceeded where the account has reached a quota, given by IAM's name of it; call before adding."""
    most = quotas.limit(tx, caller.account_id, quota)
    if quotas.count(tx, most, model.id, model.account_id == caller.account_id) >= most:
        raise exceeded(name, most)


def exceeded(quota: str, most: int) -> LimitExceeded:
    """Make IAM's error for a quota that has been reached."""
    return LimitExceeded(f"Cannot exceed quota for {quota}: {most}")
