"""How much accounts used in some time: of what has ended, from the ledger, and of what goes on, from its meters."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, not_, or_, select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import UsageAmount, UsageDay, UsageLine, UsageMeter, UsageTag, UsageTagDay
from stead_controller.metering import usage_days
from stead_controller.metering.time_grid import Grid, grid_of
from stead_controller.metering.usage_days import DAY
from stead_controller.request.transaction import Transaction

MOST_TAGS: Final = 4
"""How many tag keys can be told apart at once: each doubles the number of queries."""
_MOST_PIECES: Final = 8  # of parts beside whole days: each is a query of the ledger
_FOR_EVER: Final = 1 << 60

type _Table = type[UsageLine | UsageMeter]


@dataclass(frozen=True, slots=True)
class Period:
    """A time from `begin` until `end`, which is not part of it; whole seconds since 1970."""

    begin: int
    end: int


class Used(NamedTuple):
    """What is added up together: a kind of use of an account, in one part of the time.

    Empty texts stand for all zones and resources where they were not asked for. `tags` has the values of the keys that
    were asked for, None without such a tag.
    """

    account_id: str
    usage: str
    operation: str
    resource_id: str = ""
    zone: str = ""
    tags: tuple[str | None, ...] = ()
    part: int = 0


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What was used of one kind: `amount` is its quantity times seconds."""

    used: Used
    amount: int


@dataclass(frozen=True, slots=True)
class Question:
    """Whose use is added up (all accounts': empty), apart for what beside its kind, and for which tag keys.

    `usages` are the names of what counts, which may end with `*`; none is all. What has a name of `but` does not count.
    """

    account_id: str = ""
    by_zone: bool = False
    by_resource: bool = False
    tags: tuple[str, ...] = ()
    usages: tuple[str, ...] = ()
    but: tuple[str, ...] = ()


def of_period(tx: Transaction, period: Period, now: datetime, asked: Question) -> list[UsageSum]:
    """Add up what was used within a period until now."""
    return of_parts(tx, (period.begin, period.end), now, asked)


def of_parts(tx: Transaction, edges: Sequence[int], now: datetime, asked: Question) -> list[UsageSum]:
    """Add up what was used between each two edges, which ascend, until now; sorted, without sums that are zero."""
    assert len(asked.tags) <= MOST_TAGS
    amounts: dict[Used, int] = {}
    for first, grid in grid_of(edges):
        for used, amount in _of_grid(tx, grid, int(now.timestamp()), asked).items():
            amounts[used._replace(part=first + used.part)] = amount
    found = [UsageSum(used, amount) for used, amount in amounts.items() if amount]
    return sorted(found, key=lambda one: order(one.used))


def order(used: Used) -> list[Any]:
    """Give the key by which sums are sorted."""
    return [(value is not None, value or "") for value in (*used[:5], *used.tags, f"{used.part:08d}")]


def _of_grid(tx: Transaction, grid: Grid, now: int, asked: Question) -> dict[Used, int]:
    """Add up, for each set of the tag keys, what has all of these and none of the others."""
    found: dict[Used, int] = {}
    places = range(len(asked.tags))
    for size in reversed(range(len(asked.tags) + 1)):
        for chosen in combinations(places, size):
            amounts = _with_tags(tx, grid, now, asked, chosen)
            for used, amount in found.items():  # what has more keys than these is counted already
                less = tuple(value if place in chosen else None for place, value in enumerate(used.tags))
                if less != used.tags and all(less[place] is not None for place in chosen):
                    amounts[used._replace(tags=less)] -= amount
            found |= amounts
    return found


