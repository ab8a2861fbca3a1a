"""Rows of a VPC and its parts become bytes in their messages, and rows again where a database does not know them.

Hosts only keep these bytes: what a route table means to them does not say which gateways and lists it has. They are
JSON: by table the names of columns, and the values of each row. Times are in milliseconds; what may change while a host
need not know of it is left out (`_LEFT_OUT`). See `resources/operators/adopted_vpcs.py`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    NatGateway,
    PrefixList,
    PrefixListEntry,
    Subnet,
    Tag,
    VpcEndpoint,
    VpcEndpointInterface,
)
from stead_controller.db.tables.base import Base
from stead_controller.db.types import UtcTime

type Chosen = tuple[type[Base], ColumnElement[bool]]
"""A table, and which of its rows."""

type NotedRows = Mapping[str, Sequence[Mapping[str, Any]]]
"""By the name of a table the values of its rows by column; columns that had no value are absent."""

_LEFT_OUT: Final[Mapping[type[Base], frozenset[str]]] = {
    NatGateway: frozenset({"state", "state_changed", "host_id", "host_error"}),
    Subnet: frozenset({"next_turn"}),
    VpcEndpoint: frozenset({"state"}),
    VpcEndpointInterface: frozenset({"state", "host_id", "host_error"}),
}
"""Columns that change by themselves."""


def of(tx: Transaction, *chosen: Chosen) -> bytes:
    """Encode rows, and their tags; equal rows give equal bytes."""
    found: dict[str, tuple[Table, list[dict[str, Any]]]] = {}
    for model, which in chosen:
        table, rows = _read(tx, model, which)
        found[table.name] = (table, rows)
    ids = [row["id"] for _, rows in found.values() for row in rows if "id" in row]
    if ids:
        found[Tag.__tablename__] = _read(tx, Tag, Tag.resource_id.in_(ids))
    written = {name: _columns(table, rows) for name, (table, rows) in sorted(found.items()) if rows}
    return json.dumps(written, separators=(",", ":")).encode()


def prefix_lists(account_id: str, list_ids: Select[Any]) -> Sequence[Chosen]:
    """Choose an account's own prefix lists, out of all of these; every database has those of the cloud itself."""
    mine = select(PrefixList.id).where(PrefixList.account_id == account_id, PrefixList.id.in_(list_ids))
    return ((PrefixList, PrefixList.id.in_(mine)), (PrefixListEntry, PrefixListEntry.prefix_list_id.in_(mine)))


def read(content: bytes) -> NotedRows:
    """Decode rows; their values are still those of JSON. Raises ValueError for what is not in this form."""
    written = json.loads(content or b"{}")
    try:
        return {
            name: [
                {column: value for column, value in zip(each["columns"], row, strict=True) if value is not None}
                for row in each["rows"]
            ]
            for name, each in written.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"these are no rows: {error}") from error


def values(model: type[Base], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row as its columns have them; columns that this release does not know are left out."""
    columns = _table(model).columns
    return {
        name: datetime.fromtimestamp(value / 1000, UTC) if isinstance(columns[name].type, UtcTime) else value
        for name, value in row.items()
        if name in columns
    }


def _read(tx: Transaction, model: type[Base], which: ColumnElement[bool]) -> tuple[Table, list[dict[str, Any]]]:
    table = _table(model)
    columns = [each for each in table.columns if each.name not in _LEFT_OUT.get(model, ())]
    query = select(*columns).where(which).order_by(*table.primary_key.columns)
    return table, [dict(row) for row in tx.connection.execute(query).mappings()]


def _columns(table: Table, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write rows by columns, without those that have a value in none of them."""
    rows = list(rows)
    names = [each.name for each in table.columns if any(row.get(each.name) is not None for row in rows)]
    return {"columns": names, "rows": [[_written(row[name]) for name in names] for row in rows]}


def _written(value: Any) -> Any:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


def _table(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
