"""How often an account may call: a bucket of tokens per account and action, refilled all the time.

EC2's sizes and refills are AWS's own (`ec2_rates.py`), S3's are those of one prefix, shared by all reads and by all
writes; so are STS's, of all that is asked with credentials, and those of CloudTrail and Service Quotas. All are
multiplied by the operator's factor, with S3's and STS's a hundredth to begin with: in a cloud of one's own one account
drives launches that in EC2 thousands of accounts make. Of IAM's buckets AWS only says that each second refills them
(https://aws.amazon.com/blogs/security/how-to-monitor-and-query-iam-resources-at-scale-part-2/): it and the rest have
the rates that EC2 has for reads and writes. Each controller has buckets of its own. Who has not shown who it is has
other ones (`failed_logins.py`).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from stead_controller.aws import ec2_rates
from stead_controller.aws.token_buckets import Cost, Rate, TokenBuckets
from stead_controller.errors import TooManyRequests

# EC2's own for what is not in its table.
_READ: Final = Rate(100, 20)
_WRITE: Final = Rate(50, 5)
_READING: Final = (*ec2_rates.READING, "Lookup", "Simulate")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html, a hundredth of it
_OBJECT_READ: Final = Rate(55, 55)
_OBJECT_WRITE: Final = Rate(35, 35)
_OBJECT_READING: Final = ("Get", "Head", "List")
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 600 per second, account and Region, shared
# by these operations; a hundredth of it.
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
# https://docs.aws.amazon.com/servicequotas/latest/userguide/reference_limits.html: so many per second, and as many more
# in one burst.
OWN: Final = {
    ("cloudtrail", "LookupEvents"): Rate(2, 2),
    ("service-quotas", "GetAWSDefaultServiceQuota"): Rate(10, 5),
    ("service-quotas", "GetServiceQuota"): Rate(10, 5),
    ("service-quotas", "ListAWSDefaultServiceQuotas"): Rate(20, 10),
    ("service-quotas", "ListServiceQuotas"): Rate(20, 10),
}
# Codes of second factors that one user may try, whatever the factor: there are a million (RFC 4226, 7.3).
_CODES: Final = Rate(10, 0.1)


class Throttle:
    """The buckets of one controller."""

    def __init__(self, factor: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Multiply EC2's rates by `factor`; 0 lets everything through. `clock` gives seconds and never goes back."""
        self._buckets = TokenBuckets(factor, clock) if factor else None
        self._codes = TokenBuckets(1.0, clock)

    def check(self, account_id: str, service: str, action: str, params: Mapping[str, Any]) -> None:
        """Take this call's tokens; raises TooManyRequests when there are not enough, and then takes none."""
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
        """Take a token for a second factor's code that a user tries; raises TooManyRequests when there is none."""
        if not self._codes.take([(principal_id, _CODES, 1.0)]):
            raise TooManyRequests


def _rate(service: str, action: str, params: Mapping[str, Any]) -> tuple[Rate, str]:
    """A call's rate, and the name of its bucket."""
    if service == "s3":
        return (_OBJECT_READ, "reads") if action.startswith(_OBJECT_READING) else (_OBJECT_WRITE, "writes")
    if service == "ec2":
        return ec2_rates.rate(action, params)
    if service == "sts" and action in OF_SESSIONS:
        return _SESSIONS, "sessions"
    own = OWN.get((service, action))
    return own or (_READ if action.startswith(_READING) else _WRITE), action
