"""How often an account may call: a bucket of tokens per account and action, refilled all the time.

Sizes and refills are EC2's (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html), multiplied by
the operator's factor: in a cloud of one's own one account drives launches that in EC2 thousands of accounts make. What
starts and stops instances takes a token per instance from a second bucket, too. Each controller has buckets of its own.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stead_controller.errors import TooManyRequests

_MOST_BUCKETS: Final = 20_000
_MOST_INSTANCES: Final = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket's size, and how many tokens come back in a second."""

    size: float
    refill: float


_READ: Final = Rate(100, 20)
_READ_ALL: Final = Rate(50, 10)
_WRITE: Final = Rate(50, 5)
_CONSOLE: Final = Rate(100, 10)
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
        self._factor = factor
        self._clock = clock
        self._buckets: dict[tuple[str, str, str], tuple[float, float, Rate]] = {}

    def check(self, account_id: str, service: str, action: str, params: Mapping[str, Any]) -> None:
        """Take this call's tokens; raises TooManyRequests when there are not enough, and then takes none."""
        if not self._factor:
            return
        rate, name = _rate(service, action, params)
        asked = [((account_id, service, name), rate, 1.0)]
        per_instance = _PER_INSTANCE.get(action) if service == "ec2" else None
        if per_instance is not None:
            asked.append(((account_id, "instances", action), per_instance, _instances(params)))
        now = self._clock()
        left = [(key, rate, self._tokens(key, rate, now) - cost) for key, rate, cost in asked]
        if any(tokens < 0 for _, _, tokens in left):
            raise TooManyRequests
        for key, rate, tokens in left:
            self._buckets[key] = (tokens, now, rate)
        if len(self._buckets) > _MOST_BUCKETS:
            self._forget_full(now)

    def _tokens(self, key: tuple[str, str, str], rate: Rate, now: float) -> float:
        size = self._size(rate)
        known = self._buckets.get(key)
        if known is None:
            return size
        tokens, since, _ = known
        return min(size, tokens + (now - since) * rate.refill * self._factor)

    def _size(self, rate: Rate) -> float:
        return max(1.0, rate.size * self._factor)

    def _forget_full(self, now: float) -> None:
        """Forget buckets that are full by now, which are as good as new, and of the others the oldest half."""
        kept = {
            key: bucket
            for key, bucket in self._buckets.items()
            if self._tokens(key, bucket[2], now) < self._size(bucket[2])
        }
        if len(kept) > _MOST_BUCKETS // 2:
            newest = sorted(kept, key=lambda key: kept[key][1])[-_MOST_BUCKETS // 2 :]
            kept = {key: kept[key] for key in newest}
        self._buckets = kept


def _rate(service: str, action: str, params: Mapping[str, Any]) -> tuple[Rate, str]:
    """A call's rate, and the name of its bucket."""
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
