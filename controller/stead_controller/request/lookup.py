"""Check the ids in a request: first their form, then whether the caller owns them.

The answer for another account's id is the same as for an absent one, and takes the same work: every table has a unique
index of (account_id, id), so that no row of another account is read (`tests/api/other_accounts.py`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import batched
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, select

from stead_controller.catalog import ids
from stead_controller.db.load import Load, columns_of
from stead_controller.db.prepared import Prepared, Question
from stead_controller.errors import MalformedId, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import FEW, Condition, Selection, clauses
from stead_controller.request.filters import Filter, is_pattern
from stead_controller.request.transaction import Transaction

type Ids = Sequence[str]
# Conditions on rows, the most frequent first; lazy, where one of them needs a query.
type Ways = Iterable[ColumnElement[bool]]

_BATCH: Final = 1000  # parameters of one statement, far below every database's limit


def check_form(resource_type: str, resource_ids: Iterable[str]) -> None:
    """Raise MalformedId for the first text that is not an id of this resource type."""
    for resource_id in resource_ids:
        if not ids.is_id(resource_type, resource_id):
            raise MalformedId(resource_type, resource_id)


def batches[Item](items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    """Split ids, or rows that have one, into batches that fit into the IN of one statement."""
    return batched(items, _BATCH)


def require(
    tx: Transaction, resource_type: str, id_column: Any, resource_ids: Collection[str], *visible: ColumnElement[bool]
) -> None:
    """Check the form of ids, then that they exist among the rows that are `visible` to the caller.

    Raises MalformedId, or NotFound with all absent ids.
    """
    check_form(resource_type, resource_ids)
    found: set[str] = set()
    for batch in batches(dict.fromkeys(resource_ids)):
        found.update(tx.session.scalars(select(id_column).where(id_column.in_(batch), *visible)))
    missing = [resource_id for resource_id in dict.fromkeys(resource_ids) if resource_id not in found]
    if missing:
        raise NotFound(resource_type, missing)


def require_seen(
    tx: Transaction, resource_type: str, id_column: Any, resource_ids: Collection[str], ways: Callable[[Ids], Ways]
) -> None:
    """Check ids as `require` does, for rows that can be visible in one of several ways."""
    missing = unseen(tx, resource_type, id_column, resource_ids, ways)
    if missing:
        raise NotFound(resource_type, missing)


def unseen(
    tx: Transaction, resource_type: str, id_column: Any, resource_ids: Collection[str], ways: Callable[[Ids], Ways]
) -> list[str]:
    """Return those of some ids whose rows are visible in none of several ways; raises MalformedId."""
    check_form(resource_type, resource_ids)
    found: set[str] = set()
    for batch in batches(dict.fromkeys(resource_ids)):
        found.update(seen(tx, id_column, id_column, batch, ways(batch)))
    return [resource_id for resource_id in dict.fromkeys(resource_ids) if resource_id not in found]


def find_seen[Model](tx: Transaction, resource_type: str, model: type[Model], resource_id: str, ways: Ways) -> Model:
    """Return a row that is visible to the caller in one of several ways; raises MalformedId, NotFound."""
    check_form(resource_type, [resource_id])
    table: Any = model
    for row in seen(tx, model, table.id, [resource_id], ways):
        found: Model = row
        return found
    raise NotFound(resource_type, resource_id)


def seen(tx: Transaction, entity: Any, id_column: Any, resource_ids: Ids, ways: Ways) -> list[Any]:
    """Return rows (or a column of them) with these ids that are visible in one of the ways, by one query for each way.

    With OR, SQLite would look for the ids among all rows first, and so read rows that the caller must not see. Each
    way has an index that begins with its column and ends with the id.
    """
    found: list[Any] = []
    for way in ways:
        found += tx.session.scalars(select(entity).where(id_column.in_(resource_ids), way))
        if len(found) >= len(resource_ids):
            break
    return found


def only_seen(tx: Transaction, asked: Selection, name: str, id_column: Any, ways: Callable[[Ids], Ways]) -> Selection:
    """Remove from the filters of this name the ids that are visible to the caller in none of several ways.

    The reason: what is visible in several ways is searched among all rows.
    """
    filters = tuple(
        replace(one, values=tuple(_seen_values(tx, one, id_column, ways)) or ("none",)) if one.name == name else one
        for one in asked.filters
    )
    return replace(asked, filters=filters)


def _seen_values(tx: Transaction, asked: Filter, id_column: Any, ways: Callable[[Ids], Ways]) -> Iterator[str]:
    yield from (value for value in asked.values if is_pattern(value))
    for batch in batches(asked.exact):
        yield from seen(tx, id_column, id_column, batch, ways(batch))


def find[Model](tx: Transaction, caller: Caller, resource_type: str, model: type[Model], resource_id: str) -> Model:
    """Return one of the caller's rows by its id; raises MalformedId, NotFound."""
    check_form(resource_type, [resource_id])
    table: Any = model
    found: Model | None = _own(table).first(tx.session, {"id": resource_id, "account_id": caller.account_id})
    if found is None:
        raise NotFound(resource_type, resource_id)
    return found


