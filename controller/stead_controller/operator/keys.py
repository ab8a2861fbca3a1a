"""The `Keys` service."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from stead_controller.operator.refusals import partly_done
from stead_controller.operator.resealing import Reseals
from stead_controller.secrets.master_key import MasterKey
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc

_PROGRESS_SECONDS = 0.5


class Keys(operator_pb2_grpc.KeysServicer):
    """Shows and changes the master key."""

    def __init__(self, master_key: MasterKey, resealing: Reseals) -> None:
        """Store the dependencies."""
        self._master_key = master_key
        self._resealing = resealing

    async def RotateKey(  # noqa: N802 - the name of the RPC
        self, request: pb.RotateKeyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.RotateKeyResponse]:
        """Make a new version and seal everything under it; continues even if the client disconnects."""
        del context
        del request
        seen = pb.RotateKeyResponse()

        def progress(rows: int, changed: int) -> None:
            seen.rows, seen.changed = rows, changed

        rotating = asyncio.create_task(self._resealing.rotate(progress))
        while not rotating.done():
            await asyncio.wait({rotating}, timeout=_PROGRESS_SECONDS)
            if not rotating.done():
                yield seen
        with partly_done():
            seen.version = rotating.result()
        seen.finished = True
        yield seen

    async def ListKeyVersions(  # noqa: N802 - the name of the RPC
        self, request: pb.ListKeyVersionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListKeyVersionsResponse:
        """List the versions that open sealed values; the newest seals."""
        del request, context
        versions = self._master_key.versions
        return pb.ListKeyVersionsResponse(
            versions=[pb.KeyVersion(number=number, made=versions[number].made) for number in sorted(versions)]
        )
