"""ModifyInstancePlacement."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.instances.run_instances import group_request
from stead_controller.resources.instances import instance_placement


@operation("ModifyInstancePlacement")
def modify(call: Call, params: Params) -> Result:
    """Change the placement group of a stopped instance."""
    instance_placement.modify(call.tx, call.caller, params["InstanceId"], group_request(params))
    return {"Return": True}
