"""Idle timeouts of a network interface's tracked connections, for the kinds that EC2 lets users configure.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ConnectionTrackingSpecificationRequest.html.
"""

from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter

# By column: EC2's name, and the minimum and the maximum seconds.
_TIMEOUTS: Final = {
    "tcp_established_timeout": ("TcpEstablishedTimeout", 60, 432_000),
    "udp_stream_timeout": ("UdpStreamTimeout", 60, 180),
    "udp_timeout": ("UdpTimeout", 30, 60),
}


@dataclass(frozen=True, slots=True)
class IdleTimeouts:
    """Timeouts in seconds; None if not in the request: EC2's default, or the interface's current value."""

    tcp_established_timeout: int | None = None
    udp_timeout: int | None = None
    udp_stream_timeout: int | None = None

    def columns(self) -> dict[str, int]:
        """Return the interface's columns for the values in the request; raises InvalidParameter if out of range."""
        found = {}
        for column, (name, least, most) in _TIMEOUTS.items():
            seconds = getattr(self, column)
            if seconds is None:
                continue
            if not least <= seconds <= most:
                raise InvalidParameter(
                    f"Value ({seconds}) for parameter {name} is invalid. It must be from {least} to {most} seconds."
                )
            found[column] = seconds
        return found
