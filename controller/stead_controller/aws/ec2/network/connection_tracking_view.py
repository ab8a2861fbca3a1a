"""How long tracked connections of a network interface may be idle, as EC2 shows it."""

from typing import Any

from stead_controller.aws.call import Result


def connection_tracking_view(row: Any) -> Result | None:
    """Show the seconds that were chosen for an interface, whose columns a row has; None where nothing was."""
    tcp, stream, udp = row.tcp_established_timeout, row.udp_stream_timeout, row.udp_timeout
    if tcp is None and stream is None and udp is None:
        return None
    return {"TcpEstablishedTimeout": tcp, "UdpStreamTimeout": stream, "UdpTimeout": udp}
