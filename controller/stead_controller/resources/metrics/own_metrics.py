"""Metrics of accounts' own are billed for each hour in which they have data, each hour's once, as they come.

Which hour they are counted in, and how many, is what the store of metrics says: no datum is counted by itself, so
PutMetricData writes no row. https://aws.amazon.com/cloudwatch/pricing/: metrics are prorated by the hour.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from stead_controller.db.tables import UsageAmount, UsageCounter
from stead_controller.metering import amounts, uses
from stead_controller.metering.amounts import Count
from stead_controller.metering.ledger import Resource
from stead_controller.request.transaction import Transaction

HOUR: Final = 3600
_NO_ZONE: Final = ""
_PUT: Final = "PutMetricData"
_KEPT: Final = 2  # hours whose counts may still grow


def resource_of(account_id: str) -> str:
    """Return what stands for an account's metrics in the ledger; a bucket's name has no colon."""
    return f"cloudwatch:{account_id}"


def has_put(tx: Transaction, now: datetime) -> bool:
    """Tell whether somebody has put data in this hour or the one before, by the calls that are billed."""
    since = (int(now.timestamp()) // HOUR - 1) * HOUR
    put = UsageAmount.usage == uses.METRIC_CALL, UsageAmount.operation == _PUT
    return tx.session.scalar(select(UsageAmount.hour).where(UsageAmount.began >= since, *put).limit(1)) is not None


def bill(tx: Transaction, hour: int, counts: Mapping[str, int], now: datetime) -> None:
    """Bill the metrics of accounts, by id, that have data in an hour, as far as they are not billed for it."""
    told = [Count(resource_of(account_id), uses.METRIC, _epoch(hour), count) for account_id, count in counts.items()]
    used = [
        (Resource(resource_of(account_id), account_id, _NO_ZONE), uses.of_own_metrics(more))
        for account_id, more in zip(counts, amounts.grown(tx, told), strict=True)
    ]
    amounts.add(tx, used, now)
    for one in told:
        mine = UsageCounter.resource_id == one.resource_id, UsageCounter.name == uses.METRIC
        tx.session.execute(delete(UsageCounter).where(*mine, UsageCounter.epoch < _epoch(hour - _KEPT)))


def _epoch(hour: int) -> str:
    return f"{hour:012}"
