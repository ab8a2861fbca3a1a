"""The `Compute` service: the instances of an account over gRPC, with changes pushed."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import grpc

from stead_controller.clock import Clock
from stead_controller.errors import NoCapacity, NotAuthenticated, SteadError
from stead_controller.operator.events import InstanceEvents
from stead_controller.operator.refusals import partly_done
from stead_controller.operator.transactions import Transactions
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam.accounts import OpenedKey
from stead_controller.resources.instances import instance_summaries, spot_interruptions
from stead_controller.resources.instances.instance_states import StateChange
from stead_controller.resources.instances.instance_summaries import InstanceSummary
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.reboot_instances import reboot_instances
from stead_controller.resources.instances.run_instances import run_instances
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_proto import tls
from stead_proto.v1 import compute_pb2 as pb
from stead_proto.v1 import compute_pb2_grpc

type FindKey = Callable[[str], Awaitable[OpenedKey | None]]
type Context = grpc.aio.ServicerContext[Any, Any]


class Authorize(Protocol):
    """Checks whether a caller may call EC2's operation of the same name with the same parameters."""

    def __call__(
        self, tx: Transaction, caller: Caller, operation: str, params: Mapping[str, Any], *, source_ip: str
    ) -> None:
        """Raise NotAuthorized to refuse."""


class AccountLimits(Protocol):
    """Limits how often an account may call."""

    def check(self, account_id: str, service: str, action: str, params: Mapping[str, Any]) -> None:
        """Raise TooManyRequests to refuse."""


class AddressLimits(Protocol):
    """Limits how often an address may fail to authenticate."""

    def check(self, address: str, access_key_id: str) -> None:
        """Raise TooManyRequests to refuse."""

    def welcome(self, address: str, access_key_id: str) -> None:
        """Record that a key was valid there."""

    def failed(self, address: str, refusal: SteadError) -> SteadError:
        """Count a failed attempt, and return the error for the answer."""


