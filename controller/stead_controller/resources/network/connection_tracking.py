"""How long tracked connections of a network interface may be idle, of those kinds for which EC2 lets one choose.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ConnectionTrackingSpecificationRequest.html.
"""

from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter

# By column: EC2's name, and the least and the most seconds.
_TIMEOUTS: Final = {
    "tcp_established_timeout": ("TcpEstablishedTimeout", 60, 432_000),
    "udp_stream_timeout": ("UdpStreamTimeout", 60, 180),
    "udp_timeout": ("UdpTimeout", 30, 60),
}


@dataclass(frozen=True, slots=True)
class IdleTimeouts:
    """Seconds; None is what was not asked for: EC2's default, or what an interface has."""

    tcp_established_timeout: int | None = None
    udp_timeout: int | None = None
    udp_stream_timeout: int | None = None

    def columns(self) -> dict[str, int]:
        """The columns of an interface that are asked for; raises InvalidParameter for what is out of range."""
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
