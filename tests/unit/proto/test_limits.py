"""What the options of a channel do."""

import socket

import grpc
import pytest

from stead_proto import limits
from stead_proto.v1 import blocks_pb2, blocks_pb2_grpc

_CONNECT = "grpc.min_reconnect_backoff_ms"


def test_an_attempt_to_connect_ends_by_itself() -> None:
    """A controller that is ending may take a connection and say nothing."""
    options = dict(limits.channel_options())
    assert options[_CONNECT] == limits.CONNECT_MILLISECONDS < 20_000  # gRPC's own
    options[_CONNECT] = 100
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(), options=list(options.items())) as channel:
            stub = blocks_pb2_grpc.BlockStoreStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                list(stub.ListSegments(blocks_pb2.ListSegmentsRequest(), timeout=15))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE  # DEADLINE_EXCEEDED after 15 seconds


def test_no_ping_follows_a_message() -> None:
    """With gRPC's own search for the bandwidth, each heartbeat would cost two messages more."""
    for options in (limits.channel_options(), limits.channel_options(watchful=True), limits.server_options()):
        assert dict(options)["grpc.http2.bdp_probe"] == 0
        assert dict(options)["grpc.http2.lookahead_bytes"] == limits.READ_AHEAD  # which gRPC would have found out
