"""Private host names of instances."""

from collections.abc import Mapping
from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidCombination
from stead_controller.resources.network import private_names
from stead_controller.resources.network.private_names import NameOptions


@operation("ModifyPrivateDnsNameOptions")
def modify_private_dns_name_options(call: Call, params: Params) -> Result:
    """Change the host name settings of an instance."""
    request = name_options(params, "PrivateDnsHostnameType")
    if request == NameOptions():
        raise InvalidCombination("No attributes specified.")
    private_names.modify(call.tx, call.caller, params["InstanceId"], request)
    return {"Return": True}


def name_options(given: Mapping[str, Any], hostname_type: str) -> NameOptions:
    """Read the host name settings; `hostname_type` is the member with the type of host name."""
    return NameOptions(
        hostname_type=given.get(hostname_type),
        a_record=given.get("EnableResourceNameDnsARecord"),
        aaaa_record=given.get("EnableResourceNameDnsAAAARecord"),
    )
