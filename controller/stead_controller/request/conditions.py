"""Compile a Describe's filters into WHERE clauses.

Each noun maps filter names to a `Condition`, built from the few kinds here. Values are alternatives;
`*` and `?` are wildcards; comparison is case-sensitive, in every database.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Boolean, ColumnElement, Select, String, and_, bindparam, false, or_, select, true
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from stead_controller.db.tables import Tag
from stead_controller.request.caller import Caller
from stead_controller.request.filters import LIKE_ESCAPE, Filter, glob, is_pattern, is_tag_filter, like
from stead_controller.request.transaction import Transaction

FEW: Final = 2000
"""Up to this many rows it is cheaper to find them by an index and sort them than to scan all rows."""

type Column = (
    Any  # a mapped attribute or an SQL expression; SQLAlchemy's types distinguish them, which is not needed here
)
type Condition = Callable[[Filter], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a Describe asks for: any of `ids` (none means all), all `filters`, at most `limit` rows past `after`.

    `limit` None means all rows; `after` is the key of the last row seen, None means from the first.
    """

    ids: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    after: tuple[str, ...] | None = None
    limit: int | None = None


class _Matches(FunctionElement[bool]):
    """Whether a text matches a pattern: compiled to the column with the GLOB or the LIKE pattern, by dialect."""

    type = Boolean()
    name = "matches"
    inherit_cache = True


@compiles(_Matches)
def _as_like(element: Any, compiler: Any, **kw: Any) -> str:
    column, _, pattern = element.clauses
    return f"{compiler.process(column, **kw)} LIKE {compiler.process(pattern, **kw)} ESCAPE '{LIKE_ESCAPE}'"


@compiles(_Matches, "sqlite")
def _as_glob(element: Any, compiler: Any, **kw: Any) -> str:
    column, pattern, _ = element.clauses
    return f"{compiler.process(column, **kw)} GLOB {compiler.process(pattern, **kw)}"


class _IsoText(FunctionElement[str]):
    """A time column, stored in milliseconds, as responses show it: `2026-01-31T12:00:00.000Z`."""

    type = String()
    name = "iso_text"
    inherit_cache = True


