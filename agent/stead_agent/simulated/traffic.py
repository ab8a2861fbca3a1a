"""The traffic of simulated guests: what a test says that has passed."""

import secrets
from collections.abc import Mapping

from stead_agent.traffic.interface import Sum, Sums, Way


class SimulatedTraffic:
    """A book that begins with each process: its epoch is new then."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._epoch = secrets.token_hex(8)
        self._sums: dict[tuple[str, Way, str], int] = {}

    def passes(self, subject: str, way: Way, more: int, host: str = "") -> None:
        """Let bytes pass."""
        key = (subject, way, host)
        self._sums[key] = self._sums.get(key, 0) + more

    def own(self, vpc_id: str, owners: Mapping[str, str], peers: frozenset[str]) -> None:
        """Take it for granted."""
        del vpc_id, owners, peers

    def read(self) -> Sums:
        """Return all sums."""
        return Sums(self._epoch, tuple(Sum(*key, total) for key, total in self._sums.items()))

    def read_last(self, vpc_id: str) -> None:
        """Read nothing: what has passed was said."""
        del vpc_id

    def told(self, sums: Sums) -> None:
        """Keep all sums."""
        del sums
