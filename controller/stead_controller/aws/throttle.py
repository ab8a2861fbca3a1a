"""How often an account may call: a bucket of tokens per account and action, refilled all the time.

Sizes and refills are EC2's (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html), multiplied by
the operator's factor: in a cloud of one's own one account drives launches that in EC2 thousands of accounts make. What
starts and stops instances takes a token per instance from a second bucket, too. An account's calls of S3 share two
buckets, which at the default factor of 100 let through what S3 does of one prefix. Each controller has buckets of its
own. Who has not shown who it is has other ones (`strangers.py`).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from stead_controller.aws.token_buckets import Cost, Rate, TokenBuckets
from stead_controller.errors import TooManyRequests

_MOST_INSTANCES: Final = 1000

_READ: Final = Rate(100, 20)
_READ_ALL: Final = Rate(50, 10)
_WRITE: Final = Rate(50, 5)
_CONSOLE: Final = Rate(100, 10)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html, a hundredth of it
_OBJECT_READ: Final = Rate(55, 55)
_OBJECT_WRITE: Final = Rate(35, 35)
_OBJECT_READING: Final = ("Get", "Head", "List")
# Codes of second factors that one user may try, whatever the factor: there are a million (RFC 4226, 7.3).
_CODES: Final = Rate(10, 0.1)
_READING: Final = ("Describe", "Get", "List", "Search", "Lookup", "Simulate")
# Reads that cost more when they neither filter nor page.
_LARGE: Final = frozenset(
    {
        "DescribeInstances",
        "DescribeInstanceStatus",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeSnapshots",
        "DescribeSpotInstanceRequests",
        "DescribeVolumes",
    }
)
_CONSOLE_READS: Final = frozenset({"GetConsoleOutput", "GetConsoleScreenshot", "GetPasswordData"})
# EC2 calls these uncategorized: each has a rate of its own.
_OWN: Final[Mapping[str, Rate]] = {
    "AssignIpv6Addresses": Rate(100, 5),
    "AssignPrivateIpAddresses": Rate(100, 5),
    "AssociateIamInstanceProfile": Rate(100, 5),
    "CopyImage": Rate(100, 1),
    "CreateDefaultSubnet": Rate(1, 1),
    "CreateDefaultVpc": Rate(1, 1),
    "CreateNatGateway": Rate(10, 1),
    "CreateNetworkInterface": Rate(100, 5),
    "CreateSnapshot": Rate(100, 5),
    "CreateSnapshots": Rate(100, 5),
    "CreateTags": Rate(100, 10),
    "CreateVolume": Rate(100, 5),
    "DeleteSnapshot": Rate(100, 5),
    "DeleteTags": Rate(100, 10),
    "DeleteVolume": Rate(100, 5),
    "RunInstances": Rate(5, 2),
    "StartInstances": Rate(5, 2),
    "TerminateInstances": Rate(100, 5),
}
_PER_INSTANCE: Final[Mapping[str, Rate]] = {
    "RunInstances": Rate(1000, 2),
    "StartInstances": Rate(1000, 2),
    "StopInstances": Rate(1000, 20),
    "TerminateInstances": Rate(1000, 20),
}


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
        per_instance = _PER_INSTANCE.get(action) if service == "ec2" else None
        if per_instance is not None:
            asked.append(((account_id, "instances", action), per_instance, _instances(params)))
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
    if service != "ec2":
        return (_READ if action.startswith(_READING) else _WRITE), action
    if action in _OWN:
        return _OWN[action], action
    if action in _CONSOLE_READS:
        return _CONSOLE, action
    if not action.startswith(_READING):
        return _WRITE, action
    if action in _LARGE and not any(name in params for name in ("Filters", "MaxResults", "NextToken")):
        return _READ_ALL, f"{action} of all"
    return _READ, action


def _instances(params: Mapping[str, Any]) -> float:
    """How many instances a call is about; one that asks for more than may be asked is refused by its own rules."""
    count = params.get("MaxCount") or len(params.get("InstanceIds", ()))
    return float(min(max(1, count), _MOST_INSTANCES))
