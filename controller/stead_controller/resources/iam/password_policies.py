"""An account's password policy.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_PasswordPolicy.html.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

from sqlalchemy import select

from stead_controller.db.tables import IamAccount
from stead_controller.errors import NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import account_settings

LEAST_LENGTH: Final = 6
"""The default minimum length of passwords."""

# The rules are stored as JSON under IAM's names.
_STORED: Final = {
    "MinimumPasswordLength": "minimum_length",
    "RequireSymbols": "require_symbols",
    "RequireNumbers": "require_numbers",
    "RequireUppercaseCharacters": "require_uppercase",
    "RequireLowercaseCharacters": "require_lowercase",
    "AllowUsersToChangePassword": "allow_users_to_change",
    "MaxPasswordAge": "max_age",
    "PasswordReusePrevention": "reuse_prevention",
    "HardExpiry": "hard_expiry",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPolicy:
    """The rules that an account set, with IAM's defaults for the others.

    A password expires after `max_age` days; `reuse_prevention` is how many previous passwords must not be reused.
    """

    minimum_length: int = LEAST_LENGTH
    require_symbols: bool = False
    require_numbers: bool = False
    require_uppercase: bool = False
    require_lowercase: bool = False
    allow_users_to_change: bool = False
    max_age: int | None = None
    reuse_prevention: int | None = None
    hard_expiry: bool | None = None

    @classmethod
    def of_stored(cls, text: str) -> Self:
        """Read rules as they are stored."""
        return cls(**{_STORED[name]: value for name, value in json.loads(text).items()})

    def stored(self) -> str:
        """Write rules as they are stored."""
        rules = asdict(self)
        return json.dumps({name: rules[rule] for name, rule in _STORED.items() if rules[rule] is not None})


def put(tx: Transaction, caller: Caller, policy: PasswordPolicy) -> None:
    """Set all rules for passwords."""
    account_settings.row_of(tx, caller).password_policy = policy.stored()


def find(tx: Transaction, account_id: str) -> PasswordPolicy | None:
    """The rules that were set, if any."""
    text = tx.session.scalar(select(IamAccount.password_policy).where(IamAccount.account_id == account_id))
    return PasswordPolicy.of_stored(text) if text else None


def get(tx: Transaction, caller: Caller) -> PasswordPolicy:
    """The rules that were set; raises NotFound where none were."""
    rules = find(tx, caller.account_id)
    if rules is None:
        message = f"The Password Policy with domain name {caller.account_id} cannot be found."
        raise NotFound("iam-password-policy", caller.account_id, message=message)
    return rules


def remove(tx: Transaction, caller: Caller) -> None:
    """Remove the rules, so that IAM's defaults apply; raises NotFound where none were set."""
    get(tx, caller)
    account_settings.row_of(tx, caller).password_policy = None
