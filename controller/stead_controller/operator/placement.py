"""The `Placement` service."""

from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.errors import SteadError
from stead_controller.operator.peers import refuse
from stead_controller.operator.transactions import Transactions
from stead_controller.request.cloud import Cloud
from stead_controller.resources.instances import spot_interruptions
from stead_controller.resources.operators import placement_explanation
from stead_controller.resources.operators.placement_explanation import Launch
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Placement(operator_pb2_grpc.PlacementServicer):
    """Says which host an instance would get, and why not the others; and interrupts Spot Instances."""

    def __init__(self, database: Transactions, cloud: Cloud, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._cloud = cloud
        self._clock = clock

    async def ExplainPlacement(  # noqa: N802 - the name of the RPC
        self, request: pb.ExplainPlacementRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExplainPlacementResponse:
        """Judge each host for a launch that might be."""
        launch = Launch(
            request.instance_type,
            request.zone,
            request.uefi,
            request.tpm,
            request.volume_gib,
            request.placement_group_id,
            request.partition_number or None,
        )
        try:
            found = await self._database.run(
                lambda tx: placement_explanation.judge_hosts(tx, self._cloud, launch), writes=False
            )
        except SteadError as error:
            await refuse(context, error)
        return pb.ExplainPlacementResponse(
            hosts=[
                pb.JudgedHost(
                    host_id=one.host_id,
                    hostname=one.hostname,
                    zone=one.zone,
                    vcpus_free=one.vcpus_free,
                    memory_free=one.memory_free,
                    refusals=[pb.PlacementRefusal(filter=name, reason=reason) for name, reason in one.refusals],
                )
                for one in found
            ]
        )

    async def InterruptInstance(  # noqa: N802 - the name of the RPC
        self, request: pb.InterruptInstanceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.InterruptInstanceResponse:
        """Give a Spot Instance notice."""
        now = self._clock()
        try:
            end = await self._database.run(lambda tx: spot_interruptions.interrupt(tx, request.instance_id, now))
        except SteadError as error:
            await refuse(context, error)
        return pb.InterruptInstanceResponse(end_time=int(end.timestamp()))
