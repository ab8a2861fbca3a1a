"""How many of each thing IAM allows: its default quotas, where `quotas.py` has none that the operator may change.

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
    """Raise LimitExceeded where as many rows as allowed exist already; call before adding one."""
    tx.session.flush()
    if (tx.session.scalar(select(func.count(column)).where(*where)) or 0) >= most:
        raise exceeded(quota, most)


def check_account(tx: Transaction, caller: Caller, quota: Quota, name: str, model: Any) -> None:
    """Raise LimitExceeded, by IAM's name of the quota, where the account has as many as it may; call before adding."""
    most = quotas.limit(tx, caller.account_id, quota)
    if quotas.count(tx, most, model.id, model.account_id == caller.account_id) >= most:
        raise exceeded(name, most)


def exceeded(quota: str, most: int) -> LimitExceeded:
    """IAM's words for a quota that is used up."""
    return LimitExceeded(f"Cannot exceed quota for {quota}: {most}")
