"""AllocateHosts, DescribeHosts, ModifyHosts and ReleaseHosts."""

from collections.abc import Sequence

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.fleet.dedicated_host_view import dedicated_host_view
from stead_controller.aws.errors import translate
from stead_controller.aws.protocol.codec import Wire
from stead_controller.resources.fleet import dedicated_hosts
from stead_controller.resources.fleet.dedicated_hosts import (
    DedicatedHostChange,
    DedicatedHostRequest,
    HostOutcome,
    TypesRequest,
    UpkeepRequest,
)


@operation("AllocateHosts")
def allocate_hosts(call: Call, params: Params) -> Result:
    """Give the caller hosts for itself alone."""
    request = DedicatedHostRequest(
        types=_types(params),
        count=params.get("Quantity"),
        zone=params.get("AvailabilityZone"),
        zone_id=params.get("AvailabilityZoneId"),
        auto_placement=params.get("AutoPlacement", "off"),
        upkeep=_upkeep(params),
        tags=tags_on_create(params, "dedicated-host")["dedicated-host"],
        repeatable=repeatable("AllocateHosts", params),
    )
    return {"HostIds": dedicated_hosts.allocate(call.tx, call.caller, call.cloud, request, call.now)}


@operation("DescribeHosts", writes=False)
def describe_hosts(call: Call, params: Params) -> Result:
    """List the caller's Dedicated Hosts."""
    known = dedicated_hosts.FILTERS
    asked, paged = selection.paged(call, params, "DescribeHosts", known, ids="HostIds", most=500)
    found = dedicated_hosts.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("Hosts", found, paged, lambda one: (one.row.id,), dedicated_host_view)


@operation("ModifyHosts")
def modify_hosts(call: Call, params: Params) -> Result:
    """Change for which instances Dedicated Hosts are."""
    asked = DedicatedHostChange(params.get("AutoPlacement"), _types(params), _upkeep(params))
    return _outcomes(call, dedicated_hosts.modify(call.tx, call.caller, params["HostIds"], asked))


@operation("ReleaseHosts")
def release_hosts(call: Call, params: Params) -> Result:
    """Give Dedicated Hosts back that have no instances."""
    return _outcomes(call, dedicated_hosts.release(call.tx, call.caller, params["HostIds"], call.now))


def _types(params: Params) -> TypesRequest:
    return TypesRequest(params.get("InstanceType"), params.get("InstanceFamily"))


def _upkeep(params: Params) -> UpkeepRequest:
    return UpkeepRequest(params.get("HostRecovery"), params.get("HostMaintenance"))


def _outcomes(call: Call, found: Sequence[HostOutcome]) -> Result:
    """Show what was done for each host; the codes of what was not begin with `Client.`, as EC2's do here."""
    refused = []
    for one in found:
        if one.error is not None:
            error = translate(one.error, "ec2", call.request_id, Wire.EC2)
            words = {"Code": f"Client.{error.code}", "Message": error.message}
            refused.append({"ResourceId": one.host_id, "Error": words})
    return {"Successful": [one.host_id for one in found if one.error is None], "Unsuccessful": refused}
