"""Actions of budgets: made, found, changed, begun and deleted. What they do is in `execution.py`.

See https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_Action.html.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from sqlalchemy import func, select

from stead_controller.db.tables import Budget, BudgetAction
from stead_controller.errors import InUse, InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.budgets import action_events, budgets, notices, tagged, thresholds
from stead_controller.resources.budgets.thresholds import Spent
from stead_controller.resources.iam import passed_roles

MOST: Final = 10
"""Actions of a budget."""
SERVICE: Final = "budgets.amazonaws.com"
IAM, SSM = "APPLY_IAM_POLICY", "RUN_SSM_DOCUMENTS"
AUTOMATIC, MANUAL = "AUTOMATIC", "MANUAL"

STANDBY: Final = "STANDBY"
PENDING: Final = "PENDING"
EXECUTING, EXECUTED, FAILED = "EXECUTION_IN_PROGRESS", "EXECUTION_SUCCESS", "EXECUTION_FAILURE"
REVERSING, REVERSED, NOT_REVERSED = "REVERSE_IN_PROGRESS", "REVERSE_SUCCESS", "REVERSE_FAILURE"
RUNNING: Final = (EXECUTING, REVERSING)
_ENDED: Final = (EXECUTED, FAILED, REVERSED, NOT_REVERSED)
# What may be asked of an action in which statuses, and the status that follows.
_STEPS: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    "APPROVE_BUDGET_ACTION": ((PENDING,), EXECUTING),
    "RETRY_BUDGET_ACTION": ((FAILED,), EXECUTING),
    "REVERSE_BUDGET_ACTION": ((EXECUTED, NOT_REVERSED), REVERSING),
    "RESET_BUDGET_ACTION": ((PENDING, *_ENDED), STANDBY),
}

type ShownAction = BudgetAction
"""An action as it is shown."""


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What an action is to be; `definition` has the policy, users, groups and roles, or else the instances."""

    kind: str
    threshold: float
    threshold_type: str
    type: str
    definition: Mapping[str, Any]
    role: str
    approval: str
    topic: str


def arn_of(cloud: Cloud, action: BudgetAction) -> str:
    """Return the ARN of an action."""
    return f"{budgets.arn_of(cloud, action.account_id, action.budget)}/action/{action.id}"


def create(
    tx: Transaction, budget: Budget, asked: ActionRequest, tags: Mapping[str, str], now: datetime
) -> BudgetAction:
    """Make an action; raises InvalidParameter, LimitExceeded."""
    mine = select(func.count()).select_from(BudgetAction).where(
        BudgetAction.account_id == budget.account_id, BudgetAction.budget == budget.name
    )  # fmt: skip
    if tx.session.scalars(mine).one() >= MOST:
        raise LimitExceeded(f"Error creating action: a budget can have {MOST} actions at most.")
    tagged.check(tags)
    action = BudgetAction(id=str(uuid.uuid4()), account_id=budget.account_id, budget=budget.name)
    action.tags, action.status, action.acted = json.dumps(dict(tags), sort_keys=True), STANDBY, None
    _set(tx, action, asked, now)
    tx.session.add(action)
    tx.session.flush()
    action_events.add(tx, action, action_events.CREATED, "The action was created.", now)
    budgets.touch(budget, now)
    return action


def change(tx: Transaction, budget: Budget, action: BudgetAction, asked: ActionRequest, now: datetime) -> None:
    """Give an action other facts; raises InvalidParameter, InUse while it runs."""
    require_idle(action)
    _set(tx, action, asked, now)
    action_events.add(tx, action, action_events.UPDATED, "The action was updated.", now)
    budgets.touch(budget, now)
    tx.session.flush()


