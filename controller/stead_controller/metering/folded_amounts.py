"""Amounts of old days by the day instead of by the hour: the ledger stays small, and what is told of it the same.

The hours of a day in which a price book begins stay, and those of a resource some tag of which begins or ends in the
day: there an hour says by itself what it costs, and for which tag.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, exists, func, or_, select, update

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import PriceBook, UsageAmount, UsageDaysMark, UsageTag
from stead_controller.metering.usage_days import DAY
from stead_controller.request.transaction import Transaction

KEPT_DAYS: Final = 46
"""Days whose hours are told: exports write those of the month before until two weeks later."""
_MARK: Final = 3  # beside those of `usage_days`: all days before this one are done
_AT_ONCE: Final = 500  # resources' days in one transaction

_MINE: Final = (
    UsageAmount.resource_id == bindparam("of"),
    UsageAmount.usage == bindparam("named"),
    UsageAmount.operation == bindparam("by"),
)
_FIRST: Final = Prepared(
    update(UsageAmount).where(*_MINE, UsageAmount.hour == bindparam("first")).values(amount=bindparam("total"))
)
_OTHERS: Final = Prepared(
    delete(UsageAmount).where(*_MINE, UsageAmount.hour > bindparam("first"), UsageAmount.began < bindparam("until"))
)


def fold(tx: Transaction, now: datetime) -> bool:
    """Add up hours of the first day that is not done; tell whether more may be left, of it or of later ones."""
    day = _next_day(tx)
    if day is None or day > int(now.timestamp()) // DAY - KEPT_DAYS:
        return False
    begin, end = day * DAY, (day + 1) * DAY
    found = [] if _has_two_books(tx, begin, end) else tx.connection.execute(_several_hours(begin, end)).all()
    rows = [
        {"of": row[0], "named": row[1], "by": row[2], "first": row[3], "total": int(row[4]), "until": end}
        for row in found
    ]
    _FIRST.many(tx.connection, rows)
    _OTHERS.many(tx.connection, rows)
    if len(found) < _AT_ONCE:
        upsert(tx.session, UsageDaysMark, [{"id": _MARK, "number": day + 1}])
    return True


def _next_day(tx: Transaction) -> int | None:
    """Return the first day with amounts that is not done."""
    done = tx.session.scalar(select(UsageDaysMark.number).where(UsageDaysMark.id == _MARK)) or 0
    began = tx.session.scalar(select(func.min(UsageAmount.began)).where(UsageAmount.began >= done * DAY))
    return None if began is None else began // DAY


def _has_two_books(tx: Transaction, begin: int, end: int) -> bool:
    within = PriceBook.valid_from > begin, PriceBook.valid_from < end
    return tx.session.scalar(select(PriceBook.valid_from).where(*within).limit(1)) is not None


def _several_hours(begin: int, end: int) -> Select[*tuple[Any, ...]]:
    """Select uses that have several rows in a day, with the first of them and their sum."""
    changed = exists().where(
        UsageTag.account_id == UsageAmount.account_id,
        UsageTag.resource_id == UsageAmount.resource_id,
        or_(
            (UsageTag.began > begin) & (UsageTag.began < end),
            (UsageTag.ended > begin) & (UsageTag.ended < end),
        ),
    )
    names = UsageAmount.resource_id, UsageAmount.usage, UsageAmount.operation
    return (
        select(*names, func.min(UsageAmount.hour), func.sum(UsageAmount.amount))
        .where(UsageAmount.began >= begin, UsageAmount.began < end, ~changed)
        .group_by(*names)
        .having(func.count() > 1)
        .having(func.min(UsageAmount.account_id) == func.max(UsageAmount.account_id))
        .having(func.min(UsageAmount.zone) == func.max(UsageAmount.zone))
        .limit(_AT_ONCE)
    )
