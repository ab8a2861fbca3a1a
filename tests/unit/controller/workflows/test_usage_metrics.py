"""Calls of CloudWatch and vCPUs in use become data of AWS/Usage, each call once."""

import pytest

from stead_controller.metrics.datum import Identity
from stead_controller.resources import quotas
from stead_controller.workflows.usage_metrics import UsageMetrics
from tests.support.memory_metrics import MemoryMetrics
from tests.support.rows import NOW

MINUTE = int(NOW.timestamp() // 60) * 60_000
ONE, OTHER = "1" * 12, "2" * 12


@pytest.fixture
def store():
    return MemoryMetrics()


@pytest.fixture
def usage(database, store):
    return UsageMetrics(database, store, lambda: NOW)


def _found(store):
    found = {}
    for datum in store.data:
        assert (datum.at, datum.unit, datum.identity.namespace) == (MINUTE, "None", "AWS/Usage")
        key = datum.identity.account, datum.identity.name, dict(datum.identity.dimensions)["Resource"]
        found.setdefault(key, []).append(datum.total)
    return found


async def test_calls_are_counted_by_account_and_operation(usage, store):
    await usage.write()
    assert store.data == []
    for account, service, operation in [
        (ONE, "cloudwatch", "PutMetricData"), (ONE, "cloudwatch", "PutMetricData"), (OTHER, "cloudwatch", "ListMetrics"),
        (ONE, "cloudwatch", "PutMetricAlarm"), (ONE, "ec2", "ListMetrics"), (ONE, "cloudwatch", None),
    ]:  # fmt: skip
        usage.note(account, service, operation)
    await usage.write()
    await usage.write()
    assert _found(store) == {(ONE, "CallCount", "PutMetricData"): [2], (OTHER, "CallCount", "ListMetrics"): [1]}
    dimensions = (("Class", "None"), ("Resource", "ListMetrics"), ("Service", "CloudWatch"), ("Type", "API"))
    assert Identity(OTHER, "AWS/Usage", "CallCount", dimensions) in {datum.identity for datum in store.data}


async def test_what_was_not_stored_is_written_later(usage, store, caplog):
    usage.note(ONE, "cloudwatch", "PutMetricData")
    store.is_away = True
    await usage.write()
    assert "usage_not_stored" in caplog.text
    usage.note(ONE, "cloudwatch", "PutMetricData")
    store.is_away = False
    await usage.write()
    assert _found(store) == {(ONE, "CallCount", "PutMetricData"): [2]}


async def test_vcpus_are_written_down_to_zero_and_no_further(usage, store, database):
    def use(vcpus):
        database.run_blocking(lambda tx: quotas.use_vcpus(tx, ONE, vcpus))

    use(6)
    await usage.write()
    assert _found(store) == {(ONE, "ResourceCount", "vCPU"): [6]}
    dimensions = (("Class", "Standard/OnDemand"), ("Resource", "vCPU"), ("Service", "EC2"), ("Type", "Resource"))
    assert store.data[0].identity == Identity(ONE, "AWS/Usage", "ResourceCount", dimensions)
    use(-6)
    await usage.write()
    assert _found(store) == {(ONE, "ResourceCount", "vCPU"): [0]}
    store.data.clear()
    await usage.write()
    assert store.data == []
