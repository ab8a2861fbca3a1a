"""What budgets publish to topics, in the transaction of what it tells: texts with AWS's subjects and lines."""

import logging
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Final

from stead_controller.db.tables import Budget, BudgetAction, BudgetNotification, Topic
from stead_controller.metering.cost_sums import text_of
from stead_controller.request.transaction import Transaction
from stead_controller.resources.budgets import periods, spending, thresholds
from stead_controller.resources.notifications import publishing
from stead_controller.resources.notifications.publishing import Message

_log = logging.getLogger(__name__)

_SIGNS: Final = {thresholds.GREATER: ">", thresholds.LESS: "<", thresholds.EQUAL: "="}
_WORDS: Final = {thresholds.GREATER: "greater than", thresholds.LESS: "less than", thresholds.EQUAL: "equal to"}
_TIMES: Final = {
    periods.DAILY: "the day",
    periods.MONTHLY: "the month",
    periods.QUARTERLY: "the quarter",
    periods.ANNUALLY: "the year",
    periods.CUSTOM: "the time",
}


def tell_crossed(  # noqa: PLR0917 - what is told
    tx: Transaction,
    budget: Budget,
    row: BudgetNotification,
    limit: Fraction,
    spent: Fraction,
    begin: int,
    now: datetime,
) -> None:
    """Publish that a threshold of a notification is crossed in the period that began then."""
    threshold = thresholds.amount(row.threshold, row.threshold_type, limit)
    what = "Cost" if budget.kind == spending.COST else "Usage"
    since = f"{_TIMES[budget.time_unit]} that began on {datetime.fromtimestamp(begin, UTC):%Y-%m-%d}"
    text = (
        f"{_head(budget, now)}"
        f"You requested that we alert you when the {row.kind} {what} associated with your {budget.name} budget is "
        f"{_WORDS[row.comparison]} {shown(budget, threshold)} for {since}. The {row.kind} {what} associated with this "
        f"budget is {shown(budget, spent)}.\n\n"
        f"Budget Name: {budget.name}\n"
        f"Budget Type: {what}\n"
        f"Budgeted Amount: {shown(budget, limit)}\n"
        f"Alert Type: {row.kind}\n"
        f"Alert Threshold: {_SIGNS[row.comparison]} {shown(budget, threshold)}\n"
        f"{row.kind} Amount: {shown(budget, spent)}\n"
    )
    publish(
        tx, budget.account_id, row.topic, f"AWS Budgets: {budget.name} has exceeded your alert threshold", text, now
    )


def tell_action(tx: Transaction, budget: Budget, action: BudgetAction, message: str, now: datetime) -> None:
    """Publish what became of an action."""
    text = (
        f"{_head(budget, now)}{message}\n\n"
        f"Budget Name: {budget.name}\n"
        f"Action Id: {action.id}\n"
        f"Action Type: {action.type}\n"
        f"Action Status: {action.status}\n"
    )
    publish(tx, budget.account_id, action.topic, f"AWS Budgets: action of {budget.name}: {action.status}", text, now)


def publish(tx: Transaction, account_id: str, arn: str, subject: str, text: str, now: datetime) -> None:  # noqa: PLR0917 - a message
    """Publish to a topic of the account; if it is there no more, the log says so."""
    topic = tx.session.get(Topic, (account_id, arn.rpartition(":")[2]))
    if topic is None:
        _log.warning("budget_topic_absent", extra={"account_id": account_id, "topic": arn})
        return
    publishing.publish(tx, topic, Message({"default": text}, publishing.plain_subject(subject)), now)


def shown(budget: Budget, amount: Fraction) -> str:
    """Show an amount: dollars as AWS does, and others with their unit; cents where it costs at least that."""
    if budget.kind != spending.COST:
        return f"{text_of(amount)} {budget.unit}"
    cents = (Decimal(amount.numerator) / amount.denominator).quantize(Decimal("0.01"), ROUND_HALF_UP)
    number = str(cents) if cents or not amount else text_of(amount)
    return f"${number}" if budget.unit == "USD" else f"{number} {budget.unit}"


def _head(budget: Budget, now: datetime) -> str:
    return f"AWS Budget Notification {now:%B %d, %Y}\nAWS Account {budget.account_id}\n\n"
