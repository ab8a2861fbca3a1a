"""The metrics of accounts' usage, once a minute: calls of CloudWatch, and vCPUs that count against the quota.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Usage-Metrics.html and "Amazon EC2 usage
metrics" of the EC2 user guide say which there are.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.metrics.datum import Identity, MetricsUnavailable, Store, single
from stead_controller.resources import quotas

SECONDS: Final = 60.0
NAMESPACE: Final = "AWS/Usage"
COUNTED: Final = frozenset(
    [
        "DeleteAlarms",
        "DeleteDashboards",
        "DescribeAlarmHistory",
        "DescribeAlarms",
        "GetDashboard",
        "GetMetricData",
        "GetMetricStatistics",
        "ListMetrics",
        "PutDashboard",
        "PutMetricData",
    ]
)
"""The operations of CloudWatch whose calls are counted."""

_log = logging.getLogger(__name__)


class UsageMetrics:
    """Counts calls, and writes what was counted; belongs to the event loop."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        """Count nothing yet."""
        self._database = database
        self._store = store
        self._clock = clock
        self._calls: Counter[tuple[str, str]] = Counter()
        self._had_vcpus: set[str] = set()  # accounts of which a number above zero was written last

    def note(self, account_id: str, service: str, operation: str | None) -> None:
        """Count a call that has ended, if it is one of those that are counted."""
        if service == "cloudwatch" and operation in COUNTED:
            self._calls[account_id, operation] += 1

    async def write(self) -> None:
        """Write the calls since the last time, and the vCPUs in use now; what cannot be stored is written next time."""
        minute = int(self._clock().timestamp() // SECONDS * SECONDS) * 1000
        used = await self._database.run(quotas.vcpus_in_use, writes=False)
        calls, self._calls = self._calls, Counter()
        try:
            if calls:
                await self._store.add(
                    [
                        single(_calls_of(account, operation), minute, "None", number)
                        for (account, operation), number in calls.items()
                    ]
                )
                calls.clear()
            await self._write_vcpus(used, minute)
        except MetricsUnavailable as error:
            self._calls.update(calls)
            _log.warning("usage_not_stored", extra={"detail": error.detail})

    async def _write_vcpus(self, used: Mapping[str, int], minute: int) -> None:
        """Write the vCPUs of accounts that have any, or had some the last time."""
        has_some = {account for account, vcpus in used.items() if vcpus > 0}
        written = sorted(has_some | self._had_vcpus)
        if written:
            await self._store.write(
                [single(_vcpus_of(account), minute, "None", used.get(account, 0)) for account in written]
            )
        self._had_vcpus = has_some


def _calls_of(account: str, operation: str) -> Identity:
    dimensions = (("Class", "None"), ("Resource", operation), ("Service", "CloudWatch"), ("Type", "API"))
    return Identity(account, NAMESPACE, "CallCount", dimensions)


def _vcpus_of(account: str) -> Identity:
    dimensions = (("Class", "Standard/OnDemand"), ("Resource", "vCPU"), ("Service", "EC2"), ("Type", "Resource"))
    return Identity(account, NAMESPACE, "ResourceCount", dimensions)
