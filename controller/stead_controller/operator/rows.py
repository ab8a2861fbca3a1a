"""The `Rows` service: rows of the database that name what is not there any more."""

from collections.abc import Iterable
from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.operator.transactions import Transactions
from stead_controller.resources.operators import orphaned_rows
from stead_controller.resources.operators.orphaned_rows import Orphan
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Rows(operator_pb2_grpc.RowsServicer):
    """Finds and mends them."""

    def __init__(self, database: Transactions, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._clock = clock

    async def MendRows(  # noqa: N802 - the name of the RPC
        self, request: pb.MendRowsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.MendRowsResponse:
        """Mend them all in one transaction, or only look."""
        del context
        if request.only_look:
            return _shown(await self._database.run(orphaned_rows.find, writes=False))
        return _shown(await self._database.run(lambda tx: orphaned_rows.mend(tx, self._clock())))


def _shown(found: Iterable[Orphan]) -> pb.MendRowsResponse:
    return pb.MendRowsResponse(
        rows=[pb.OrphanedRow(kind=each.kind, id=each.id, names=each.names, done=each.done) for each in found]
    )
