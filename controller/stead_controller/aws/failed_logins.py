"""How often an address may fail to show who it is: then it is not even looked at for a while.

A signature that is not right costs as much work as one that is, so addresses that only guess are kept from it. Who is
known at the same address, behind the same NAT, is let through: a key that has lately been right there is asked for its
signature all the same. What an address is told does not depend on whether the key that it names exists.
"""

import ipaddress
import logging
import time
from collections.abc import Callable
from typing import Final

from stead_controller.aws.token_buckets import Rate, TokenBuckets
from stead_controller.errors import SteadError, TooManyRequests

log = logging.getLogger(__name__)

_FAILURES: Final = Rate(10, 1)  # times the operator's factor, as the rates of accounts
_MOST_KNOWN: Final = 10_000
_TELL_SECONDS: Final = 60.0
_OF_ONE: Final = 64  # bits of an IPv6 address that one subscriber has, at least


class Strangers:
    """The failures of addresses, and which keys are known at which; of one controller."""

    def __init__(self, factor: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Multiply the rate by `factor`; 0 lets everything through. `clock` gives seconds and never goes back."""
        self._failures = TokenBuckets(factor, clock) if factor else None
        self._clock = clock
        self._known: dict[tuple[str, str], None] = {}
        self._told: float | None = None

    def check(self, address: str, access_key_id: str) -> None:
        """Raise TooManyRequests for an address that has failed too often, unless this key was right there."""
        if self._failures is None or (address, access_key_id) in self._known:
            return
        if not self._failures.has(counted_as(address), _FAILURES):
            self._tell(address)
            raise TooManyRequests

    def welcome(self, address: str, access_key_id: str) -> None:
        """Remember that a key was right at an address."""
        if self._failures is None or (address, access_key_id) in self._known:
            return
        if len(self._known) >= _MOST_KNOWN:
            for oldest in list(self._known)[: _MOST_KNOWN // 2]:
                del self._known[oldest]
        self._known[address, access_key_id] = None

    def failed(self, address: str, refusal: SteadError) -> SteadError:
        """Count a failure, and give what is to be answered: the refusal, or that there were too many."""
        if self._failures is None or self._failures.take([(counted_as(address), _FAILURES, 1.0)]):
            return refusal
        self._tell(address)
        return TooManyRequests()

    def _tell(self, address: str) -> None:
        """Tell the log, but not as often as strangers come."""
        now = self._clock()
        if self._told is None or now - self._told >= _TELL_SECONDS:
            self._told = now
            log.warning("strangers_throttled", extra={"address": address})


def counted_as(address: str) -> str:
    """Give what is counted together: an IPv4 address, or all of IPv6 that one subscriber has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.IPv6Network((int(parsed) >> _OF_ONE << _OF_ONE, _OF_ONE)))
