"""Token buckets, refilled continuously: they limit rates in bounded memory."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

_MOST_BUCKETS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket's size, and its refill rate in tokens per second."""

    size: float
    refill: float


type Cost = tuple[Hashable, Rate, float]
"""The bucket's name, its rate, and the number of tokens to take."""


class TokenBuckets:
    """Buckets by their names; a full bucket takes no memory."""

    def __init__(self, factor: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Multiply all rates by `factor`, which is not 0; `clock` returns seconds and never goes back."""
        self._factor = factor
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float, Rate]] = {}

    def scale(self, factor: float) -> None:
        """Multiply all rates by another factor from now on."""
        self._factor = factor

    def take(self, costs: Sequence[Cost]) -> bool:
        """Take tokens from all these buckets, or from none if one has not enough; return whether they were taken."""
        now = self._clock()
        left = [(name, rate, self._tokens(name, rate, now) - cost) for name, rate, cost in costs]
        if any(tokens < 0 for _, _, tokens in left):
            return False
        for name, rate, tokens in left:
            self._buckets[name] = (tokens, now, rate)
        if len(self._buckets) > _MOST_BUCKETS:
            self._forget_full(now)
        return True

    def has(self, name: Hashable, rate: Rate) -> bool:
        """Tell whether a bucket has a token."""
        return name not in self._buckets or self._tokens(name, rate, self._clock()) >= 1

    def _tokens(self, name: Hashable, rate: Rate, now: float) -> float:
        size = self._size(rate)
        known = self._buckets.get(name)
        if known is None:
            return size
        tokens, since, _ = known
        return min(size, tokens + (now - since) * rate.refill * self._factor)

    def _size(self, rate: Rate) -> float:
        return max(1.0, rate.size * self._factor)

    def _forget_full(self, now: float) -> None:
        """Remove the buckets that are full by now, and the oldest half of the others."""
        remaining = {
            name: bucket
            for name, bucket in self._buckets.items()
            if self._tokens(name, bucket[2], now) < self._size(bucket[2])
        }
        if len(remaining) > _MOST_BUCKETS // 2:
            newest = sorted(remaining, key=lambda name: remaining[name][1])[-_MOST_BUCKETS // 2 :]
            remaining = {name: remaining[name] for name in newest}
        self._buckets = remaining
