"""The `Hosts` service."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.db.tables import Host, HostCore, HostDevice, HostError
from stead_controller.errors import InvalidParameter
from stead_controller.hosts.enrolment import create_host_token, create_token
from stead_controller.hosts.link import HostLink
from stead_controller.operator import activity, unclaimed
from stead_controller.operator.transactions import Transactions
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import unclaimed_addresses
from stead_controller.resources.operators import adoption, host_activity, host_records, unclaimed_resources
from stead_controller.resources.operators.host_records import HostRecord, StopTime
from stead_controller.resources.operators.host_settings import HostChange
from stead_controller.resources.operators.host_uses import HostUse
from stead_proto.certificates import Authority
from stead_proto.v1 import desired_pb2, operator_pb2_grpc
from stead_proto.v1 import operator_pb2 as pb

_TOKEN_SECONDS = 3600


class Hosts(operator_pb2_grpc.HostsServicer):
    """Lists, enrols, changes, drains and removes hosts."""

    def __init__(
        self, database: Transactions, cloud: Cloud, clock: Clock, authority: Authority, link: HostLink
    ) -> None:
        """Store the dependencies; by `link` hosts are asked."""
        self._database = database
        self._cloud = cloud
        self._clock = clock
        self._authority = authority
        self._link = link

    async def ListHosts(  # noqa: N802 - the name of the RPC
        self, request: pb.ListHostsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListHostsResponse:
        """List all hosts, or one, with their capacity and how far they are."""
        del context

        def find(tx: Transaction) -> list[HostRecord]:
            if request.host_id:
                return [host_records.show_host(tx, self._cloud, request.host_id)]
            return host_records.list_hosts(tx, self._cloud)

        found = await self._database.run(find, writes=False)
        return pb.ListHostsResponse(hosts=[_message(record) for record in found])

    async def MeasureHosts(  # noqa: N802 - the name of the RPC
        self, request: pb.MeasureHostsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.MeasureHostsResponse:
        """Ask all hosts, or one, what they and their machines do."""
        del context
        hosts = await self._database.run(
            lambda tx: host_activity.hosts_with_instances(tx, request.host_id), writes=False
        )
        return await activity.measure(self._link.ask, hosts)

    async def RepairHosts(  # noqa: N802 - the name of the RPC
        self, request: pb.RepairHostsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RepairHostsResponse:
        """Have all hosts, or one, repair themselves now."""
        del context
        hosts = await self._database.run(
            lambda tx: host_activity.hosts_with_instances(tx, request.host_id), writes=False
        )
        return await activity.repair(self._link.ask, hosts)

    async def CreateEnrolmentToken(  # noqa: N802 - the name of the RPC
        self, request: pb.CreateEnrolmentTokenRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateEnrolmentTokenResponse:
        """Create a one-time token for a zone, or for a host that is known."""
        del context
        valid = timedelta(seconds=request.valid_seconds or _TOKEN_SECONDS)
        if request.host_id:
            if request.zone:
                raise InvalidParameter(f"{request.host_id} joins again in the zone that it is in: leave the zone out.")
            token, expires = await self._database.run(
                lambda tx: create_host_token(
                    tx, request.host_id, valid, self._clock(), any_authority=request.any_authority
                )
            )
            return self._token(token, expires, request.host_id)
        if request.any_authority:
            raise InvalidParameter("A token for any authority must be bound to a host.")
        zone = request.zone or self._cloud.zones[0]
        if zone not in self._cloud.zones:
            raise InvalidParameter(f"'{zone}' is no zone of this cloud: {', '.join(self._cloud.zones)}")
        token, expires = await self._database.run(lambda tx: create_token(tx, zone, valid, self._clock()))
        return self._token(token, expires)

    def _token(self, token: str, expires: datetime, host_id: str = "") -> pb.CreateEnrolmentTokenResponse:
        return pb.CreateEnrolmentTokenResponse(
            token=token, expires=int(expires.timestamp()), ca_pem=self._authority.ca_pem, host_id=host_id
        )

    async def SetSchedulable(  # noqa: N802 - the name of the RPC
        self, request: pb.SetSchedulableRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Host:
        """Cordon a host, or end that and its draining."""
        del context
        return await self._change(
            lambda tx: host_records.set_schedulable(
                tx, self._cloud, request.host_id, self._clock(), schedulable=request.schedulable
            ),
        )

    async def SetHost(  # noqa: N802 - the name of the RPC
        self, request: pb.SetHostRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Host:
        """Change a host's zone, labels, overcommit or reserve."""
        del context
        asked = HostChange(
            request.zone if request.HasField("zone") else None,
            dict(request.labels),
            list(request.removed_labels),
            request.overcommit_cpus if request.HasField("overcommit_cpus") else None,
            request.overcommit_memory if request.HasField("overcommit_memory") else None,
            request.reserve_memory if request.HasField("reserve_memory") else None,
        )
        return await self._change(lambda tx: host_records.set_host(tx, self._cloud, request.host_id, asked))

    async def DrainHost(  # noqa: N802 - the name of the RPC
        self, request: pb.DrainHostRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Host:
        """Cordon a host that is to become empty."""
        del context
        return await self._change(
            lambda tx: host_records.drain_host(
                tx, self._cloud, request.host_id, self._clock(), stop=request.stop, when=_stop_time(request)
            ),
        )

    async def _change(self, change: Callable[[Transaction], HostRecord]) -> pb.Host:
        """Change a host in a transaction, or refuse."""
        record = await self._database.run(change)
        return _message(record)

    async def RemoveHost(  # noqa: N802 - the name of the RPC
        self, request: pb.RemoveHostRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RemoveHostResponse:
        """Remove a host from the cloud."""
        del context
        await self._database.run(
            lambda tx: host_records.remove_host(tx, self._cloud, request.host_id, self._clock(), lost=request.lost)
        )
        return pb.RemoveHostResponse()

    async def DiscardUnclaimed(  # noqa: N802 - the name of the RPC
        self, request: pb.DiscardUnclaimedRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DiscardUnclaimedResponse:
        """Tell a host to remove its resources that this database does not know."""
        del context
        await self._database.run(lambda tx: host_records.discard_unclaimed(tx, request.host_id, list(request.ids)))
        return pb.DiscardUnclaimedResponse()

    async def ListUnclaimed(  # noqa: N802 - the name of the RPC
        self, request: pb.ListUnclaimedRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListUnclaimedResponse:
        """List what hosts have and this database does not know."""
        del context
        found = await self._database.run(lambda tx: unclaimed_resources.list_all(tx, request.host_id), writes=False)
        return pb.ListUnclaimedResponse(unclaimed=[unclaimed.message(each) for each in found])

    async def AdoptUnclaimed(  # noqa: N802 - the name of the RPC
        self, request: pb.AdoptUnclaimedRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AdoptUnclaimedResponse:
        """Adopt what hosts have and this database does not know, or say what would come of it."""
        del context
        notes = await self._database.run(
            lambda tx: adoption.adopt(tx, self._cloud, request.id, request.account_id, self._clock()),
            dry_run=request.dry_run,
        )
        return pb.AdoptUnclaimedResponse(notes=notes)

    async def RemoveUnclaimed(  # noqa: N802 - the name of the RPC
        self, request: pb.RemoveUnclaimedRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RemoveUnclaimedResponse:
        """Tell hosts to remove what this database does not know."""
        del context
        found = await self._database.run(lambda tx: unclaimed_resources.remove(tx, list(request.ids), request.host_id))
        return pb.RemoveUnclaimedResponse(removed=[unclaimed.message(each) for each in found])

    async def EndReturn(  # noqa: N802 - the name of the RPC
        self, request: pb.EndReturnRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EndReturnResponse:
        """Give out public addresses again: all hosts of a lost controller have joined this one."""
        del request, context
        return pb.EndReturnResponse(awaited=await self._database.run(unclaimed_addresses.end_return))


def _message(record: HostRecord) -> pb.Host:
    host = record.host
    return pb.Host(
        id=host.id,
        hostname=host.hostname,
        state=record.state,
        zone=host.zone,
        schedulable=host.schedulable,
        cpus=host.cpus,
        cpus_reserved=host.cpus_reserved,
        memory=host.memory,
        memory_reserved=host.memory_reserved,
        cores=host.cores,
        cpu_model=host.cpu_model,
        cpu_features=host.cpu_features.split(),
        numa_nodes=_nodes(host),
        labels=host.labels,
        overcommit_cpus=record.terms.overcommit_cpus,
        overcommit_memory=record.terms.overcommit_memory,
        reserve_memory=record.terms.reserve_memory,
        emulation_memory=record.terms.emulation_memory,
        cpus_offered=host.cpus_offered,
        memory_offered=host.memory_offered,
        virtualization=host.virtualization,
        virtualization_reason=host.virtualization_reason,
        architecture=host.architecture,
        emulates=host.emulates.split(),
        uefi=host.uefi,
        tpm=host.tpm,
        last_seen=_seconds(host.last_seen),
        last_seen_milliseconds=round(host.last_seen.timestamp() * 1000) if host.last_seen else 0,
        revision=host.revision,
        revision_reached=host.revision_reached,
        instances=record.instances,
        simulated=host.simulated,
        agent_version=host.agent_version,
        errors=[_error(error) for error in record.errors],
        error_count=record.error_count,
        unclaimed=[_error(error) for error in record.unclaimed],
        unclaimed_count=record.unclaimed_count,
        uses=[_use(use) for use in record.uses],
        pools=[
            pb.HostPool(
                name=pool.name,
                backend=pool.backend,
                total=pool.total,
                free=pool.free,
                promised=max(0, pool.provisioned),
                volume_types=pool.volume_types.split(),
                is_default=pool.is_default,
            )
            for pool in record.pools
        ],
        devices=[_device(device) for device in record.devices],
        whole_cores=[_core(core) for core in record.cores],
        certificate_ends=_seconds(host.certificate_ends),
        joins_until=_seconds(record.joins_until),
    )


def _error(error: HostError) -> pb.HostError:
    return pb.HostError(
        kind=desired_pb2.Kind.Name(desired_pb2.Kind.ValueType(error.kind)).removeprefix("KIND_").lower(),
        id=error.resource_id,
        error=error.error,
        since=int(error.since.timestamp()),
    )


def _nodes(host: Host) -> list[pb.HostNumaNode]:
    pages = host.huge_pages
    return [
        pb.HostNumaNode(number=number, threads=threads, memory=memory, huge_pages=pages.get(str(number), 0))
        for number, threads, memory in host.numa_nodes
    ]


def _core(core: HostCore) -> pb.HostCore:
    return pb.HostCore(
        number=core.number,
        numa_node=core.numa_node,
        threads=core.threads,
        gone=core.gone,
        instance_id=core.instance_id or "",
        huge_pages=core.huge_pages,
    )


def _use(use: HostUse) -> pb.HostUse:
    return pb.HostUse(kind=use.kind, id=use.resource_id, state=use.state, note=use.note, percent=use.percent)


def _stop_time(request: pb.DrainHostRequest) -> StopTime | None:
    if not request.at:
        return None
    return StopTime(datetime.fromtimestamp(request.at, UTC), _moment(request.latest))


def _seconds(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment else 0


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _device(device: HostDevice) -> pb.HostDevice:
    return pb.HostDevice(
        address=device.address,
        model=device.model,
        class_code=device.class_code,
        iommu_group=device.iommu_group,
        driver=device.driver,
        numa_node=device.numa_node,
        reset=device.reset,
        refusal=device.refusal,
        instance_id=device.instance_id or "",
    )