def execute(tx: Transaction, budget: Budget, action: BudgetAction, step: str, now: datetime) -> None:
    """Do what is asked of an action; raises InvalidParameter in another status, InUse while it runs."""
    require_idle(action)
    statuses, following = _STEPS[step]
    if action.status not in statuses:
        raise InvalidParameter(
            f"{step} is for an action whose status is {' or '.join(statuses)}; this one's is {action.status}."
        )
    action.status = following
    if following == STANDBY:
        action.acted = None
        budgets.touch(budget, now)
    action_events.add(tx, action, action_events.EXECUTED, f"{step} was requested.", now)
    tx.session.flush()


def delete(tx: Transaction, action: BudgetAction) -> None:
    """Delete an action; what it did stays. Raises InUse while it runs."""
    require_idle(action)
    tx.session.delete(action)
    tx.session.flush()


def require_idle(action: BudgetAction) -> None:
    """Raise InUse while an action runs."""
    if action.status in RUNNING:
        raise InUse(f"The action {action.id} is {action.status}: try again when it has ended.")


def find(tx: Transaction, budget: Budget, action_id: str) -> BudgetAction:
    """Return an action of a budget; raises NotFound."""
    mine = BudgetAction.account_id == budget.account_id, BudgetAction.budget == budget.name
    action = tx.session.scalar(select(BudgetAction).where(*mine, BudgetAction.id == action_id.lower()))
    if action is None:
        raise NotFound("budget-action", action_id, message=f"Unable to get action: {action_id} - it doesn't exist.")
    return action


def of_budget(tx: Transaction, budget: Budget, *, after: str = "", limit: int = MOST) -> list[BudgetAction]:
    """List the actions of a budget by their ids, from the one after `after` on."""
    mine = BudgetAction.account_id == budget.account_id, BudgetAction.budget == budget.name
    query = select(BudgetAction).where(*mine, BudgetAction.id > after).order_by(BudgetAction.id).limit(limit)
    return list(tx.session.scalars(query))


def of_account(tx: Transaction, caller: Caller, *, after: tuple[str, str], limit: int) -> list[BudgetAction]:
    """List the account's actions by budget and id, from those after `after` on."""
    row = BudgetAction
    later = (row.budget > after[0]) | ((row.budget == after[0]) & (row.id > after[1]))
    query = select(row).where(row.account_id == caller.account_id, later).order_by(row.budget, row.id).limit(limit)
    return list(tx.session.scalars(query))


def settle(  # noqa: PLR0917 - what is judged
    tx: Transaction, budget: Budget, begin: int, spent: Spent, limit: Fraction, now: datetime
) -> bool:
    """Begin the actions whose thresholds are exceeded in the period that began then, each once; tell if one runs."""
    found = of_budget(tx, budget)
    for action in found:
        if action.status in _ENDED and action.acted is not None and action.acted < begin:
            action.status, action.acted = STANDBY, None
            action_events.add(tx, action, action_events.SYSTEM, "A new period of the budget has begun.", now)
        threshold = thresholds.amount(action.threshold, action.threshold_type, limit)
        exceeded = thresholds.crossed(thresholds.GREATER, spent.of(action.kind), threshold)
        if not exceeded or action.status != STANDBY or action.acted is not None:
            continue
        action.acted = begin
        action.status = EXECUTING if action.approval == AUTOMATIC else PENDING
        message = "The threshold of the action is exceeded."
        if action.status == PENDING:
            message += " It waits for approval."
            notices.tell_action(tx, budget, action, message, now)
        action_events.add(tx, action, action_events.SYSTEM, message, now)
    return any(action.status in RUNNING for action in found)


def _set(tx: Transaction, action: BudgetAction, asked: ActionRequest, now: datetime) -> None:
    if not passed_roles.trusts(tx, asked.role, SERVICE, action.account_id, now):
        raise InvalidParameter(f"{asked.role} is no role of this account that {SERVICE} may assume.")
    action.kind, action.threshold, action.threshold_type = asked.kind, asked.threshold, asked.threshold_type
    action.type, action.definition = asked.type, json.dumps(dict(asked.definition), sort_keys=True)
    action.role, action.approval, action.topic = asked.role, asked.approval, asked.topic
