"""The `Types` service."""

from collections.abc import Mapping
from typing import Any, Final

import grpc

from stead_controller.catalog import instance_types as catalogue
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.clock import Clock
from stead_controller.operator.transactions import Transactions
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import devices
from stead_controller.resources.host_capacity.devices import Offer
from stead_controller.resources.instances import own_types
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc

_MINUTES_OF_A_DAY: Final = 24 * 60


class Types(operator_pb2_grpc.TypesServicer):
    """Shows instance types, and adds and removes those of the operator's own."""

    def __init__(self, database: Transactions, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._clock = clock

    async def ListTypes(  # noqa: N802 - the name of the RPC
        self, request: pb.ListTypesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListTypesResponse:
        """Show all types by name."""
        del request, context

        def find(tx: Transaction) -> list[pb.InstanceType]:
            offer = devices.Offer(tx)
            return [_shown(kind, offer) for kind in instance_types.everything(tx)]

        return pb.ListTypesResponse(types=await self._database.run(find, writes=False))

    async def AddType(  # noqa: N802 - the name of the RPC
        self, request: pb.AddTypeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AddTypeResponse:
        """Add a type, and show it as it is listed from now on."""
        del context

        def change(tx: Transaction) -> pb.InstanceType:
            added = own_types.add(tx, request.type.name, _facts(request.type), self._clock())
            return _shown(added, devices.Offer(tx))

        return pb.AddTypeResponse(type=await self._database.run(change))

    async def RemoveType(  # noqa: N802 - the name of the RPC
        self, request: pb.RemoveTypeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RemoveTypeResponse:
        """Remove a type that no instance has."""
        del context
        await self._database.run(lambda tx: own_types.remove(tx, request.name))
        return pb.RemoveTypeResponse()


def _facts(given: pb.InstanceType) -> Mapping[str, Any]:
    """Return the figures of a message as documents of families have them."""
    facts: dict[str, Any] = {
        "vcpus": given.vcpus,
        "threads_per_core": given.threads_per_core,
        "memory_mib": given.memory_mib,
        "interfaces": given.interfaces,
        "addresses": given.addresses,
        "network_mbps": {"baseline": given.network_baseline_mbps, "burst": given.network_burst_mbps},
    }
    if given.ebs_baseline_mbps or given.ebs_max_mbps:
        facts["ebs_mbps"] = {"baseline": given.ebs_baseline_mbps, "max": given.ebs_max_mbps}
    if given.ebs_baseline_iops or given.ebs_max_iops:
        facts["ebs_iops"] = {"baseline": given.ebs_baseline_iops, "max": given.ebs_max_iops}
    if given.store_count or given.store_gb:
        facts["instance_store"] = {"count": given.store_count, "size_gb": given.store_gb, "medium": "ssd"}
    if given.whole_cores:
        facts["whole_cores"] = True
    if given.huge_pages:
        facts["huge_pages"] = True
    if given.devices:
        facts["devices"] = dict(given.devices)
    if given.baseline_percent:
        # Credits are vCPU minutes: what is earned pays the baseline, and is saved for a day.
        daily = given.vcpus * _MINUTES_OF_A_DAY * given.baseline_percent / 100
        facts["credits"] = {"per_hour": daily / 24, "max": daily, "baseline_percent": given.baseline_percent}
    return facts


def _shown(kind: InstanceType, offer: Offer) -> pb.InstanceType:
    store = kind.instance_store
    return pb.InstanceType(
        name=kind.name,
        vcpus=kind.vcpus,
        threads_per_core=kind.threads_per_core,
        memory_mib=kind.memory_mib,
        interfaces=kind.max_interfaces,
        addresses=kind.max_addresses,
        network_baseline_mbps=kind.network_baseline_mbps,
        network_burst_mbps=kind.network_burst_mbps,
        store_count=store.count if store else 0,
        store_gb=store.size if store else 0,
        baseline_percent=kind.credits.baseline_percent if kind.credits else 0,
        own=catalogue.find(kind.name) is None,
        offered=offer.has(kind),
        devices={one.model: one.count for one in kind.devices},
        whole_cores=kind.whole_cores,
        huge_pages=kind.huge_pages,
        ebs_baseline_mbps=kind.ebs.baseline_mbps if kind.ebs else 0,
        ebs_max_mbps=kind.ebs.max_mbps if kind.ebs else 0,
        ebs_baseline_iops=kind.ebs.baseline_iops if kind.ebs else 0,
        ebs_max_iops=kind.ebs.max_iops if kind.ebs else 0,
    )
