"""The audit trail in the database: events are added in batches, looked up by one attribute, and removed in pages."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, insert, literal, select, true, tuple_

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import AuditEventResource, AuditEventRow
from stead_controller.request.transaction import Transaction

_PAGE: Final = 500
_LEVEL: Final = 1  # of compression: a third of the size
# A window of 8 KiB, as a record has hardly more, in 64 KiB of memory: of the 256 that are usual each record had the
# kernel give 20 new pages, which took four times as long as the compression.
_WINDOW: Final = 13
_MEMORY: Final = 6
_COLUMNS: Final[Mapping[str, Any]] = {
    "EventId": AuditEventRow.event_id,
    "EventName": AuditEventRow.name,
    "EventSource": AuditEventRow.source,
    "Username": AuditEventRow.user_name,
    "AccessKeyId": AuditEventRow.access_key_id,
}
_RESOURCE_COLUMNS: Final[Mapping[str, Any]] = {
    "ResourceName": AuditEventResource.name,
    "ResourceType": AuditEventResource.type,
}

# Run for each call that is recorded.
_LAST: Final = Prepared(select(func.max(AuditEventRow.id)))
_ADD_EVENTS: Final = Prepared(insert(AuditEventRow))
_ADD_RESOURCES: Final = Prepared(insert(AuditEventResource))

ATTRIBUTES: Final = frozenset({"ReadOnly", *_COLUMNS, *_RESOURCE_COLUMNS})
"""The attributes that events may be looked up by."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One call: CloudTrail's record as JSON `text`, and the attributes it is looked up by.

    `account_id` is empty for events that no account may look up; `resources` are pairs of type and name. `is_data`
    marks a data event, a read or write of contents; there are many of those.
    """

    event_id: str
    account_id: str
    time: datetime
    name: str
    source: str
    user_name: str
    access_key_id: str
    read_only: bool
    resources: tuple[tuple[str, str], ...]
    text: str = field(repr=False)
    is_data: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """What LookupEvents asks for: at most one attribute, and a time range that includes both ends."""

    attribute: str | None
    value: str
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event, and `number`, its position among events of the same time."""

    number: int
    event: AuditEvent


def _packed(text: str) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
    return packer.compress(text.encode()) + packer.flush()


def add(tx: Transaction, events: Sequence[AuditEvent]) -> None:
    """Write a batch of events in two statements."""
    first = (_LAST.scalar(tx.connection, {}) or 0) + 1
    rows = [
        {
            "id": number,
            "event_id": event.event_id,
            "account_id": event.account_id,
            "time": event.time,
            "name": event.name[:128],
            "source": event.source[:64],
            "user_name": event.user_name[:128],
            "access_key_id": event.access_key_id[:128],
            "read_only": event.read_only,
            "event": _packed(event.text),
        }
        for number, event in enumerate(events, first)
    ]
    resources = [
        {
            "event": number,
            "place": place,
            "account_id": event.account_id,
            "type": kind,
            "name": name,
            "time": event.time,
        }
        for number, event in enumerate(events, first)
        for place, (kind, name) in enumerate(event.resources)
    ]
    _ADD_EVENTS.many(tx.connection, rows)
    _ADD_RESOURCES.many(tx.connection, resources)


def missing(tx: Transaction, events: Sequence[AuditEvent]) -> list[AuditEvent]:
    """Return those of the events that are not stored."""
    ids = [event.event_id for event in events]
    known = set(tx.session.scalars(select(AuditEventRow.event_id).where(AuditEventRow.event_id.in_(ids))))
    return [event for event in events if event.event_id not in known]


