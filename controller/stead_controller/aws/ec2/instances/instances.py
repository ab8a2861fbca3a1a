"""DescribeInstances."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.instance_view import reservation_view
from stead_controller.resources.instances import instance_filters, instances


@operation("DescribeInstances", writes=False)
def describe(call: Call, params: Params) -> Result:
    """List instances, by reservation."""
    known = instance_filters.conditions(call.cloud)
    asked, page = selection.paged(call, params, "DescribeInstances", known, ids="InstanceIds")
    ids = instances.select_ids(call.tx, call.caller, call.cloud, asked)
    shown, token = page.cut(ids, lambda instance_id: (instance_id,))
    reservations = instances.reservations(call.tx, call.caller, call.cloud, shown)
    return {"Reservations": [reservation_view(one) for one in reservations], "NextToken": token}
