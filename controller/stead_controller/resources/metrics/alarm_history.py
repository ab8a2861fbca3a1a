"""What happened to alarms: kept for 30 days, also of alarms that were deleted.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarmHistory.html.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, delete, or_, select

from stead_controller.db.tables import AlarmHistoryItem
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction

LASTING: Final = timedelta(days=30)
KINDS: Final = ("ConfigurationUpdate", "StateUpdate", "Action")

_SUMMARY: Final = 255
_TEXT: Final = 4095
_FORGOTTEN_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Search:
    """Which items are asked for: of an alarm or all, of metric alarms (False), composite ones (True), or both."""

    alarm: str | None = None
    composite: Collection[bool] = (False,)
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """Which alarm acted, and since when it is in the state that asked for it."""

    account_id: str
    alarm: str
    composite: bool
    since: datetime


def add(  # noqa: PLR0917 - an item's members
    tx: Transaction,
    account_id: str,
    alarm: str,
    composite: bool,
    kind: str,
    summary: str,
    text: str,
    now: datetime,
) -> None:
    """Note an item; `text` is JSON."""
    item = AlarmHistoryItem(
        account_id=account_id,
        alarm=alarm,
        composite=composite,
        at=now,
        kind=kind,
        summary=summary[:_SUMMARY],
        text=text[:_TEXT],
    )
    tx.session.add(item)


def note_action(tx: Transaction, done: Done, arn: str, failure: str, now: datetime) -> None:
    """Note that an action was carried out, or why it could not be; `failure` is empty if it was."""
    text = {
        "actionState": "Failed" if failure else "Succeeded",
        "notificationResource": arn,
        "publishedMessage": None,
        "error": failure or None,
        "stateUpdateTimestamp": round(done.since.timestamp() * 1000),
    }
    summary = f"{'Failed' if failure else 'Successfully'} executed action {arn}"
    add(tx, done.account_id, done.alarm, done.composite, "Action", summary, json.dumps(text), now)


def search(
    tx: Transaction, caller: Caller, asked: Search, after: tuple[datetime, int] | None, limit: int
) -> Sequence[AlarmHistoryItem]:
    """Find items after one, by their time and number, in the order asked for."""
    row = AlarmHistoryItem
    query = select(row).where(row.account_id == caller.account_id, row.composite.in_(asked.composite))
    if asked.alarm is not None:
        query = query.where(row.alarm == asked.alarm)
    if asked.kind is not None:
        query = query.where(row.kind == asked.kind)
    if asked.since is not None:
        query = query.where(row.at >= asked.since)
    if asked.until is not None:
        query = query.where(row.at <= asked.until)
    if after is not None:
        at, number = after
        later = (
            or_(row.at < at, and_(row.at == at, row.number < number))
            if asked.newest_first
            else or_(row.at > at, and_(row.at == at, row.number > number))
        )
        query = query.where(later)
    order = (row.at.desc(), row.number.desc()) if asked.newest_first else (row.at, row.number)
    return tx.session.scalars(query.order_by(*order).limit(limit)).all()


def forget(tx: Transaction, now: datetime) -> bool:
    """Delete some items that are too old; tells whether there may be more."""
    old = select(AlarmHistoryItem.number).where(AlarmHistoryItem.at < now - LASTING).limit(_FORGOTTEN_AT_ONCE)
    found = tx.session.scalars(old).all()
    if found:
        tx.session.execute(delete(AlarmHistoryItem).where(AlarmHistoryItem.number.in_(found)))
    return len(found) == _FORGOTTEN_AT_ONCE
