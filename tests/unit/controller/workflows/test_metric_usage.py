"""Each metric of one's own is billed once for each hour in which it has data, whatever ends the controller when."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from stead_controller.db.tables import UsageAmount, UsageCounter
from stead_controller.metering import amounts, uses
from stead_controller.metering.ledger import Resource
from stead_controller.metrics.datum import Identity, single
from stead_controller.resources.metrics import own_metrics
from stead_controller.workflows.metric_usage import MetricUsage
from tests.support.memory_metrics import MemoryMetrics

ONE, OTHER = "1" * 12, "2" * 12
HOUR = 480_000  # since 1970


class Usage:
    """Metrics in a store, what is billed of them, and the time in seconds of an hour."""

    def __init__(self, database):
        self.database, self.store, self.second, self.asked = database, MemoryMetrics(), 0, 0
        count = self.store.count

        async def counted(start, end):
            self.asked += 1
            return await count(start, end)

        self.store.count = counted

    @property
    def now(self):
        return datetime.fromtimestamp(HOUR * 3600 + self.second, UTC)

    def call(self, account=ONE, operation="PutMetricData"):
        use = uses.of_metric_call(operation, 1)
        resource = Resource(own_metrics.resource_of(account), account, "")
        self.database.run_blocking(lambda tx: amounts.add(tx, [(resource, use)], self.now))

    async def put(self, *names, account=ONE, namespace="My/App", second=None):
        at = (HOUR * 3600 + (self.second if second is None else second)) * 1000
        await self.store.add([single(Identity(account, namespace, name), at, "None", 1) for name in names])
        self.call(account)

    async def run(self):
        await MetricUsage(self.database, self.store, lambda: self.now).run()

    def billed(self):
        query = select(UsageAmount).where(UsageAmount.usage == "CW:MetricMonitorUsage")
        rows = self.database.run_blocking(lambda tx: tx.session.scalars(query).all())
        assert {(row.resource_id, row.operation) for row in rows} <= {
            (f"cloudwatch:{one}", "MetricStorage") for one in (ONE, OTHER)
        }
        return {(row.account_id, row.hour - HOUR): row.amount / 3600 for row in rows}


@pytest.fixture
def usage(database):
    return Usage(database)


async def test_a_metric_is_billed_once_an_hour(usage):
    await usage.put("a", "b")
    await usage.put("c", account=OTHER)
    await usage.put("aws", namespace="AWS/EC2")
    for _ in range(2):
        await usage.run()
    assert usage.billed() == {(ONE, 0): 2, (OTHER, 0): 1}
    usage.second = 1800
    await usage.put("a", "new")
    await usage.run()
    assert usage.billed() == {(ONE, 0): 3, (OTHER, 0): 1}
    usage.second = 3700
    await usage.put("a")
    await usage.run()
    assert usage.billed() == {(ONE, 0): 3, (OTHER, 0): 1, (ONE, 1): 1}


async def test_what_comes_at_the_end_of_an_hour_is_billed_in_the_next(usage):
    usage.second = 3599
    await usage.put("late")
    usage.second = 3800
    await usage.run()
    assert usage.billed() == {(ONE, 1): 1}


async def test_the_store_is_not_asked_where_nobody_puts_data(usage):
    usage.call(operation="ListMetrics")
    await usage.run()
    assert usage.asked == 0
    usage.call()
    usage.second = 2 * 3600 - 1
    await usage.run()
    assert usage.asked == 2
    usage.second = 2 * 3600
    await usage.run()
    assert usage.asked == 2


async def test_what_cannot_be_counted_is_counted_later(usage, caplog):
    await usage.put("a")
    usage.store.is_away = True
    await usage.run()
    assert "metrics_not_counted" in caplog.text
    usage.store.is_away = False
    await usage.run()
    assert usage.billed() == {(ONE, 0): 1}


async def test_counts_of_old_hours_are_forgotten_and_no_others(usage):
    other = {"resource_id": "i-1", "name": "out", "epoch": "", "total": 7}
    usage.database.run_blocking(lambda tx: tx.session.add(UsageCounter(**other)))
    for hour in range(5):
        usage.second = hour * 3600
        await usage.put("a")
        await usage.run()
    found = usage.database.run_blocking(lambda tx: tx.session.scalars(select(UsageCounter.epoch)).all())
    assert sorted(int(epoch) - HOUR for epoch in found if epoch) == [2, 3, 4]
    assert "" in found
    assert usage.billed() == {(ONE, hour): 1 for hour in range(5)}
