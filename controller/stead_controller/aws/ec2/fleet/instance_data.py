"""GetLaunchTemplateData."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.fleet.instance_data_view import instance_data_view
from stead_controller.resources.fleet import instance_parameters


@operation("GetLaunchTemplateData", writes=False)
def get_launch_template_data(call: Call, params: Params) -> Result:
    """Show an instance as the data of a template."""
    found = instance_parameters.describe(call.tx, call.caller, call.cloud, params["InstanceId"])
    return {"LaunchTemplateData": instance_data_view(found)}
