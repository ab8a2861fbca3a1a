"""DescribeInstanceStatus and DescribeInstanceCreditSpecifications."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.instance_status_view import credit_specification_view, instance_status_view
from stead_controller.resources.instances import instance_status


@operation("DescribeInstanceStatus", writes=False)
def describe_instance_status(call: Call, params: Params) -> Result:
    """List the status of running instances, or of all."""
    known = instance_status.conditions(call.cloud)
    asked, page = selection.paged(call, params, "DescribeInstanceStatus", known, ids="InstanceIds")
    only_running = not params.get("IncludeAllInstances", False)
    found = instance_status.describe(call.tx, call.caller, call.cloud, asked, only_running=only_running)
    return selection.answered("InstanceStatuses", found, page, lambda one: (one.instance_id,), instance_status_view)


@operation("DescribeInstanceCreditSpecifications", writes=False)
def describe_credit_specifications(call: Call, params: Params) -> Result:
    """List how burstable instances spend CPU credits."""
    asked, page = selection.paged(
        call, params, "DescribeInstanceCreditSpecifications", ("instance-id",), ids="InstanceIds"
    )
    found = instance_status.credit_specifications(call.tx, call.caller, call.cloud, asked)
    return selection.answered(
        "InstanceCreditSpecifications", found, page, lambda instance_id: (instance_id,), credit_specification_view
    )
