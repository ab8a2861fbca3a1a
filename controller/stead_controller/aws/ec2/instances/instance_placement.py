"""ModifyInstancePlacement."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.instances.run_instances import group_request, tenancy_request
from stead_controller.resources.instances import instance_placement


@operation("ModifyInstancePlacement")
def modify(call: Call, params: Params) -> Result:
    """Change the placement group, the tenancy and the Dedicated Host of a stopped instance."""
    group, tenancy = group_request(params), tenancy_request(params)
    instance_placement.modify(call.tx, call.caller, params["InstanceId"], group, tenancy)
    return {"Return": True}
