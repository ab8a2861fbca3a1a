"""DescribeInstanceStatus."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.instance_status_view import instance_status_view
from stead_controller.resources.instances import instance_status


@operation("DescribeInstanceStatus", writes=False)
def describe_instance_status(call: Call, params: Params) -> Result:
    """List the status of running instances, or of all."""
    known = instance_status.conditions(call.cloud)
    asked, page = selection.paged(call, params, "DescribeInstanceStatus", known, ids="InstanceIds")
    only_running = not params.get("IncludeAllInstances", False)
    found = instance_status.describe(call.tx, call.caller, call.cloud, asked, only_running=only_running)
    return selection.answered("InstanceStatuses", found, page, lambda one: (one.instance_id,), instance_status_view)
