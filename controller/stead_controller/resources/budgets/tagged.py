"""Budgets and actions by their ARNs, as they are tagged."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Budget, BudgetAction
from stead_controller.errors import InvalidParameter, LimitExceeded, NotAuthorized, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction

MOST_TAGS: Final = 50

_ARN: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):budgets::(?P<account>\d{12}):budget/(?P<budget>[^:\\]{1,100}?)"
    r"(?:/action/(?P<action>[0-9a-fA-F-]{36}))?\Z"
)

type Tagged = Budget | BudgetAction
"""What has tags."""


def find(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> Tagged:
    """Return what an ARN names; raises InvalidParameter, NotAuthorized for another account's, NotFound."""
    found = _ARN.match(arn)
    if found is None or found["partition"] != cloud.partition:
        raise InvalidParameter(f"{arn[:300]} is not the ARN of a budget or of a budget's action.")
    if found["account"] != caller.account_id:
        raise NotAuthorized(f"Account {caller.account_id} may not use the budgets of {found['account']}.")
    row = look_up(tx, caller, arn)
    if row is None:
        raise NotFound("budget", arn, message=f"Unable to get the resource {arn[:300]}: it doesn't exist.")
    return row


def look_up(tx: Transaction, caller: Caller, arn: str) -> Tagged | None:
    """Return a budget or an action of the caller's account, None for anything else."""
    found = _ARN.match(arn)
    if found is None or found["account"] != caller.account_id:
        return None
    if found["action"] is None:
        return tx.session.get(Budget, (caller.account_id, found["budget"]))
    row = BudgetAction
    mine = row.account_id == caller.account_id, row.budget == found["budget"]
    return tx.session.scalar(select(row).where(*mine, row.id == found["action"].lower()))


def tags_of(row: Tagged) -> dict[str, str]:
    """Return the tags of a budget or an action."""
    tags: dict[str, str] = json.loads(row.tags)
    return tags


def tag(row: Tagged, tags: Mapping[str, str]) -> None:
    """Set tags; raises InvalidParameter, LimitExceeded."""
    changed = tags_of(row) | dict(tags)
    check(changed)
    row.tags = json.dumps(changed, sort_keys=True)


def untag(row: Tagged, keys: Iterable[str]) -> None:
    """Delete tags."""
    doomed = set(keys)
    row.tags = json.dumps({key: value for key, value in tags_of(row).items() if key not in doomed}, sort_keys=True)


def check(tags: Mapping[str, str]) -> None:
    """Raise InvalidParameter or LimitExceeded unless there may be such tags."""
    if len(tags) > MOST_TAGS:
        message = f"A budget or an action can have {MOST_TAGS} tags at most."
        raise LimitExceeded(message, code="ServiceQuotaExceededException")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidParameter(f"The tag {key[:128]} is invalid.")
