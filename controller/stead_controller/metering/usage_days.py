"""Counts the lines of the ledger by day, each once, in the order of their numbers: all of them, and by each tag.

A line never changes, so what it amounts to in each day does not either: days are sums of all lines up to a number,
and those after it are added when a bill is asked for. Nor do the tags change that a resource had in the past, so that
by tags a line counts once its end is past.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import batched, takewhile
from typing import Any, Final, NamedTuple

from sqlalchemy import select, text, tuple_

from stead_controller.db.insert import upsert
from stead_controller.db.tables import UsageDay, UsageDaysMark, UsageLine, UsageTag, UsageTagDay
from stead_controller.request.transaction import Transaction

DAY: Final = 86400
ALL: Final = 1
BY_TAGS: Final = 2
"""The marks: what is counted up to them."""
_LINES: Final = 5000  # in one transaction, which lasts a tenth of a second
_KEYS: Final = 500  # of one query
_FOR_EVER: Final = 1 << 60
_LINE: Final = (
    UsageLine.number,
    UsageLine.account_id,
    UsageLine.resource_id,
    UsageLine.usage,
    UsageLine.operation,
    UsageLine.zone,
    UsageLine.quantity,
    UsageLine.began,
    UsageLine.ended,
)
_TABLES: Final[dict[int, tuple[type[UsageDay | UsageTagDay], tuple[str, ...]]]] = {
    ALL: (UsageDay, ("account_id", "day", "usage", "operation", "zone")),
    BY_TAGS: (UsageTagDay, ("account_id", "tag_key", "day", "usage", "operation", "zone", "tag_value")),
}


class _Tag(NamedTuple):
    """A tag that a resource had from `began` until `ended`."""

    key: str
    value: str
    began: int
    ended: int


def counted(tx: Transaction, mark: int = ALL) -> int:
    """Return the number of the last line that is counted in days."""
    return tx.session.scalar(select(UsageDaysMark.number).where(UsageDaysMark.id == mark)) or 0


def add_lines(tx: Transaction) -> bool:
    """Count lines that are not counted yet, first in a transaction; tell whether more than one takes may be left.

    It is a transaction of its own, since a PostgreSQL one that has read before its lock does not see all lines.
    """
    lines = _lines_after(tx, ALL)
    amounts: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for line in lines:
        for day, seconds in _seconds_by_day(line.began, line.ended):
            amounts[line.account_id, day, line.usage, line.operation, line.zone] += line.quantity * seconds
    return _count(tx, ALL, lines, amounts)


def add_lines_by_tags(tx: Transaction, now: datetime) -> bool:
    """Do the same for what was used while its resource had a tag, of lines whose end is past."""
    lines = list(takewhile(lambda line: line.ended <= now.timestamp(), _lines_after(tx, BY_TAGS)))
    tags = _tags_of(tx, {(line.account_id, line.resource_id) for line in lines})
    amounts: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for line in lines:
        for tag in tags.get((line.account_id, line.resource_id), ()):
            for day, seconds in _seconds_by_day(max(line.began, tag.began), min(line.ended, tag.ended)):
                key = (line.account_id, tag.key, day, line.usage, line.operation, line.zone, tag.value)
                amounts[key] += line.quantity * seconds
    return _count(tx, BY_TAGS, lines, amounts)


def _lines_after(tx: Transaction, mark: int) -> Sequence[Any]:
    """Read the first lines that are not counted up to a mark."""
    if tx.connection.dialect.name == "postgresql":
        # So that no line has a number below those that are seen and is not seen itself, and nobody counts beside us.
        tx.connection.execute(text("LOCK TABLE usage_lines IN SHARE ROW EXCLUSIVE MODE"))
    query = select(*_LINE).where(UsageLine.number > counted(tx, mark)).order_by(UsageLine.number).limit(_LINES)
    return tx.connection.execute(query).all()


def _seconds_by_day(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Divide a time, which may be empty, by days."""
    for day in range(begin // DAY, -(-end // DAY)) if begin < end else ():
        yield day, min(end, (day + 1) * DAY) - max(begin, day * DAY)


def _tags_of(tx: Transaction, resources: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[_Tag]]:
    """Return the tags that resources have had, by account and id."""
    found: dict[tuple[str, str], list[_Tag]] = defaultdict(list)
    columns = (UsageTag.key, UsageTag.value, UsageTag.began, UsageTag.ended, UsageTag.account_id, UsageTag.resource_id)
    for some in batched(sorted(resources), _KEYS):
        query = select(*columns).where(tuple_(UsageTag.account_id, UsageTag.resource_id).in_(some))
        for key, value, began, ended, account_id, resource_id in tx.connection.execute(query):
            found[account_id, resource_id].append(_Tag(key, value, began, _FOR_EVER if ended is None else ended))
    return found


def _count(tx: Transaction, mark: int, lines: Sequence[Any], amounts: defaultdict[tuple[Any, ...], int]) -> bool:
    """Add to what days amount to, and move the mark."""
    if not lines:
        return False
    table, names = _TABLES[mark]
    columns = [getattr(table, name) for name in names]
    for some in batched(list(amounts), _KEYS):
        query = select(*columns, table.amount).where(tuple_(*columns).in_(some))
        for *which, amount in tx.connection.execute(query):
            amounts[tuple(which)] += amount
    rows = [dict(zip(names, which, strict=True)) | {"amount": amount} for which, amount in amounts.items()]
    upsert(tx.session, table, rows)
    upsert(tx.session, UsageDaysMark, [{"id": mark, "number": lines[-1].number}])
    return len(lines) == _LINES