def search(
    tx: Transaction, account_id: str, asked: Search, *, before: tuple[datetime, int] | None, limit: int
) -> list[FoundEvent]:
    """Return an account's events that are older than the time and number `before`, the newest first."""
    if asked.attribute is not None and asked.attribute in _RESOURCE_COLUMNS:
        table = (AuditEventResource.account_id, AuditEventResource.time, AuditEventResource.event)
        is_it = _RESOURCE_COLUMNS[asked.attribute] == asked.value
    else:
        table = (AuditEventRow.account_id, AuditEventRow.time, AuditEventRow.id)
        is_it = _is_it(asked)
    account, time, number = table
    query = select(time, number).distinct().where(account == account_id, is_it)
    if asked.start is not None:
        query = query.where(time >= asked.start)
    if asked.end is not None:
        query = query.where(time <= asked.end)
    if before is not None:
        query = query.where(tuple_(time, number) < tuple_(literal(before[0], time.type), literal(before[1])))
    numbers = [found for _, found in tx.session.execute(query.order_by(time.desc(), number.desc()).limit(limit))]
    rows = {row.id: row for row in tx.session.scalars(select(AuditEventRow).where(AuditEventRow.id.in_(numbers)))}
    resources = _resources_of(tx, numbers)
    return [FoundEvent(found, _event(rows[found], resources.get(found, ()))) for found in numbers if found in rows]


def remove_old(tx: Transaction, before: datetime) -> bool:
    """Remove a page of events that are older than `before`; return whether there may be more."""
    old = select(AuditEventRow.id).where(AuditEventRow.time < before)
    return _remove(tx, old.order_by(AuditEventRow.time, AuditEventRow.id).limit(_PAGE)) == _PAGE


def excess(tx: Transaction, most: int) -> dict[str, int]:
    """Return how many events to remove of each account so that at most `most` are left in total."""
    first, last = tx.session.execute(select(func.min(AuditEventRow.id), func.max(AuditEventRow.id))).one()
    if first is None or last - first < most:
        return {}  # no count is needed: there are at most as many events as ids
    counts = select(AuditEventRow.account_id, func.count()).group_by(AuditEventRow.account_id)
    return too_many({row[0]: row[1] for row in tx.session.execute(counts)}, most)


def too_many(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """Return how many to remove of the largest accounts to leave `most`: none displaces another's events. Pure."""
    over = sum(counts.values()) - most
    if over <= 0:
        return {}
    level, left = 0, most
    for number, count in enumerate(sorted(counts.values())):
        share = left // (len(counts) - number)
        if count > share:
            level = share
            break
        left -= count
    return {account_id: count - level for account_id, count in counts.items() if count > level}


def remove_oldest(tx: Transaction, account_id: str, number: int) -> int:
    """Remove a page of an account's oldest events, at most `number`; return how many were removed."""
    oldest = select(AuditEventRow.id).where(AuditEventRow.account_id == account_id)
    return _remove(tx, oldest.order_by(AuditEventRow.time, AuditEventRow.id).limit(min(number, _PAGE)))


def _remove(tx: Transaction, which: Select[int]) -> int:
    numbers = list(tx.session.scalars(which))
    if numbers:
        tx.session.execute(delete(AuditEventResource).where(AuditEventResource.event.in_(numbers)))
        tx.session.execute(delete(AuditEventRow).where(AuditEventRow.id.in_(numbers)))
    return len(numbers)


def _is_it(asked: Search) -> ColumnElement[bool]:
    if asked.attribute is None:
        return true()
    if asked.attribute == "ReadOnly":
        return AuditEventRow.read_only == (asked.value.lower() == "true")
    is_it: ColumnElement[bool] = _COLUMNS[asked.attribute] == asked.value
    return is_it


def _resources_of(tx: Transaction, numbers: Sequence[int]) -> dict[int, tuple[tuple[str, str], ...]]:
    found: dict[int, list[tuple[str, str]]] = {}
    query = select(AuditEventResource.event, AuditEventResource.type, AuditEventResource.name).where(
        AuditEventResource.event.in_(numbers)
    )
    for number, kind, name in tx.session.execute(query.order_by(AuditEventResource.event, AuditEventResource.place)):
        found.setdefault(number, []).append((kind, name))
    return {number: tuple(resources) for number, resources in found.items()}


def _event(row: AuditEventRow, resources: tuple[tuple[str, str], ...]) -> AuditEvent:
    return AuditEvent(
        event_id=row.event_id,
        account_id=row.account_id,
        time=row.time,
        name=row.name,
        source=row.source,
        user_name=row.user_name,
        access_key_id=row.access_key_id,
        read_only=row.read_only,
        resources=resources,
        text=zlib.decompress(row.event).decode(),
    )
