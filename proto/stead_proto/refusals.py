"""What tells a controller's own UNAVAILABLE apart from gRPC's, of a controller that is not there."""

from typing import Final

import grpc

MARK: Final = (("stead-refused", "yes"),)
"""Metadata that end a call which the controller has refused."""


def is_refusal(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether the controller itself has ended a call, with a message for who called."""
    return MARK[0] in {(str(name), str(value)) for name, value in error.trailing_metadata() or ()}
