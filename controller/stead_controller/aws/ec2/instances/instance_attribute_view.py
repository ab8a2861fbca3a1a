"""One attribute of an instance as EC2 shows it."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.instances.instance_view import block_devices_view, groups_view
from stead_controller.resources.instances.instance_attributes import DescribedAttribute


def instance_attribute_view(found: DescribedAttribute) -> Result:
    """Show one attribute; the answer contains no others."""
    member, view = _VIEWS[found.attribute]
    return {"InstanceId": found.instance_id, member: view(found.value)}


def _value(value: Any) -> Result:
    return {"Value": value}


def _user_data(value: bytes | None) -> Result:
    return {"Value": None if value is None else b64encode(value).decode("ascii")}


# By attribute name: the member of the answer, and the function that shows the value.
_VIEWS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "blockDeviceMapping": ("BlockDeviceMappings", block_devices_view),
    "disableApiStop": ("DisableApiStop", _value),
    "disableApiTermination": ("DisableApiTermination", _value),
    "ebsOptimized": ("EbsOptimized", _value),
    "enaSupport": ("EnaSupport", _value),
    "enclaveOptions": ("EnclaveOptions", lambda enabled: {"Enabled": enabled}),
    "groupSet": ("Groups", groups_view),
    "instanceInitiatedShutdownBehavior": ("InstanceInitiatedShutdownBehavior", _value),
    "instanceType": ("InstanceType", _value),
    "kernel": ("KernelId", _value),
    "productCodes": ("ProductCodes", list),
    "ramdisk": ("RamdiskId", _value),
    "rootDeviceName": ("RootDeviceName", _value),
    "sourceDestCheck": ("SourceDestCheck", _value),
    "sriovNetSupport": ("SriovNetSupport", _value),
    "userData": ("UserData", _user_data),
}