@compiles(_IsoText)
def _iso_by_to_char(element: Any, compiler: Any, **kw: Any) -> str:
    (column,) = element.clauses
    text = compiler.process(column, **kw)
    return f"""to_char(to_timestamp({text} / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


@compiles(_IsoText, "sqlite")
def _iso_by_strftime(element: Any, compiler: Any, **kw: Any) -> str:
    (column,) = element.clauses
    text = compiler.process(column, **kw)
    return f"(strftime('%Y-%m-%dT%H:%M:%S', {text} / 1000, 'unixepoch') || printf('.%03dZ', {text} % 1000))"


def matches(column: Column, pattern: str) -> ColumnElement[bool]:
    """Whether a text column matches one filter value that has wildcards."""
    patterns = (bindparam(None, glob(pattern), String()), bindparam(None, like(pattern), String()))
    return cast("ColumnElement[bool]", _Matches(column, *patterns))


def text(column: Column) -> Condition:
    """Compare a text column."""

    def condition(asked: Filter) -> ColumnElement[bool]:
        clauses = [matches(column, value) for value in asked.values if is_pattern(value)]
        if asked.exact:
            clauses.append(column.in_(asked.exact))
        return or_(false(), *clauses)

    return condition


def number(column: Column) -> Condition:
    """Compare an integer column with decimal numbers."""

    def condition(asked: Filter) -> ColumnElement[bool]:
        shown = sql_cast(column, String)
        clauses: list[ColumnElement[bool]] = [matches(shown, value) for value in asked.values if is_pattern(value)]
        exact = [int(value) for value in asked.exact if value.isascii() and value.isdigit() and len(value) < 19]
        if exact:
            clauses.append(column.in_(exact))
        return or_(false(), *clauses)

    return condition


def instant(column: Column) -> Condition:
    """Compare a time column with ISO 8601 times; with wildcards, with its text in milliseconds and `Z`."""

    def condition(asked: Filter) -> ColumnElement[bool]:
        clauses = [matches(_IsoText(column), value) for value in asked.values if is_pattern(value)]
        exact = [moment for moment in map(_moment, asked.exact) if moment is not None]
        if exact:
            clauses.append(column.in_(exact))
        return or_(false(), *clauses)

    return condition


def _moment(value: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def shown_as(column: Column, texts: Mapping[Any, str]) -> Condition:
    """Compare a column whose few values are shown under other names."""

    def condition(asked: Filter) -> ColumnElement[bool]:
        wanted = [value for value, shown in texts.items() if asked.matches(shown)]
        return column.in_(wanted) if wanted else false()

    return condition


_TRUE_FALSE: Final = {True: "true", False: "false"}
_ENABLED_DISABLED: Final = {True: "enabled", False: "disabled"}


def flag(column: Column) -> Condition:
    """Compare a boolean column with `true` and `false`."""
    return shown_as(column, _TRUE_FALSE)


def switch(column: Column) -> Condition:
    """Compare a boolean column with `enabled` and `disabled`."""
    return shown_as(column, _ENABLED_DISABLED)


def constant(value: str | None) -> Condition:
    """Compare a value that is the same for every row; None matches nothing."""

    def condition(asked: Filter) -> ColumnElement[bool]:
        return true() if asked.matches(value) else false()

    return condition


NEVER: Final = constant(None)
"""The condition of a filter about something that exists in EC2 but not here."""


def among(column: Column, query: Select[Any], inner: Condition, *, owner: Column = None) -> Condition:
    """Require that a column is among the results of a query where `inner` holds: for values with an index of their own.

    `owner` is the account column of the query's rows; if it is given, only the caller's own rows are searched.
    """

    def condition(asked: Filter) -> ColumnElement[bool]:
        mine = () if owner is None else (owner == asked.account_id,)
        return cast("ColumnElement[bool]", column.in_(query.where(*mine, inner(asked))))

    return condition


def own(column: Column, id_column: Column, owner: Column) -> Condition:
    """Compare a column with ids of another table's rows that are the caller's: `owner` is their account column."""
    return among(column, select(id_column), text(id_column), owner=owner)


def exists_where(query: Select[Any], inner: Condition) -> Condition:
    """Require that a query, correlated with the row, finds a row where `inner` holds."""

    def condition(asked: Filter) -> ColumnElement[bool]:
        return query.where(inner(asked)).exists()

    return condition


def clauses(
    tx: Transaction, caller: Caller, asked: Iterable[Filter], conditions: Mapping[str, Condition], id_column: Column
) -> list[ColumnElement[bool]]:
    """Return the WHERE clauses of all filters; tag filters see the caller's tags only."""
    return [
        _tagged(tx, caller, one, id_column)
        if is_tag_filter(one.name)
        else conditions[one.name](replace(one, account_id=caller.account_id))
        for one in asked
    ]


def _tagged(tx: Transaction, caller: Caller, asked: Filter, id_column: Column) -> ColumnElement[bool]:
    """Require a tag: a list of ids if few resources have it; if many, a look-up of the tag for each resource."""
    if asked.tag_key is not None:
        wanted = and_(Tag.key == asked.tag_key, text(Tag.value)(asked))
    else:
        wanted = text(Tag.value if asked.name == "tag-value" else Tag.key)(asked)
    mine = and_(Tag.account_id == caller.account_id, wanted)
    found = list(tx.session.scalars(select(Tag.resource_id).where(mine).limit(FEW + 1)))
    if len(found) <= FEW:
        return cast("ColumnElement[bool]", id_column.in_(found))
    return select(Tag.key).where(Tag.resource_id == id_column, mine).correlate(id_column.table).exists()


def holds(asked: Iterable[Filter], facts: Mapping[str, Iterable[str]]) -> bool:
    """Return whether all filters hold for an object that is not a row; `facts` are its values by filter name."""
    return all(one.matches_any(facts[one.name]) for one in asked)
