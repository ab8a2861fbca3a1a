"""Counts the lines of the ledger by day, each once, in the order of their numbers.

A line never changes, so what it amounts to in each day does not either: days are sums of all lines up to a number, and
those after it are added when a bill is asked for.
"""

from collections import defaultdict
from typing import Any, Final

from sqlalchemy import select, text, tuple_

from stead_controller.db.insert import upsert
from stead_controller.db.tables import UsageDay, UsageDaysMark, UsageLine
from stead_controller.request.transaction import Transaction

DAY: Final = 86400
_LINES: Final = 5000  # in one transaction, which lasts a tenth of a second
_MARK: Final = 1
_KEYS: Final = 500  # of one query


def counted(tx: Transaction) -> int:
    """Return the number of the last line that is counted in days."""
    return tx.session.scalar(select(UsageDaysMark.number).where(UsageDaysMark.id == _MARK)) or 0


def add_lines(tx: Transaction) -> bool:
    """Count lines that are not counted yet, first in a transaction; tell whether more than one takes may be left.

    It is a transaction of its own, since a PostgreSQL one that has read before its lock does not see all lines.
    """
    if tx.connection.dialect.name == "postgresql":
        # So that no line has a number below those that are seen and is not seen itself, and nobody counts beside us.
        tx.connection.execute(text("LOCK TABLE usage_lines IN SHARE ROW EXCLUSIVE MODE"))
    lines = tx.connection.execute(
        select(
            UsageLine.number,
            UsageLine.account_id,
            UsageLine.usage,
            UsageLine.operation,
            UsageLine.zone,
            UsageLine.quantity,
            UsageLine.began,
            UsageLine.ended,
        )
        .where(UsageLine.number > counted(tx))
        .order_by(UsageLine.number)
        .limit(_LINES)
    ).all()
    if not lines:
        return False
    amounts: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for _, account_id, usage, operation, zone, quantity, began, ended in lines:
        for day in range(began // DAY, -(-ended // DAY)):
            seconds = min(ended, (day + 1) * DAY) - max(began, day * DAY)
            amounts[account_id, day, usage, operation, zone] += quantity * seconds
    _add(tx, amounts)
    upsert(tx.session, UsageDaysMark, [{"id": _MARK, "number": lines[-1].number}])
    return len(lines) == _LINES


def _add(tx: Transaction, amounts: defaultdict[tuple[Any, ...], int]) -> None:
    key = (UsageDay.account_id, UsageDay.day, UsageDay.usage, UsageDay.operation, UsageDay.zone)
    keys = list(amounts)
    for first in range(0, len(keys), _KEYS):
        there = select(*key, UsageDay.amount).where(tuple_(*key).in_(keys[first : first + _KEYS]))
        for *which, amount in tx.connection.execute(there):
            amounts[tuple(which)] += amount
    names = ("account_id", "day", "usage", "operation", "zone")
    rows = [dict(zip(names, which, strict=True)) | {"amount": amount} for which, amount in amounts.items()]
    upsert(tx.session, UsageDay, rows)
