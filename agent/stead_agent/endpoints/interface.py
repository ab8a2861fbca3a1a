"""The interface of endpoints to the rest of the agent: connections in their namespaces are relayed to a controller.

The network creates the namespaces and routes to them; here are only the sockets that listen in them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class EndpointError(Exception):
    """Listening as requested is impossible; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of this host."""

    id: str
    namespace: Path  # must exist
    ports: tuple[int, ...]  # TCP, at whatever addresses the namespace has
    controller_port: int  # the controllers' port for connections relayed from endpoints


class Endpoints(Protocol):
    """The endpoints of this host. All methods block, are idempotent, and may be called from any thread."""

    def apply(self, vpc_id: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Listen for exactly these endpoints of a VPC; connections of those that are gone end. Raises EndpointError."""

    def remove(self, vpc_id: str) -> None:
        """Stop listening for a VPC's endpoints; comes before the network's `remove`."""

    def audit(self) -> tuple[str, ...]:
        """Check that everything is as applied, repair it, and return what was not."""

    def close(self) -> None:
        """Stop listening."""
