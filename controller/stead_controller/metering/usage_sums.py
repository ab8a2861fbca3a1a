"""How much accounts used in a period: of what has ended, from the ledger, and of what goes on, from its meters."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, select, union_all

from stead_controller.db.tables import UsageLine, UsageMeter
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Period:
    """A time from `begin` until `end`, which is not part of it; whole seconds since 1970."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What was used of one kind: `amount` is its quantity times seconds. `resource_id` is empty for all resources."""

    account_id: str
    usage: str
    operation: str
    resource_id: str
    amount: int


def of_period(
    tx: Transaction, period: Period, now: datetime, *, account_id: str = "", by_resource: bool = False
) -> list[UsageSum]:
    """Add up what an account, or each, used within a period until now, by kind and, if asked, by resource."""
    end = min(period.end, int(now.timestamp()))
    ended, going_on = UsageLine, UsageMeter
    least = going_on.began + going_on.least
    until = case((least > end, least), else_=literal(end))
    used = union_all(
        _within(ended, ended.ended, period, account_id),
        _within(going_on, until, Period(period.begin, period.end), account_id).where(going_on.began < end),
    ).subquery()
    resource = used.c.resource_id if by_resource else literal("")
    keys = [used.c.account_id, used.c.usage, used.c.operation, *([resource] if by_resource else [])]
    query = select(used.c.account_id, used.c.usage, used.c.operation, resource, func.sum(used.c.amount))
    found = tx.connection.execute(query.group_by(*keys).order_by(*keys))
    return [UsageSum(*row[:4], int(row[4])) for row in found if row[4]]


def _within(
    table: type[UsageLine] | type[UsageMeter], until: ColumnElement[int] | Any, period: Period, account_id: str
) -> Select[*tuple[Any, ...]]:
    """Select each use with the part of it that lies in a period."""
    begin = case((table.began < period.begin, literal(period.begin)), else_=table.began)
    end = case((until > period.end, literal(period.end)), else_=until)
    query = select(
        table.account_id,
        table.usage,
        table.operation,
        table.resource_id,
        (table.quantity * (end - begin)).label("amount"),
    ).where(until > period.begin, table.began < period.end)
    return query.where(table.account_id == account_id) if account_id else query
