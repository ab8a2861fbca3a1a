"""Owners of snapshots and images as Describe operations name them: accounts, `self`, and aliases of vendors.

The cloud's own resources belong to the account `CLOUD_ACCOUNT`, which is shown under the alias `amazon`.
"""

from collections.abc import Sequence
from typing import Final

from stead_controller.errors import InvalidParameter
from stead_controller.request.caller import Caller

CLOUD_ACCOUNT: Final = "000000000000"
CLOUD_ALIAS: Final = "amazon"
_ALIASES: Final = {CLOUD_ALIAS: CLOUD_ACCOUNT}
_OTHER_ALIASES: Final = frozenset({"aws-backup-vault", "aws-marketplace", "microsoft"})


def accounts_of(caller: Caller, owners: Sequence[str]) -> list[str]:
    """Return the accounts that owners stand for; unknown vendors are left out. Raises InvalidParameter."""
    accounts = []
    for owner in owners:
        if owner == "self":
            accounts.append(caller.account_id)
        elif owner in _ALIASES:
            accounts.append(_ALIASES[owner])
        elif is_account(owner):
            accounts.append(owner)
        elif owner not in _OTHER_ALIASES:
            raise InvalidParameter(f"Invalid owner [{owner}]", code="InvalidUserID.Malformed")
    return accounts


def is_account(text: str) -> bool:
    """Whether a text has the form of an account id: 12 digits."""
    return text.isascii() and text.isdigit() and len(text) == len(CLOUD_ACCOUNT)
