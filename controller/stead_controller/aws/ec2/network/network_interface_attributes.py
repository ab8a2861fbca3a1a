"""DescribeNetworkInterfaceAttribute, ModifyNetworkInterfaceAttribute and ResetNetworkInterfaceAttribute."""

from collections.abc import Callable
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.network.network_interface_view import attribute_view
from stead_controller.aws.ec2.network.network_interfaces import idle_timeouts
from stead_controller.errors import InvalidCombination, MissingParameter, Unsupported
from stead_controller.resources.network import network_interface_attributes as attributes


@operation("DescribeNetworkInterfaceAttribute", writes=False)
def describe_network_interface_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of a network interface."""
    interface_id, attribute = params["NetworkInterfaceId"], params.get("Attribute", "")
    return attribute_view(attributes.describe(call.tx, call.caller, interface_id, attribute))


@operation("ModifyNetworkInterfaceAttribute")
def modify_network_interface_attribute(call: Call, params: Params) -> Result:
    """Change one attribute of a network interface."""
    given = [name for name in _SETTERS if name in params]
    if not given:
        raise InvalidCombination("No attributes specified.")
    if len(given) > 1:
        raise InvalidCombination("Fields for multiple attribute types specified")
    _SETTERS[given[0]](call, params["NetworkInterfaceId"], params[given[0]])
    return {}


@operation("ResetNetworkInterfaceAttribute")
def reset_network_interface_attribute(call: Call, params: Params) -> Result:
    """Reset the source/destination check to its default."""
    if params.get("SourceDestCheck") is None:
        raise MissingParameter("SourceDestCheck")
    attributes.set_source_dest_check(call.tx, call.caller, params["NetworkInterfaceId"], value=True)
    return {}


def _value(given: Params) -> Any:
    if "Value" not in given:
        raise MissingParameter("Value")
    return given["Value"]


def _set_attachment(call: Call, interface_id: str, given: Params) -> None:
    for name in ("AttachmentId", "DeleteOnTermination"):
        if name not in given:
            raise MissingParameter(f"Attachment.{name}")
    attributes.set_delete_on_termination(
        call.tx, call.caller, interface_id, given["AttachmentId"], value=given["DeleteOnTermination"]
    )


def _refuse(call: Call, interface_id: str, given: object) -> None:
    del call, interface_id, given
    raise Unsupported("This attribute cannot be changed here.")


_SETTERS: Final[dict[str, Callable[[Call, str, Any], None]]] = {
    "AssociatePublicIpAddress": lambda call, interface_id, given: attributes.set_associate_public_address(
        call.tx, call.caller, call.cloud, interface_id, call.now, value=given
    ),
    "AssociatedSubnetIds": _refuse,
    "Attachment": _set_attachment,
    "ConnectionTrackingSpecification": lambda call, interface_id, given: attributes.set_idle_timeouts(
        call.tx, call.caller, interface_id, idle_timeouts(given)
    ),
    "Description": lambda call, interface_id, given: attributes.set_description(
        call.tx, call.caller, interface_id, given.get("Value", "")
    ),
    "EnablePrimaryIpv6": lambda call, interface_id, given: attributes.set_primary_ipv6(
        call.tx, call.caller, interface_id, value=given
    ),
    "EnaSrdSpecification": _refuse,
    "Groups": lambda call, interface_id, given: attributes.set_groups(call.tx, call.caller, interface_id, given),
    "SourceDestCheck": lambda call, interface_id, given: attributes.set_source_dest_check(
        call.tx, call.caller, interface_id, value=_value(given)
    ),
}
