"""Launch configurations, and what they say as the parameters of RunInstances."""

import json
from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.instances.run_instances import launch_request
from stead_controller.errors import MissingParameter, Unsupported
from stead_controller.resources.instances.run_instances import check_request
from stead_controller.resources.scaling import launch_configurations
from stead_controller.resources.scaling.launch_configurations import ShownConfiguration

_NAME: Final = "LaunchConfigurationName"
_MOST: Final = 100
_DEFAULT: Final = 50
# What RunInstances has under the same name.
_SAME: Final = ("ImageId", "KeyName", "UserData", "InstanceType", "EbsOptimized")
_STORED: Final = (
    *_SAME,
    "SecurityGroups",
    "BlockDeviceMappings",
    "InstanceMonitoring",
    "IamInstanceProfile",
    "AssociatePublicIpAddress",
    "PlacementTenancy",
    "MetadataOptions",
)
_UNBUILT: Final = (
    "ClassicLinkVPCId",
    "ClassicLinkVPCSecurityGroups",
    "InstanceId",
    "KernelId",
    "RamdiskId",
    "SpotPrice",
)
_EMPTY: Final = {"KernelId": "", "RamdiskId": "", "ClassicLinkVPCSecurityGroups": []}


@operation("CreateLaunchConfiguration", service="autoscaling")
def create(call: Call, params: Params) -> Result:
    """Make a launch configuration."""
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    for name in ("ImageId", "InstanceType"):
        if not params.get(name):
            raise MissingParameter(name)
    data = {name: value for name in _STORED if (value := params.get(name)) not in (None, "", [])}
    request = launch_request({**run_parameters(data), "MinCount": 1, "MaxCount": 1})
    check_request(request)
    launch_configurations.create(call.tx, call.caller, params[_NAME], json.dumps(data), request, now=call.now)
    return {}


@operation("DeleteLaunchConfiguration", service="autoscaling")
def delete(call: Call, params: Params) -> Result:
    """Delete a launch configuration."""
    launch_configurations.remove(call.tx, call.caller, params[_NAME])
    return {}


@operation("DescribeLaunchConfigurations", service="autoscaling", writes=False)
def describe_configurations(call: Call, params: Params) -> Result:
    """List launch configurations."""
    operation_name = "DescribeLaunchConfigurations"
    page = describe.page(call, params, operation_name, size="MaxRecords", at_least=1, at_most=_MOST, default=_DEFAULT)
    found = launch_configurations.describe(
        call.tx,
        call.caller,
        params.get("LaunchConfigurationNames", ()),
        after=page.after[0] if page.after else None,
        limit=page.fetch or _DEFAULT,
    )
    shown, token = page.cut(found, lambda row: (row.name,))
    return {"LaunchConfigurations": [_view(call, row) for row in shown], "NextToken": token}


def run_parameters(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a launch configuration says, as RunInstances' parameters."""
    params: dict[str, Any] = {name: data[name] for name in _SAME if name in data}
    if "IamInstanceProfile" in data:
        given = data["IamInstanceProfile"]
        params["IamInstanceProfile"] = {"Arn" if given.startswith("arn:") else "Name": given}
    if "InstanceMonitoring" in data:
        params["Monitoring"] = {"Enabled": data["InstanceMonitoring"].get("Enabled", True)}
    else:
        params["Monitoring"] = {"Enabled": True}  # which is a launch configuration's default
    if "PlacementTenancy" in data:
        params["Placement"] = {"Tenancy": data["PlacementTenancy"]}
    if "MetadataOptions" in data:
        params["MetadataOptions"] = data["MetadataOptions"]
    if "BlockDeviceMappings" in data:
        params["BlockDeviceMappings"] = [_device(one) for one in data["BlockDeviceMappings"]]
    groups = list(data.get("SecurityGroups", ()))
    if "AssociatePublicIpAddress" in data:
        interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": data["AssociatePublicIpAddress"]}
        params["NetworkInterfaces"] = [interface | ({"Groups": groups} if groups else {})]
    elif groups:
        params["SecurityGroupIds" if groups[0].startswith("sg-") else "SecurityGroups"] = groups
    return params


def _device(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as RunInstances has it, where NoDevice is an empty text."""
    device = {name: given[name] for name in given if name != "NoDevice"}
    return device | ({"NoDevice": ""} if given.get("NoDevice") else {})


def _view(call: Call, row: ShownConfiguration) -> Result:
    data = json.loads(row.data)
    return {
        **_EMPTY,
        "KeyName": "",
        "UserData": "",
        "SecurityGroups": [],
        "BlockDeviceMappings": [],
        "EbsOptimized": False,
        **data,
        "LaunchConfigurationName": row.name,
        "LaunchConfigurationARN": launch_configurations.arn_of(call.cloud, row.account_id, row.id, row.name),
        "InstanceMonitoring": data.get("InstanceMonitoring", {"Enabled": True}),
        "CreatedTime": row.created,
    }
