"""Ids in a request: first their form, then whether they are the caller's.

Another account's id is answered exactly like an absent one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import batched
from typing import Any, Final

from sqlalchemy import ColumnElement, select

from stead_controller.errors import MalformedId, NotFound
from stead_controller.resources.caller import Caller
from stead_controller.resources.conditions import Condition, Selection, clauses, page
from stead_controller.resources.transaction import Transaction
from stead_proto import ids

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


def find[Model](tx: Transaction, caller: Caller, resource_type: str, model: type[Model], resource_id: str) -> Model:
    """Give one of the caller's rows by its id; raises MalformedId, NotFound."""
    check_form(resource_type, [resource_id])
    table: Any = model
    found = tx.session.scalar(select(model).where(table.id == resource_id, table.account_id == caller.account_id))
    if found is None:
        raise NotFound(resource_type, resource_id)
    return found


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
    query = select(model).where(mine, *clauses(asked.filters, conditions, caller, table.id))
    if asked.ids:
        query = query.where(table.id.in_(asked.ids))
    return list(tx.session.scalars(page(query, table.id, asked)))