def _with_tags(
    tx: Transaction, grid: Grid, now: int, asked: Question, chosen: tuple[int, ...]
) -> defaultdict[Used, int]:
    """Add up what has tags of the chosen keys, whatever others it has."""
    found: defaultdict[Used, int] = defaultdict(int)
    end = min(grid.end, now)
    least = UsageMeter.began + UsageMeter.least
    until = case((least > end, least), else_=literal(end))
    queries = [_sums(tx, UsageMeter, until, grid, end, asked, chosen)]
    days = None if asked.by_resource or len(chosen) > 1 else _Days.of(grid)
    of_moments = [(None, grid)] if days is None or chosen else [(part, Grid(edges, 0, ())) for part, edges in days.rest]
    for only, moments in of_moments:
        for *names, part, amount in tx.connection.execute(_amounts(moments, asked, chosen)):
            found[_used(names, chosen, asked, int(part) if only is None else only)] += int(amount)
    if days is None:
        queries.append(_sums(tx, UsageLine, UsageLine.ended, grid, grid.end, asked, chosen))
    else:
        counted = usage_days.counted(tx, usage_days.BY_TAGS if chosen else usage_days.ALL)
        queries.append(_sums(tx, UsageLine, UsageLine.ended, grid, grid.end, asked, chosen, after=counted))
        for part, (begin, last) in days.rest:
            piece = Grid((begin, last), 0, (last - begin,))
            old = _sums(tx, UsageLine, UsageLine.ended, piece, last, asked, chosen, UsageLine.number <= counted)
            for *names, _, _, _, begun, ended in tx.connection.execute(old):
                found[_used(names, chosen, asked, part)] += int(ended) - int(begun)
        for *names, day, amount in tx.connection.execute(_by_day(asked, days, chosen)):
            if (of_day := days.part_of(day)) is not None:
                found[_used(names, chosen, asked, of_day)] += int(amount)
    sums: defaultdict[tuple[Any, ...], list[tuple[int, int, int, int, int]]] = defaultdict(list)
    for query in queries:
        for *names, first, last, quantity, begun, ended in tx.connection.execute(query):
            sums[*names].append((int(first), int(last), int(quantity), int(begun), int(ended)))
    for of_kind, some in sums.items():
        used = _used(of_kind, chosen, asked, 0)
        for part, amount in grid.spread(some).items():
            found[used._replace(part=part)] += amount
    return found


def _used(names: Sequence[str], chosen: tuple[int, ...], asked: Question, part: int) -> Used:
    """Make the key of a row, whose names end with the values of the chosen tags."""
    account_id, usage, operation, resource_id, zone, *values = names
    with_values = dict(zip(chosen, values, strict=True))
    tags = tuple(with_values.get(place) for place in range(len(asked.tags)))
    return Used(account_id, usage, operation, resource_id, zone, tags, part)


