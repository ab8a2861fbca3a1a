"""Ids in a request: first their form, then whether they are the caller's.

Another account's id is answered exactly like an absent one, and by the same work: every table has a unique index of
(account_id, id), by which databases find rows, so that none of another account is read (`tests/api/strangers.py`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import batched
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, select

from stead_controller.catalog import ids
from stead_controller.db.prepared import Prepared
from stead_controller.errors import MalformedId, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import FEW, Condition, Selection, clauses
from stead_controller.request.filters import Filter, is_pattern
from stead_controller.request.transaction import Transaction

type Ids = Sequence[str]
# Conditions on rows, from the most frequent one; lazily, where one needs to be looked for.
type Ways = Iterable[ColumnElement[bool]]

_BATCH: Final = 1000  # parameters of one statement: far below every database's limit


def check_form(resource_type: str, resource_ids: Iterable[str]) -> None:
    """Raise MalformedId for the first text that is no id of this resource type."""
    for resource_id in resource_ids:
        if not ids.is_id(resource_type, resource_id):
            raise MalformedId(resource_type, resource_id)


def batches(items: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Cut ids into parts that fit into the IN of one statement."""
    return batched(items, _BATCH)


def require(
    tx: Transaction, resource_type: str, id_column: Any, resource_ids: Collection[str], *visible: ColumnElement[bool]
) -> None:
    """Check ids for their form, then for existence among the rows that are `visible` to the caller.

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
    """Check ids as `require` does, of rows that the caller sees in one of several ways."""
    missing = unseen(tx, resource_type, id_column, resource_ids, ways)
    if missing:
        raise NotFound(resource_type, missing)


def unseen(
    tx: Transaction, resource_type: str, id_column: Any, resource_ids: Collection[str], ways: Callable[[Ids], Ways]
) -> list[str]:
    """Give those of some ids whose rows the caller sees in none of several ways; raises MalformedId."""
    check_form(resource_type, resource_ids)
    found: set[str] = set()
    for batch in batches(dict.fromkeys(resource_ids)):
        found.update(seen(tx, id_column, id_column, batch, ways(batch)))
    return [resource_id for resource_id in dict.fromkeys(resource_ids) if resource_id not in found]


def find_seen[Model](tx: Transaction, resource_type: str, model: type[Model], resource_id: str, ways: Ways) -> Model:
    """Give a row that the caller sees in one of several ways; raises MalformedId, NotFound."""
    check_form(resource_type, [resource_id])
    table: Any = model
    for row in seen(tx, model, table.id, [resource_id], ways):
        found: Model = row
        return found
    raise NotFound(resource_type, resource_id)


def seen(tx: Transaction, entity: Any, id_column: Any, resource_ids: Ids, ways: Ways) -> list[Any]:
    """Give rows, or a column of them, of these ids that are visible in one of the ways, each asked for by itself.

    Joined by OR, SQLite would look for the ids among all rows first, and so read those that nobody may see. Each way
    has an index that begins with it and ends with the id.
    """
    found: list[Any] = []
    for way in ways:
        found += tx.session.scalars(select(entity).where(id_column.in_(resource_ids), way))
        if len(found) >= len(resource_ids):
            break
    return found


def only_seen(tx: Transaction, asked: Selection, name: str, id_column: Any, ways: Callable[[Ids], Ways]) -> Selection:
    """Leave out of the filters of this name the ids that the caller does not see, in none of several ways.

    For what is visible in several ways is searched among all rows.
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
    """Give one of the caller's rows by its id; raises MalformedId, NotFound."""
    check_form(resource_type, [resource_id])
    table: Any = model
    found: Model | None = tx.session.scalar(_own(table), {"id": resource_id, "account_id": caller.account_id})
    if found is None:
        raise NotFound(resource_type, resource_id)
    return found


def get_rare[Model](tx: Transaction, model: type[Model], key: str) -> Model | None:
    """Give a row by its key that most often is not there: to find that out costs a tenth of loading an object."""
    table: Any = model
    if _key(table).first(tx.connection, {"key": key}) is None:
        return None
    return tx.session.get(model, key)


@cache
def _key(model: Any) -> Prepared:
    (column,) = model.__table__.primary_key.columns
    return Prepared(select(column).where(column == bindparam("key")))


@cache
def _own(model: Any) -> Select[Any]:
    """Ask for an own row by its id: put together once for each table."""
    return select(model).where(model.id == bindparam("id"), model.account_id == bindparam("account_id"))


def select_ids(
    tx: Transaction,
    caller: Caller,
    id_column: Any,
    asked: Selection,
    *where: ColumnElement[bool],
    conditions: Mapping[str, Condition],
) -> list[str]:
    """Choose the ids of the rows that hold `where` and all filters, sorted, of the page that is asked for.

    What a filter asks for may be few rows, which an index finds, or many, of which a walk in the order of ids soon
    meets enough. A database that must sort walks always, so few rows are looked for first, in no order.
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
    """Give the rows of these ids, sorted by id."""
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
    """Give the caller's rows that a Describe asks for, sorted by id; raises MalformedId, NotFound."""
    table: Any = model
    mine = table.account_id == caller.account_id
    require(tx, resource_type, table.id, asked.ids, mine)
    ids = select_ids(tx, caller, table.id, asked, mine, conditions=conditions)
    return rows(tx, model, ids)
