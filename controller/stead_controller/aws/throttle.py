"""How often an account may call: one token bucket per account and action, refilled continuously.

EC2's sizes and refill rates are AWS's own (`ec2_rates.py`). S3's are those of one prefix, with one bucket for all reads
and one for all writes. STS's signed operations share one bucket; CloudTrail, CloudWatch and Service Quotas have AWS's
rates too. S3's, STS's and SNS's are a hundredth of AWS's. All are multiplied by the operator's factor, since in a
private cloud one account makes as many launches as thousands of accounts in EC2. About IAM, AWS only says that its
buckets are refilled every second
(https://aws.amazon.com/blogs/security/how-to-monitor-and-query-iam-resources-at-scale-part-2/): IAM and all others have
EC2's rates for reads and writes. Several controllers share the rates evenly. Unauthenticated requests have others
(`failed_logins.py`).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from stead_controller.aws import ec2_rates
from stead_controller.aws.token_buckets import Cost, Rate, TokenBuckets
from stead_controller.errors import TooManyRequests

# EC2's rates for actions that are not in its table.
_READ: Final = Rate(100, 20)
_WRITE: Final = Rate(50, 5)
_READING: Final = (*ec2_rates.READING, "Lookup", "Simulate")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html, divided by 100
_OBJECT_READ: Final = Rate(55, 55)
_OBJECT_WRITE: Final = Rate(35, 35)
# Operations that add up what was used; AWS publishes no rates of them, and takes a cent for each of Cost Explorer's.
_SUMS: Final = Rate(20, 2)
# What lists a hundred products with their attributes; AWS publishes no rate of it.
_PRICES: Final = Rate(50, 10)
_OBJECT_READING: Final = ("Get", "Head", "List")
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 600 per second, account and Region, shared
# by these operations; divided by 100.
_SESSIONS: Final = Rate(6, 6)
OF_SESSIONS: Final = frozenset(
    {
        "AssumeRole",
        "DecodeAuthorizationMessage",
        "GetAccessKeyInfo",
        "GetCallerIdentity",
        "GetFederationToken",
        "GetSessionToken",
    }
)
# https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html: two per second and account.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html
# https://docs.aws.amazon.com/general/latest/gr/sns.html, divided by 100
# https://docs.aws.amazon.com/servicequotas/latest/userguide/reference_limits.html: so many per second, and a burst of
# twice as many.
OWN: Final = {
    ("cloudtrail", "LookupEvents"): Rate(2, 2),
    ("cloudwatch", "DescribeAlarms"): Rate(9, 9),
    ("cloudwatch", "GetMetricData"): Rate(50, 50),
    ("cloudwatch", "GetMetricStatistics"): Rate(400, 400),
    ("cloudwatch", "ListMetrics"): Rate(25, 25),
    ("cloudwatch", "PutDashboard"): Rate(10, 10),
    ("cloudwatch", "PutMetricAlarm"): Rate(3, 3),
    ("cloudwatch", "PutMetricData"): Rate(500, 500),
    ("budgets", "DescribeBudgetPerformanceHistory"): _SUMS,
    ("budgets", "DescribeBudgets"): _SUMS,
    ("ce", "GetCostAndUsage"): _SUMS,
    ("ce", "GetCostAndUsageWithResources"): _SUMS,
    ("ce", "GetCostForecast"): _SUMS,
    ("ce", "GetDimensionValues"): _SUMS,
    ("ce", "GetTags"): _SUMS,
    ("ce", "GetUsageForecast"): _SUMS,
    ("pricing", "GetProducts"): _PRICES,
    ("sns", "Publish"): Rate(300, 300),
    ("sns", "Subscribe"): Rate(1, 1),
    ("sns", "Unsubscribe"): Rate(1, 1),
    ("service-quotas", "GetAWSDefaultServiceQuota"): Rate(10, 5),
    ("service-quotas", "GetServiceQuota"): Rate(10, 5),
    ("service-quotas", "ListAWSDefaultServiceQuotas"): Rate(20, 10),
    ("service-quotas", "ListServiceQuotas"): Rate(20, 10),
}
# MFA codes that one user may try, whatever the factor is: there are a million (RFC 4226, 7.3).
_CODES: Final = Rate(10, 0.1)


class Throttle:
    """The buckets of one controller."""

    def __init__(self, factor: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Multiply EC2's rates by `factor`; 0 disables throttling. `clock` returns seconds and never goes back."""
        self._factor = factor
        self._buckets = TokenBuckets(factor, clock) if factor else None
        self._codes = TokenBuckets(1.0, clock)

    def share(self, controllers: int) -> None:
        """Allow this controller's part, of so many that together allow what one alone would."""
        if self._buckets is not None:
            self._buckets.scale(self._factor / controllers)
        self._codes.scale(1 / controllers)

    def check(self, account_id: str, service: str, action: str, params: Mapping[str, Any]) -> None:
        """Take this call's tokens; raises TooManyRequests if there are not enough, and then takes none."""
        if self._buckets is None:
            return
        rate, name = _rate(service, action, params)
        asked: list[Cost] = [((account_id, service, name), rate, 1.0)]
        per_instance = ec2_rates.PER_INSTANCE.get(action) if service == "ec2" else None
        if per_instance is not None:
            asked.append(((account_id, "instances", action), per_instance, ec2_rates.instances(params)))
        if not self._buckets.take(asked):
            raise TooManyRequests

    def check_code(self, principal_id: str) -> None:
        """Take a token for an MFA code that a user tries; raises TooManyRequests if there is none."""
        if not self._codes.take([(principal_id, _CODES, 1.0)]):
            raise TooManyRequests


def _rate(service: str, action: str, params: Mapping[str, Any]) -> tuple[Rate, str]:
    """Return a call's rate, and the name of its bucket."""
    if service == "s3":
        return (_OBJECT_READ, "reads") if action.startswith(_OBJECT_READING) else (_OBJECT_WRITE, "writes")
    if service == "ec2":
        return ec2_rates.rate(action, params)
    if service == "sts" and action in OF_SESSIONS:
        return _SESSIONS, "sessions"
    own = OWN.get((service, action))
    return own or (_READ if action.startswith(_READING) else _WRITE), action
