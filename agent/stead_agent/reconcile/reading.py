"""For how long a disk that snapshots still need as it is, is kept from a guest that is to have it."""

from dataclasses import dataclass
from typing import Final

READING_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 1.0  # between looks whether it is read


@dataclass(slots=True)
class Reading:
    """Since when disks of one machine, or one volume, are kept from a guest; remembered between runs of its work."""

    since: float = -1.0

    def kept(self, being_read: frozenset[str], now: float) -> frozenset[str]:
        """Return which of these disks are still kept from the guest: all of them or, when the time is over, none."""
        if not being_read:
            self.since = -1.0
        elif self.since < 0:
            self.since = now
        return being_read if now - self.since < READING_SECONDS else frozenset()


def waits_for(volume_id: str) -> str:
    """Say what is waited for."""
    return f"waiting until the snapshot of {volume_id} is read"
