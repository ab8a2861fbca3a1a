"""The `Network` service: what an operator looks at when packets do not arrive."""

import json
from typing import Any, Final

import grpc

from stead_controller.errors import SteadError, WrongState
from stead_controller.operator.peers import refuse, require_operator
from stead_controller.operator.transactions import Transactions
from stead_controller.resources.questions import Ask, Capture, interface_on_host, look
from stead_proto import limits
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc

_SECONDS: Final = 2


class Network(operator_pb2_grpc.NetworkServicer):
    """Shows the packets of an interface."""

    def __init__(self, database: Transactions, ask: Ask) -> None:
        """Take the parts."""
        self._database = database
        self._ask = ask

    async def Capture(  # noqa: N802 - the name of the RPC
        self, request: pb.CaptureRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CaptureResponse:
        """Ask the interface's host for its packets."""
        await require_operator(context)
        try:
            interface_id, host_id = await self._database.run(
                lambda tx: interface_on_host(tx, request.resource_id), writes=False
            )
            question = Capture(
                host_id=host_id,
                interface_id=interface_id,
                seconds=min(request.seconds or _SECONDS, limits.CAPTURE_SECONDS),
                packets=min(request.packets or limits.CAPTURE_PACKETS, limits.CAPTURE_PACKETS),
                snap_length=request.snap_length,
            )
            answer = await self._ask(question)
            if answer.error:
                raise WrongState("network-interface", answer.error)
        except SteadError as error:
            await refuse(context, error)
        return pb.CaptureResponse(interface_id=interface_id, pcap=answer.content)

    async def Look(  # noqa: N802 - the name of the RPC
        self, request: pb.LookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.LookResponse:
        """Ask the interface's host what is in force for it."""
        await require_operator(context)
        try:
            question = await self._database.run(
                lambda tx: look(tx, request.resource_id, request.to_address), writes=False
            )
            answer = await self._ask(question)
            if answer.error:
                raise WrongState("network-interface", answer.error)
        except SteadError as error:
            await refuse(context, error)
        findings = [pb.Finding(**each) for each in json.loads(answer.content)]
        return pb.LookResponse(interface_id=question.interface_id, host_id=question.host_id, findings=findings)
