"""The clock by which guests are given time: it goes on while the host sleeps, and nobody sets it."""

import time


def boot_clock() -> int:
    """Return the milliseconds since the host's boot."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
