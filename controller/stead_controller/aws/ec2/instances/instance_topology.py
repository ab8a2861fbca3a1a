"""DescribeInstanceTopology."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.request.conditions import Selection
from stead_controller.resources.instances import instance_topology
from stead_controller.resources.instances.instance_topology import DescribedTopology

_DEFAULT: Final = 20
_MOST: Final = 100


@operation("DescribeInstanceTopology", writes=False)
def describe_instance_topology(call: Call, params: Params) -> Result:
    """List where instances are, a page at a time."""
    ids = tuple(params.get("InstanceIds", ()))
    default = None if ids else _DEFAULT
    page = describe.page(
        call, params, "DescribeInstanceTopology", ids="InstanceIds", at_least=1, at_most=_MOST, default=default
    )
    filters = describe.filters(params, instance_topology.conditions(call.cloud), tags=False)
    asked = Selection(ids, filters, page.after, page.fetch)
    found = instance_topology.describe(call.tx, call.caller, call.cloud, asked, params.get("GroupNames", ()))
    return selection.answered("Instances", found, page, lambda one: (one.instance_id,), _view)


def _view(found: DescribedTopology) -> Result:
    return {
        "InstanceId": found.instance_id,
        "InstanceType": found.instance_type,
        "GroupName": found.group or None,
        "AvailabilityZone": found.zone,
        "ZoneId": found.zone_id,
        "NetworkNodes": list(found.nodes),
    }