def get_rare[Model](tx: Transaction, model: type[Model], key: str) -> Model | None:
    """Return a row by its key if it exists, which is rare: the check costs a tenth of loading an object."""
    table: Any = model
    if _key(table).first(tx.connection, {"key": key}) is None:
        return None
    return tx.session.get(model, key)


def question_of_rare(model: Any, key: str) -> Question:
    """Return what `get_rare` asks, so that the database can answer it with others."""
    return _key(model), {"key": key}


@cache
def _key(model: Any) -> Prepared:
    (column,) = model.__table__.primary_key.columns
    return Prepared(select(column).where(column == bindparam("key")))


@cache
def _own(model: Any) -> Load[Any]:
    """Build the query for one of the caller's rows by its id, once for each table."""
    query = select(*columns_of(model)).where(model.id == bindparam("id"), model.account_id == bindparam("account_id"))
    return Load(model, query)


def select_ids(
    tx: Transaction,
    caller: Caller,
    id_column: Any,
    asked: Selection,
    *where: ColumnElement[bool],
    conditions: Mapping[str, Condition],
) -> list[str]:
    """Return the sorted ids of one page of the rows that satisfy `where` and all filters.

    A filter may match few rows, which an index finds, or many, of which a scan in the order of ids soon finds enough.
    A database always scans when it must sort, so a query without an order looks for few rows first.
    """
    query = select(id_column).where(*where, *clauses(tx, caller, asked.filters, conditions, id_column))
    if asked.ids:
        query = query.where(id_column.in_(asked.ids))
    after = asked.after[0] if asked.after else ""
    if asked.limit is None or asked.filters or asked.ids:
        few = query if asked.limit is None else query.limit(FEW + 1)
        found = list(tx.session.scalars(few))
        if asked.limit is None or len(found) <= FEW:
            return sorted(one for one in found if one > after)[: asked.limit]
    return list(tx.session.scalars(query.where(id_column > after).order_by(id_column).limit(asked.limit)))


def rows[Model](tx: Transaction, model: type[Model], ids: Iterable[str]) -> list[Model]:
    """Return the rows with these ids, sorted by id."""
    table: Any = model
    found: list[Model] = []
    for batch in batches(ids):
        found += tx.session.scalars(select(model).where(table.id.in_(batch)))
    found.sort(key=_id_of)
    return found


def _id_of(row: Any) -> str:
    resource_id: str = row.id
    return resource_id


def select_page[Model](
    tx: Transaction,
    caller: Caller,
    resource_type: str,
    model: type[Model],
    asked: Selection,
    *,
    conditions: Mapping[str, Condition],
) -> list[Model]:
    """Return the caller's rows that a Describe asks for, sorted by id; raises MalformedId, NotFound."""
    table: Any = model
    mine = table.account_id == caller.account_id
    require(tx, resource_type, table.id, asked.ids, mine)
    ids = select_ids(tx, caller, table.id, asked, mine, conditions=conditions)
    return rows(tx, model, ids)
