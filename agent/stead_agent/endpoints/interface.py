"""What the agent may ask of endpoints: that what comes to their namespaces is carried to a controller.

The network makes the namespaces and leads to them; here is only who answers there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class EndpointError(Exception):
    """Nobody can listen as asked; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of this host."""

    id: str
    namespace: Path  # which exists
    ports: tuple[int, ...]  # TCP, at whatever addresses the namespace has
    controller_port: int  # at which controllers take what comes by endpoints


class Endpoints(Protocol):
    """The endpoints of this host. All methods block, are idempotent, and may be called from any thread."""

    def apply(self, vpc_id: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Listen for exactly these endpoints of a VPC; connections of those that are gone end. Raises EndpointError."""

    def remove(self, vpc_id: str) -> None:
        """Listen for none of a VPC's endpoints; comes before the network's `remove`."""

    def audit(self) -> tuple[str, ...]:
        """See to it that all is as it was asked for, and tell what was not."""

    def close(self) -> None:
        """Listen no more."""
