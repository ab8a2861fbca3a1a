"""Idle timeouts of a network interface's tracked connections, as EC2 shows them."""

from typing import Any

from stead_controller.aws.call import Result


def connection_tracking_view(row: Any) -> Result | None:
    """Show the timeouts that were set for an interface, from a row with its columns; None if none was set."""
    tcp, stream, udp = row.tcp_established_timeout, row.udp_stream_timeout, row.udp_timeout
    if tcp is None and stream is None and udp is None:
        return None
    return {"TcpEstablishedTimeout": tcp, "UdpStreamTimeout": stream, "UdpTimeout": udp}
