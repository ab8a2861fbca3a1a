"""Limits how often an address may fail to authenticate; after that its requests are refused unchecked for a while.

An invalid signature costs as much work as a valid one, so addresses that only guess are stopped before. A known client
at the same address, behind the same NAT, is let through: if a key has lately been valid there, its signature is still
checked. The answer to an address does not depend on whether the key that it names exists.
"""

import ipaddress
import logging
import time
from collections.abc import Callable
from typing import Final

from stead_controller.aws.token_buckets import Rate, TokenBuckets
from stead_controller.errors import SteadError, TooManyRequests

log = logging.getLogger(__name__)

_FAILURES: Final = Rate(10, 1)  # multiplied by the operator's factor, like the rates of accounts
_MOST_KNOWN: Final = 10_000
_LOG_SECONDS: Final = 60.0
_OF_ONE: Final = 64  # bits of the IPv6 prefix that one subscriber has, at least


class FailedLogins:
    """The failures of addresses, and the keys that were valid at each; of one controller."""

    def __init__(self, factor: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Multiply the rate by `factor`; 0 disables the limit. `clock` returns seconds and never goes back."""
        self._factor = factor
        self._failures = TokenBuckets(factor, clock) if factor else None
        self._clock = clock
        self._known: dict[tuple[str, str], None] = {}
        self._logged_at: float | None = None

    def share(self, controllers: int) -> None:
        """Allow this controller's part, of so many that together allow what one alone would."""
        if self._failures is not None:
            self._failures.scale(self._factor / controllers)

    def check(self, address: str, access_key_id: str) -> None:
        """Raise TooManyRequests for an address that has failed too often, unless this key was valid there."""
        if self._failures is None or (address, access_key_id) in self._known:
            return
        if not self._failures.has(counted_as(address), _FAILURES):
            self._log_throttled(address)
            raise TooManyRequests

    def welcome(self, address: str, access_key_id: str) -> None:
        """Remember that a key was valid at an address."""
        if self._failures is None or (address, access_key_id) in self._known:
            return
        if len(self._known) >= _MOST_KNOWN:
            for oldest in list(self._known)[: _MOST_KNOWN // 2]:
                del self._known[oldest]
        self._known[address, access_key_id] = None

    def failed(self, address: str, refusal: SteadError) -> SteadError:
        """Count a failure, and return the error to answer: the refusal, or that there were too many."""
        if self._failures is None or self._failures.take([(counted_as(address), _FAILURES, 1.0)]):
            return refusal
        self._log_throttled(address)
        return TooManyRequests()

    def _log_throttled(self, address: str) -> None:
        """Log that an address is throttled, at most once in a while."""
        now = self._clock()
        if self._logged_at is None or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            log.warning("strangers_throttled", extra={"address": address})


def counted_as(address: str) -> str:
    """Return the unit of counting: an IPv4 address, or the IPv6 prefix of one subscriber."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.IPv6Network((int(parsed) >> _OF_ONE << _OF_ONE, _OF_ONE)))