class Compute(compute_pb2_grpc.ComputeServicer):
    """Runs, lists, changes and watches the caller's instances."""

    def __init__(
        self,
        database: Transactions,
        cloud: Cloud,
        events: InstanceEvents,
        find_key: FindKey,
        clock: Clock,
        *,
        authorize: Authorize,
        throttle: AccountLimits,
        failed_logins: AddressLimits,
        until_hosts_reported: Callable[[], Awaitable[None]],
    ) -> None:
        """Store the dependencies; changes wait for `until_hosts_reported`."""
        self._database = database
        self._cloud = cloud
        self._events = events
        self._find_key = find_key
        self._clock = clock
        self._authorize = authorize
        self._throttle = throttle
        self._failed_logins = failed_logins
        self._until_hosts_reported = until_hosts_reported

    async def RunInstances(  # noqa: N802 - the name of the RPC
        self, request: pb.RunInstancesRequest, context: Context
    ) -> pb.InstanceList:
        """Launch instances."""
        caller = await self._caller(context, "RunInstances", most=request.max_count or request.min_count or 1)
        launch = LaunchRequest(
            image_id=request.image_id,
            instance_type=request.instance_type,
            min_count=request.min_count or 1,
            max_count=request.max_count or request.min_count or 1,
            key_name=request.key_name or None,
            subnet_id=request.subnet_id or None,
            group_ids=tuple(request.security_group_ids),
            user_data=request.user_data or None,
            tags={"instance": dict(request.tags)},
            client_token=request.client_token,
            digest=request.SerializeToString(deterministic=True).hex()[:64],
        )
        may = self._may(context, caller, "RunInstances", _as_ec2(request, launch))

        def run(tx: Transaction) -> list[InstanceSummary]:
            may(tx)
            reservation = run_instances(tx, caller, self._cloud, launch, self._clock())
            return instance_summaries.of_reservation(tx, caller.account_id, reservation)

        return _list(await self._do(run))

    async def DescribeInstances(  # noqa: N802 - the name of the RPC
        self, request: pb.DescribeInstancesRequest, context: Context
    ) -> pb.InstanceList:
        """List the caller's instances."""
        caller = await self._caller(context, "DescribeInstances", request.instance_ids)
        await self._do(self._may(context, caller, "DescribeInstances", {}), writes=False)
        return _list(await self._summaries(caller, request.instance_ids))

    async def StartInstances(self, request: pb.InstanceIds, context: Context) -> pb.InstanceList:  # noqa: N802 - RPC
        """Start stopped instances."""
        caller = await self._caller(context, "StartInstances", request.instance_ids)
        return await self._change(
            context,
            caller,
            "StartInstances",
            request.instance_ids,
            lambda tx: start_instances(tx, caller, self._cloud, request.instance_ids, self._clock()),
        )

    async def StopInstances(  # noqa: N802 - the name of the RPC
        self, request: pb.StopInstancesRequest, context: Context
    ) -> pb.InstanceList:
        """Stop running instances."""
        caller = await self._caller(context, "StopInstances", request.instance_ids)
        return await self._change(
            context,
            caller,
            "StopInstances",
            request.instance_ids,
            lambda tx: stop_instances(tx, caller, request.instance_ids, self._clock(), skip_shutdown=request.force),
        )

    async def RebootInstances(  # noqa: N802 - the name of the RPC
        self, request: pb.InstanceIds, context: Context
    ) -> pb.RebootInstancesResponse:
        """Reboot running instances."""
        caller = await self._caller(context, "RebootInstances", request.instance_ids)
        may = self._may(context, caller, "RebootInstances", {"InstanceIds": list(request.instance_ids)})

        def reboot(tx: Transaction) -> None:
            may(tx)
            reboot_instances(tx, caller, request.instance_ids)

        await self._do(reboot)
        return pb.RebootInstancesResponse()

    async def TerminateInstances(  # noqa: N802 - the name of the RPC
        self, request: pb.InstanceIds, context: Context
    ) -> pb.InstanceList:
        """Terminate instances."""
        caller = await self._caller(context, "TerminateInstances", request.instance_ids)
        return await self._change(
            context,
            caller,
            "TerminateInstances",
            request.instance_ids,
            lambda tx: terminate_instances(tx, caller, request.instance_ids, self._clock()),
        )

    async def Watch(  # noqa: N802 - the name of the RPC
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.InstanceEvent]:
        """Send the instances as they are, then each as it changes."""
        caller = await self._caller(context, "DescribeInstances")
        await self._do(self._may(context, caller, "DescribeInstances", {}), writes=False)
        watched = frozenset(request.instance_ids)
        with self._events.watch() as watcher:
            for summary in await self._summaries(caller, watched):
                yield pb.InstanceEvent(instance=_message(summary), initial=True)
            yield pb.InstanceEvent(synced=True)
            while True:
                changed = await watcher.take()
                relevant = changed & watched if watched else changed
                for summary in await self._summaries(caller, relevant) if relevant else ():
                    yield pb.InstanceEvent(instance=_message(summary))

    async def _caller(
        self, context: Context, operation: str, instance_ids: Collection[str] = (), *, most: int = 0
    ) -> Caller:
        """Authenticate a caller and apply its rate limit; `operation` is EC2's, `most` the number of launches."""
        metadata = {str(name): str(value) for name, value in context.invocation_metadata() or ()}
        address, key_id = tls.address_of(context), metadata.get("stead-access-key", "")
        self._failed_logins.check(address, key_id)
        key = await self._find_key(key_id)
        secret = key.secret if key is not None else ""
        given = metadata.get("stead-secret-key", "")
        if not hmac.compare_digest(secret.encode(), given.encode()) or key is None or not key.active:
            refusal = NotAuthenticated("no such access key, or another secret")
            raise self._failed_logins.failed(address, refusal)
        self._failed_logins.welcome(address, key_id)
        params: dict[str, Any] = {"InstanceIds": list(instance_ids), **({"MaxCount": most} if most else {})}
        self._throttle.check(key.caller.account_id, "ec2", operation, params)
        return key.caller

    def _may(
        self, context: Context, caller: Caller, operation: str, params: Mapping[str, Any]
    ) -> Callable[[Transaction], None]:
        """Return a function that raises NotAuthorized inside a transaction, unless the caller may do this."""
        source_ip = tls.address_of(context)
        return lambda tx: self._authorize(tx, caller, operation, params, source_ip=source_ip)

    async def _do[T](self, function: Callable[[Transaction], T], *, writes: bool = True) -> T:
        if writes:
            await self._until_hosts_reported()
        try:
            return await self._database.run(function, writes=writes)
        except NoCapacity as refusal:
            await self._interrupt(refusal.ending)
            raise

    async def _interrupt(self, instance_ids: Sequence[str]) -> None:
        """Give notice to the Spot Instances that are to end for a launch that was refused, which undid its changes."""
        if instance_ids:
            now = self._clock()
            await self._database.run(lambda tx: spot_interruptions.begin(tx, instance_ids, now))

    async def _change(
        self,
        context: Context,
        caller: Caller,
        operation: str,
        instance_ids: Collection[str],
        function: Callable[[Transaction], list[StateChange]],
    ) -> pb.InstanceList:
        may = self._may(context, caller, operation, {"InstanceIds": list(instance_ids)})

        def change(tx: Transaction) -> list[StateChange]:
            may(tx)
            return function(tx)

        changes = await self._do(change)
        with partly_done():
            return _list(await self._summaries(caller, [change.instance_id for change in changes]))

    async def _summaries(self, caller: Caller, instance_ids: Collection[str]) -> list[InstanceSummary]:
        return await self._database.run(
            lambda tx: instance_summaries.summaries(tx, caller.account_id, instance_ids), writes=False
        )


def _as_ec2(request: pb.RunInstancesRequest, launch: LaunchRequest) -> dict[str, Any]:
    """Return the parameters of EC2's operation for a launch, as far as policies examine them."""
    params: dict[str, Any] = {
        "ImageId": request.image_id,
        "InstanceType": request.instance_type,
        "MinCount": launch.min_count,
        "MaxCount": launch.max_count,
        "KeyName": request.key_name,
        "SubnetId": request.subnet_id,
        "SecurityGroupIds": list(request.security_group_ids),
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in sorted(request.tags.items())],
            }
        ],
    }
    return {name: value for name, value in params.items() if value}


def _list(summaries: list[InstanceSummary]) -> pb.InstanceList:
    return pb.InstanceList(instances=[_message(summary) for summary in summaries])


def _message(summary: InstanceSummary) -> pb.Instance:
    return pb.Instance(
        instance_id=summary.instance_id,
        state=summary.state,
        instance_type=summary.instance_type,
        image_id=summary.image_id,
        private_address=summary.private_address,
        public_address=summary.public_address,
        vpc_id=summary.vpc_id,
        subnet_id=summary.subnet_id,
        launch_time=int(summary.launch_time.timestamp() * 1000),
        tags=summary.tags,
        state_reason=summary.state_reason,
        spot=summary.spot,
        interruption_time=0 if summary.interruption is None else int(summary.interruption.timestamp()),
    )
