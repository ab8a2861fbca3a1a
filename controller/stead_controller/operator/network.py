"""The `Network` service: diagnosis for operators when packets do not arrive."""

import json
from typing import Any, Final

import grpc

from stead_controller.catalog import ids
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.operator.transactions import Transactions
from stead_controller.request.questions import Ask, Capture
from stead_controller.request.written_addresses import canonical_address
from stead_controller.resources.network import host_freshness, network_questions
from stead_controller.resources.network.interface_questions import interface_on_host, look
from stead_controller.resources.network.network_questions import Asked
from stead_controller.resources.network.reachability.packet import ALL_PORTS
from stead_controller.resources.network.reachability.verdict import Verdict
from stead_proto import limits
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc

_SECONDS: Final = 2


class Network(operator_pb2_grpc.NetworkServicer):
    """Shows the packets of an interface, and reports what allows or blocks its traffic."""

    def __init__(self, database: Transactions, ask: Ask) -> None:
        """Store the dependencies."""
        self._database = database
        self._ask = ask

    async def Capture(  # noqa: N802 - the name of the RPC
        self, request: pb.CaptureRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CaptureResponse:
        """Ask the interface's host for its packets."""
        del context
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
        return pb.CaptureResponse(interface_id=interface_id, pcap=answer.content)

    async def Look(  # noqa: N802 - the name of the RPC
        self, request: pb.LookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.LookResponse:
        """Ask the interface's host for the state in force for it."""
        del context
        question = await self._database.run(lambda tx: look(tx, request.resource_id, request.to_address), writes=False)
        answer = await self._ask(question)
        if answer.error:
            raise WrongState("network-interface", answer.error)
        findings = [pb.Finding(**each) for each in json.loads(answer.content)]
        return pb.LookResponse(interface_id=question.interface_id, host_id=question.host_id, findings=findings)

    async def Explain(  # noqa: N802 - the name of the RPC
        self, request: pb.ExplainRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExplainResponse:
        """Analyse the path from a source to a destination and back."""
        del context
        asked = _asked(request)
        verdict, warnings = await self._database.run(
            lambda tx: (network_questions.answer(tx, asked), host_freshness.of_ends(tx, asked)), writes=False
        )
        ways = ((verdict.forward, False), (verdict.back, True))
        return pb.ExplainResponse(
            reachable=verdict.reachable,
            hops=[
                pb.ExplainHop(component_id=hop.component_id, sentence=hop.sentence, reply=reply)
                for hops, reply in ways
                for hop in hops
            ],
            reasons=[
                pb.ExplainReason(
                    code=reason.code,
                    component_id=reason.component_id,
                    sentence=reason.sentence,
                    reply=reason.reply,
                )
                for reason in verdict.reasons
            ],
            warnings=[*verdict.warnings, *warnings],
            ends=_ends(verdict),
        )


def _asked(request: pb.ExplainRequest) -> Asked:
    if request.protocol not in ("tcp", "udp", "icmp"):
        raise InvalidParameter(f"The protocol {request.protocol[:20]} is none of tcp, udp and icmp.")
    if not 0 <= request.port <= ALL_PORTS[1]:
        raise InvalidParameter(f"The port {request.port} is not one of 1 to {ALL_PORTS[1]}.")
    named = ids.resource_type_of(request.destination) is not None
    return Asked(
        account_id=None,
        source=request.source,
        destination=request.destination if named else None,
        protocol=request.protocol,
        ports=(request.port, request.port) if request.port else ALL_PORTS,
        destination_address=None if named else canonical_address(request.destination),
    )


def _ends(verdict: Verdict) -> list[pb.ExplainEnd]:
    """The interfaces between which the packet goes, and the address to which each of them sends."""
    first, last = verdict.forward[0], verdict.forward[-1]
    ends = [(first.component_id, first.packet.destination)]
    if last.component_id != first.component_id:
        ends.append((last.component_id, last.packet.source))
    return [
        pb.ExplainEnd(interface_id=interface_id, to_address=address)
        for interface_id, address in ends
        if ids.is_id("network-interface", interface_id)
    ]
