"""The `Blocks` service."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc

from stead_controller.blocks.interface import BlockFiles, BlockStoreError
from stead_controller.blocks.scrub import Scrub, scrub
from stead_controller.blocks.store import BlockStore
from stead_controller.clock import Clock
from stead_controller.operator.refusals import partly_done
from stead_controller.operator.transactions import Transactions
from stead_proto.refusals import MARK
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc

_log = logging.getLogger(__name__)


class Blocks(operator_pb2_grpc.BlocksServicer):
    """Maintains the block store."""

    def __init__(self, database: Transactions, store: BlockStore, files: BlockFiles, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._store = store
        self._files = files
        self._clock = clock

    async def ScrubBlocks(  # noqa: N802 - the name of the RPC
        self, request: pb.ScrubBlocksRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ScrubBlocksResponse]:
        """Check all blocks and remove orphans."""
        del request
        found = Scrub()
        try:
            with partly_done():
                async for found in scrub(self._database, self._store, self._files, self._clock):
                    yield _progress(found)
        except BlockStoreError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error), MARK)
        _log.info("blocks_scrubbed", extra={"blocks": found.blocks_done, "bad": found.bad_blocks})
        last = _progress(found)
        last.finished = True
        for damage in found.damaged:
            last.damaged.add(digest=damage.digest, error=damage.error, snapshot_ids=damage.snapshot_ids)
        yield last


def _progress(found: Scrub) -> pb.ScrubBlocksResponse:
    return pb.ScrubBlocksResponse(
        blocks=found.blocks,
        blocks_done=found.blocks_done,
        bytes_done=found.bytes_done,
        bad_blocks=found.bad_blocks,
        orphans_removed=found.orphans_removed,
    )
