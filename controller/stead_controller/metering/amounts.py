"""What is used at a moment: bytes, credits, requests. Each is in the sum of its hour, and in that of its day."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import batched
from typing import Final, NamedTuple

from sqlalchemy import delete, select, tuple_

from stead_controller.db.insert import upsert
from stead_controller.db.tables import UsageAmount, UsageCounter, UsageDay
from stead_controller.metering.ledger import Resource, Use
from stead_controller.metering.usage_days import DAY
from stead_controller.request.transaction import Transaction

_HOUR: Final = 3600
_AT_ONCE: Final = 200


class Count(NamedTuple):
    """A counter of a resource as who keeps it tells it: in one epoch it only grows, from zero."""

    resource_id: str
    name: str
    epoch: str
    total: int


def add(tx: Transaction, used: Iterable[tuple[Resource, Use]], now: datetime) -> None:
    """Add what resources have used just now; the hours before stay as they are."""
    moment = int(now.timestamp())
    rows = [
        {
            "resource_id": resource.id,
            "usage": use.usage,
            "operation": use.operation,
            "hour": moment // _HOUR,
            "account_id": resource.account_id,
            "zone": resource.zone,
            "began": moment,
            "amount": use.quantity,
        }
        for resource, use in used
        if use.quantity > 0
    ]
    upsert(tx.session, UsageAmount, rows, keep=("account_id", "zone", "began"), more=("amount",))
    of_day = ("account_id", "usage", "operation", "zone", "amount")
    days = [{name: row[name] for name in of_day} | {"day": moment // DAY} for row in rows]
    upsert(tx.session, UsageDay, days, more=("amount",))


def grown(tx: Transaction, counts: Sequence[Count]) -> list[int]:
    """Return how much each counter has grown since it was told last, once: told again, it has not grown.

    What it had counted before it was known here was used as well. A number below the one before is an older report.
    """
    known: dict[tuple[str, str, str], int] = {}
    columns = UsageCounter.resource_id, UsageCounter.name, UsageCounter.epoch
    for some in batched({count[:3] for count in counts}, _AT_ONCE):
        query = select(*columns, UsageCounter.total).where(tuple_(*columns).in_(some))
        known |= {(row[0], row[1], row[2]): row[3] for row in tx.connection.execute(query)}
    more, told = [], {}
    for count in counts:
        before = known.get(count[:3], 0)
        more.append(max(0, count.total - before))
        if count.total > before:
            known[count[:3]] = count.total
            told[count[:3]] = count._asdict()
    upsert(tx.session, UsageCounter, list(told.values()))
    return more


def forget(tx: Transaction, resource_ids: Sequence[str]) -> None:
    """Forget the counters of resources that are not known any more, so that nothing of them is billed again."""
    for some in batched(resource_ids, _AT_ONCE):
        tx.session.execute(delete(UsageCounter).where(UsageCounter.resource_id.in_(some)))