@dataclass(frozen=True, slots=True)
class _Days:
    """The whole days of each part, from the first to before the last, and the `rest` of parts."""

    firsts: tuple[int, ...]
    lasts: tuple[int, ...]
    parts: tuple[int, ...]
    rest: tuple[tuple[int, tuple[int, int]], ...]

    @classmethod
    def of(cls, grid: Grid) -> "_Days | None":
        """Divide the parts of a grid; None where too little of them are whole days."""
        whole, rest = [], []
        for part, (begin, end) in enumerate(pairwise(grid.edges)):
            first, last = -(-begin // DAY), end // DAY
            if first >= last:
                rest.append((part, (begin, end)))
                continue
            whole.append((first, last, part))
            rest += [(part, piece) for piece in ((begin, first * DAY), (last * DAY, end)) if piece[0] < piece[1]]
        if not whole or len(rest) > _MOST_PIECES:
            return None
        firsts, lasts, parts = zip(*whole, strict=True)
        return cls(firsts, lasts, parts, tuple(rest))

    def part_of(self, day: int) -> int | None:
        """Return the part of which a day is a whole one."""
        place = bisect_right(self.firsts, day) - 1
        return self.parts[place] if place >= 0 and day < self.lasts[place] else None


def _by_day(asked: Question, days: _Days, chosen: tuple[int, ...]) -> Select[*tuple[Any, ...]]:
    """Select what was counted by day: all of it, or what had the one tag that is chosen."""
    table: type[UsageDay | UsageTagDay] = UsageTagDay if chosen else UsageDay
    values = [UsageTagDay.tag_value for _ in chosen]
    zone = table.zone if asked.by_zone else literal("")
    keys = [table.account_id, table.usage, table.operation, literal(""), zone, *values, table.day]
    query = select(*keys, func.sum(table.amount)).where(
        table.day >= days.firsts[0],
        table.day < days.lasts[-1],
        *(UsageTagDay.tag_key == asked.tags[place] for place in chosen),
    )
    query = query.where(*_asked(table, asked))
    grouped = [table.account_id, table.usage, table.operation, table.day, *values]
    return query.group_by(*grouped, *([table.zone] if asked.by_zone else []))


def _asked(
    table: _Table | type[UsageAmount | UsageDay | UsageTagDay],
    asked: Question,
    account_id: ColumnElement[str] | None = None,
) -> list[ColumnElement[bool]]:
    """Return the conditions of whose uses count, and which; `account_id` is an expression for the account's column."""
    column = table.account_id if account_id is None else account_id
    found = [column == asked.account_id] if asked.account_id else []
    if asked.usages:
        found.append(_is_named(table, asked.usages))
    if asked.but:
        found.append(not_(_is_named(table, asked.but)))
    return found


def _is_named(table: _Table | type[UsageAmount | UsageDay | UsageTagDay], names: Sequence[str]) -> ColumnElement[bool]:
    whole = [name for name in names if not name.endswith("*")]
    begun = [table.usage.startswith(name[:-1], autoescape=True) for name in names if name.endswith("*")]
    return or_(table.usage.in_(whole), *begun)


def _amounts(grid: Grid, asked: Question, chosen: tuple[int, ...]) -> Select[*tuple[Any, ...]]:
    """Select sums of what was used at moments, for each part of a grid; by days they are counted when they come."""
    table = UsageAmount
    tags = [aliased(UsageTag, name=f"tag_{place}") for place in chosen]
    rows = select(
        table.account_id,
        table.usage,
        table.operation,
        (table.resource_id if asked.by_resource else literal("")).label("resource_id"),
        (table.zone if asked.by_zone else literal("")).label("zone"),
        *(tag.value.label(f"value_{place}") for place, tag in zip(chosen, tags, strict=True)),
        _place(table.began - grid.begin, grid).label("part"),
        table.amount.label("amount"),
    ).where(table.began >= grid.begin, table.began < grid.end)
    for place, tag in zip(chosen, tags, strict=True):
        mine = and_(
            tag.account_id == table.account_id,
            tag.key == asked.tags[place],
            tag.resource_id == table.resource_id,
            tag.began <= table.began,
            func.coalesce(tag.ended, _FOR_EVER) > table.began,
        )
        rows = rows.join(tag, mine)
    inner = rows.where(*_asked(table, asked)).subquery()
    keys = [column for column in inner.columns if column.name != "amount"]
    return select(*keys, func.sum(inner.c.amount)).group_by(*keys)


def _sums(  # noqa: PLR0917 - what is added up, and in which parts
    tx: Transaction,
    table: _Table,
    until: ColumnElement[int] | Any,
    grid: Grid,
    before: int,
    asked: Question,
    chosen: tuple[int, ...],
    *only: ColumnElement[bool],
    after: int | None = None,
) -> Select[*tuple[Any, ...]]:
    """Select sums of uses that begin before a time, for each two parts of a grid in which they begin and end.

    `after` is the number of a line of which only the few after it count.
    """
    tags = [aliased(UsageTag, name=f"tag_{place}") for place in chosen]
    later, earlier = (func.max, func.min) if tx.connection.dialect.name == "sqlite" else (func.greatest, func.least)
    begin = later(table.began, grid.begin, *(tag.began for tag in tags)) - grid.begin
    end = earlier(until, grid.end, *(func.coalesce(tag.ended, _FOR_EVER) for tag in tags)) - grid.begin
    parts = select(
        table.account_id,
        table.usage,
        table.operation,
        (table.resource_id if asked.by_resource else literal("")).label("resource_id"),
        (table.zone if asked.by_zone else literal("")).label("zone"),
        *(tag.value.label(f"value_{place}") for place, tag in zip(chosen, tags, strict=True)),
        table.quantity.label("quantity"),
        begin.label("begin"),
        end.label("end"),
    ).where(until > grid.begin, table.began < before, *only)
    for place, tag in zip(chosen, tags, strict=True):
        mine = and_(
            tag.account_id == table.account_id,
            tag.key == asked.tags[place],
            tag.resource_id == table.resource_id,
            tag.began < until,
            func.coalesce(tag.ended, _FOR_EVER) > table.began,
        )
        parts = parts.join(tag, mine)
    if after is None:
        parts = parts.where(*_asked(table, asked))
    else:
        # By number: SQLite would rather read all of an account's lines by its index than the few last ones.
        parts = parts.where(UsageLine.number > after, *_asked(table, asked, UsageLine.account_id.concat("")))
    inner = parts.subquery()
    keys = [column for column in inner.columns if column.name not in {"quantity", "begin", "end"}]
    places = [_place(inner.c.begin, grid), _place(inner.c.end, grid)]
    q = inner.c.quantity
    sums = [func.sum(q), func.sum(q * inner.c.begin), func.sum(q * inner.c.end)]
    query = select(*keys, *places, *sums).where(inner.c.end > inner.c.begin)
    return query.group_by(*keys, *places)


def _place(after: ColumnElement[int], grid: Grid) -> ColumnElement[int]:
    """Compute as `Grid.place` does."""
    place: ColumnElement[int] = after // grid.step if grid.step else literal(0)
    for other in grid.others:
        place += case((after >= other, 1), else_=0)
    return place
