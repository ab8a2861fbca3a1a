"""The `Consoles` service: instances' serial ports for operators."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from stead_controller.errors import NotFound
from stead_controller.hosts.consoles import Consoles as Sessions
from stead_controller.hosts.consoles import ConsoleSession
from stead_controller.operator.transactions import Transactions
from stead_controller.resources.instances import serial_console
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Consoles(operator_pb2_grpc.ConsolesServicer):
    """Opens sessions at serial ports."""

    def __init__(self, database: Transactions, sessions: Sessions) -> None:
        """Store the dependencies."""
        self._database = database
        self._sessions = sessions

    async def OpenConsole(  # noqa: N802 - the name of the RPC
        self, request_iterator: AsyncIterator[pb.OpenConsoleRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.OpenConsoleResponse]:
        """Join the operator with an instance's serial port until either ends."""
        del context
        first = await anext(aiter(request_iterator), None)
        instance_id = first.instance_id if first is not None else ""
        console = await self._database.run(lambda tx: serial_console.of_operator(tx, instance_id), writes=False)
        if console is None:
            raise NotFound("instance", instance_id)
        async with self._sessions.session(console.host_id, instance_id) as session:
            yield pb.OpenConsoleResponse()
            typing = asyncio.create_task(_type(request_iterator, session))
            try:
                while text := await session.read():
                    yield pb.OpenConsoleResponse(content=text)
            finally:
                typing.cancel()


async def _type(requests: AsyncIterator[pb.OpenConsoleRequest], session: ConsoleSession) -> None:
    """Carry what is typed, until the operator's end of input."""
    try:
        async for request in requests:
            await session.write(request.content)
    finally:
        session.end()
