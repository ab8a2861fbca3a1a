"""The `Placement` service."""

from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.errors import InvalidParameter
from stead_controller.operator.transactions import Transactions
from stead_controller.request.cloud import Cloud
from stead_controller.request.refused_places import RefusedPlace
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
        del context
        launch = Launch(
            request.instance_type,
            request.zone,
            request.uefi,
            request.tpm,
            request.volume_gib,
            request.placement_group_id,
            request.partition_number or None,
        )
        found = await self._database.run(
            lambda tx: placement_explanation.judge_hosts(tx, self._cloud, launch), writes=False
        )
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
        del context
        now = self._clock()
        end = await self._database.run(lambda tx: spot_interruptions.interrupt(tx, request.instance_id, now))
        return pb.InterruptInstanceResponse(end_time=int(end.timestamp()))

    async def ListRefusedPlaces(  # noqa: N802 - the name of the RPC
        self, request: pb.ListRefusedPlacesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListRefusedPlacesResponse:
        """List the last searches for a host that found none."""
        del context
        if request.zone and request.zone not in self._cloud.zones:
            raise InvalidParameter(f"'{request.zone}' is no zone of this cloud")
        return pb.ListRefusedPlacesResponse(places=map(_shown, self._cloud.refused.newest(request.zone)))


def _shown(place: RefusedPlace) -> pb.RefusedPlace:
    wanted, counts = place.wanted, place.counts
    return pb.RefusedPlace(
        first=int(place.first.timestamp() * 1000),
        last=int(place.last.timestamp() * 1000),
        times=place.times,
        instance_type=wanted.instance_type,
        zone=wanted.zone,
        vcpus=wanted.vcpus,
        memory=wanted.memory,
        disk=wanted.disk,
        group_strategy=wanted.strategy,
        counted=counts is not None,
        hosts=counts.hosts if counts is not None else 0,
        rules=[
            pb.RefusingRule(filter=one.rule, hosts=one.hosts, reason=one.reason)
            for one in (counts.rules if counts is not None else ())
        ],
    )
