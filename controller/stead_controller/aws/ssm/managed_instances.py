"""Instances that Systems Manager manages, which are none: its agent cannot register here."""

from stead_controller.aws.call import Call, Params, Result, operation


@operation("DescribeInstanceInformation", service="ssm", writes=False)
def describe_instance_information(call: Call, params: Params) -> Result:
    """List none; whichever are asked for are left out, as in Systems Manager."""
    del call, params
    return {"InstanceInformationList": []}
