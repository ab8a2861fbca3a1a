"""Sizes and times on which both ends of a connection must agree, and the gRPC options that set them."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

USER_DATA_BYTES: Final = 16 * KIB
"""EC2's limit of user data, before base64."""

"""The most that one `ImageChunk` or `ImportImageRequest` carries."""

CONSOLE_OUTPUT_BYTES: Final = 64 * KIB
"""EC2 keeps the last 64 KiB of a console."""

SCREENSHOT_BYTES: Final = 8 * MIB
"""The most that an answer to a screenshot question carries."""

CAPTURE_SECONDS: Final = 15
"""The longest that a host listens for one capture question; who wants more asks again."""

CAPTURE_PACKETS: Final = 10_000
"""The most packets that an answer to a capture question carries."""

MESSAGE_BYTES: Final = 64 * MIB
"""One gRPC message: the full desired state of a host with 1,000 guests and their user data stays below."""

STATUSES_PER_PROGRESS: Final = 1000
"""Statuses in one Progress; more are sent in further ones, so that a message never nears its limit."""

UNCLAIMED_BYTES: Final = 128 * KIB
"""The most that a host says of one resource that the controller's older database does not know."""

PROGRESS_BYTES: Final = 16 * MIB
"""When what was said of unclaimed resources in one Progress is this much, the others follow in further ones."""

ERROR_CHARACTERS: Final = 2000
"""The most of an error's text that travels in a status or an answer."""

EBS_BURST_SECONDS: Final = 30 * 60
"""So long an instance may at most use its volumes at their maximum before it must save again: EC2's figure."""

EXPORT_PORTS: Final = range(61000, 63048)
"""TCP ports at which a host serves its volumes to other hosts: above those that Linux gives to outgoing connections
(ip_local_port_range), where hardly anybody else is. Its firewall lets hosts alone in."""

FIRMWARE_BYTES: Final = 512 * KIB
"""The most that a guest's variables and the state of its TPM have together; more of it stays on its host."""

CSR_BYTES: Final = 16 * KIB
"""A certificate signing request beyond this is refused unread."""

HEARTBEAT_SECONDS: Final = 10
"""How often an agent reports that nothing changed, until the controller throttles it."""

QUESTIONS_AT_ONCE: Final = 8
"""Questions that one agent works at; further ones wait."""

KEEPALIVE_MILLISECONDS: Final = 10_000
KEEPALIVE_TIMEOUT_MILLISECONDS: Final = 5_000
WATCHFUL_MILLISECONDS: Final = 700
WATCHFUL_TIMEOUT_MILLISECONDS: Final = 1_000
CONNECT_MILLISECONDS: Final = 8_000
QUICK_MILLISECONDS: Final = (100, 300)

READ_AHEAD: Final = MIB
"""Bytes of a stream that are on their way before they are read: 100 MB/s to a host that is 10 ms away."""

Options = list[tuple[str, int | str]]
# gRPC would find out how much can be on its way by a ping after each message, to which the peer answers: of 500 hosts
# that only say that they are there, half of what gRPC costs.
_FLOW: Final[Options] = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", READ_AHEAD)]
# Counts of each connection and call, for a service that nobody serves: a 25th of what the begin of a session costs.
_UNCOUNTED: Final[Options] = [("grpc.enable_channelz", 0)]


def channel_options(*, watchful: bool = False) -> Options:
    """Options of a channel to the controller: our message size, and a dead peer is detected within 15 seconds.

    On a `watchful` one, of a host with several controllers, within 1.7 seconds.
    """
    pause, patience = (
        (WATCHFUL_MILLISECONDS, WATCHFUL_TIMEOUT_MILLISECONDS)
        if watchful
        else (KEEPALIVE_MILLISECONDS, KEEPALIVE_TIMEOUT_MILLISECONDS)
    )
    return [
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", pause),
        ("grpc.keepalive_timeout_ms", patience),
        ("grpc.http2.ping_timeout_ms", patience),  # which counts, and is a minute otherwise: seen with 1.85
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
        # Its own subchannel pool: it shares its backoff and certificate with no other channel of the process.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        *_FLOW,
        *_UNCOUNTED,
        # How long an attempt to connect may take; gRPC's own is 20 seconds, for which whoever waits hangs.
        ("grpc.min_reconnect_backoff_ms", CONNECT_MILLISECONDS),
    ]


def quick_options() -> Options:
    """Options of a channel that waits for a controller that starts: the first and the longest pause between tries."""
    first, longest = QUICK_MILLISECONDS
    return [("grpc.initial_reconnect_backoff_ms", first), ("grpc.max_reconnect_backoff_ms", longest)]


def server_options() -> Options:
    """Options of the controller's gRPC server: it accepts the pings of `channel_options` and sends its own."""
    return [
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MILLISECONDS),
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MILLISECONDS),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
        # Of pings that come sooner it takes two, and then ends the connection: those of watchful hosts must not.
        ("grpc.http2.min_ping_interval_without_data_ms", WATCHFUL_MILLISECONDS // 2),
        # Else a second server could listen on the same port, and each would get some of the connections.
        ("grpc.so_reuseport", 0),
        *_FLOW,
        *_UNCOUNTED,
    ]
