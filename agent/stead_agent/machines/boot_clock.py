"""The clock by which guests are given time: it goes on while the host sleeps, and nobody sets it. And how much time."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts for guests, in seconds. EC2 speaks of "a few minutes" for stops and reboots."""

    stop: int = 240
    hastened_stop: int = 30
    reboot: int = 240
    press_again: int = 10  # a guest that was still in its firmware has missed the power button

    def until_off(self, *, hasten: bool) -> int:
        """Return how long a guest that was asked to stop gets for that; a hastened stop never gets longer."""
        return min(self.stop, self.hastened_stop) if hasten else self.stop


def boot_clock() -> int:
    """Return the milliseconds since the host's boot."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
