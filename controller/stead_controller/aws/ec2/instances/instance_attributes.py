"""Attributes of instances, and the options of their metadata service and of their maintenance."""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.instances.instance_attribute_view import instance_attribute_view
from stead_controller.aws.ec2.instances.metadata_options_view import metadata_options_view
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.instances import instance_attributes as attributes
from stead_controller.resources.instances.instance_attributes import DeviceChange, MetadataChange


@operation("DescribeInstanceAttribute", writes=False)
def describe_instance_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of an instance."""
    return instance_attribute_view(attributes.describe(call.tx, call.caller, params["InstanceId"], params["Attribute"]))


@operation("ModifyInstanceAttribute")
def modify_instance_attribute(call: Call, params: Params) -> Result:
    """Change one attribute of an instance."""
    given = [name for name in _SETTERS if name in params]
    if "Attribute" in params:
        return _modify_by_name(call, params, given)
    if not given:
        raise InvalidCombination("No attributes specified.")
    if len(given) > 1:
        raise InvalidCombination("Fields for multiple attribute types specified")
    _SETTERS[given[0]](call, params["InstanceId"], params[given[0]])
    return {}


@operation("ResetInstanceAttribute")
def reset_instance_attribute(call: Call, params: Params) -> Result:
    """Set an attribute back to its default."""
    attribute = params["Attribute"]
    if attribute in ("kernel", "ramdisk"):
        raise Unsupported(f"Instances have no {attribute} of their own here.")
    if attribute != "sourceDestCheck":
        raise InvalidParameter(f"Value ({attribute}) for parameter attribute is invalid. It cannot be reset.")
    attributes.set_source_dest_check(call.tx, call.caller, params["InstanceId"], value=True)
    return {}


@operation("ModifyInstanceMetadataOptions")
def modify_instance_metadata_options(call: Call, params: Params) -> Result:
    """Change options of an instance's metadata service."""
    change = MetadataChange(
        enabled=choice(params, "HttpEndpoint", "enabled", "disabled"),
        tokens_required=choice(params, "HttpTokens", "required", "optional"),
        hop_limit=params.get("HttpPutResponseHopLimit"),
        tags=choice(params, "InstanceMetadataTags", "enabled", "disabled"),
        ipv6=choice(params, "HttpProtocolIpv6", "enabled", "disabled"),
    )
    instance = attributes.set_metadata_options(call.tx, call.caller, params["InstanceId"], change)
    shown = metadata_options_view(instance) | {"State": "pending"}
    return {"InstanceId": params["InstanceId"], "InstanceMetadataOptions": shown}


@operation("ModifyInstanceMaintenanceOptions")
def modify_instance_maintenance_options(call: Call, params: Params) -> Result:
    """Change whether an instance is recovered when its host fails; a reboot never migrates it to another host."""
    recovers = choice(params, "AutoRecovery", "default", "disabled")
    migrates = choice(params, "RebootMigration", "default", "disabled")
    recovers = attributes.set_auto_recovery(call.tx, call.caller, params["InstanceId"], recovers)
    if "AutoRecovery" not in params and "RebootMigration" not in params:
        raise MissingParameter("AutoRecovery")
    if migrates is False:
        raise Unsupported("The reboot of an instance migrates it to no other host, so this cannot be disabled.")
    shown = {"AutoRecovery": "default" if recovers else "disabled", "RebootMigration": "default"}
    return {"InstanceId": params["InstanceId"], **{name: shown[name] for name in shown if name in params}}


def choice(params: Mapping[str, Any], name: str, yes: str, no: str) -> bool | None:
    """Read a word that means yes or no, None if it is absent; raises InvalidParameter for another word."""
    value = params.get(name)
    if value not in (None, yes, no):
        raise InvalidParameter(f"Value ({value}) for parameter {name} is invalid. It must be {yes} or {no}")
    return None if value is None else bool(value == yes)


def _value(given: Mapping[str, Any]) -> Any:
    if "Value" not in given:
        raise MissingParameter("Value")
    return given["Value"]


def _devices(call: Call, instance_id: str, mappings: list[Mapping[str, Any]]) -> None:
    changes = []
    for mapping in mappings:
        if "VirtualName" in mapping or "NoDevice" in mapping:
            raise Unsupported("Only DeleteOnTermination of attached volumes can be changed.")
        if "DeviceName" not in mapping:
            raise MissingParameter("DeviceName")
        delete = mapping.get("Ebs", {}).get("DeleteOnTermination", True)
        changes.append(DeviceChange(mapping["DeviceName"], delete))
    attributes.set_delete_on_termination(call.tx, call.caller, instance_id, changes)


def _refuse(call: Call, instance_id: str, given: object) -> None:
    del call, instance_id, given
    raise Unsupported("This attribute cannot be changed here.")


def _ena_support(call: Call, instance_id: str, given: Mapping[str, Any]) -> None:
    if not _value(given):
        raise Unsupported("Enhanced networking cannot be switched off.")
    attributes.describe(call.tx, call.caller, instance_id, "enaSupport")


type _Setter = Callable[[Call, str, Any], None]

_SETTERS: Final[dict[str, _Setter]] = {
    "BlockDeviceMappings": _devices,
    "DisableApiStop": lambda call, instance_id, given: attributes.set_stop_protection(
        call.tx, call.caller, instance_id, _value(given)
    ),
    "DisableApiTermination": lambda call, instance_id, given: attributes.set_termination_protection(
        call.tx, call.caller, instance_id, _value(given)
    ),
    "EbsOptimized": lambda call, instance_id, given: attributes.set_ebs_optimized(
        call.tx, call.caller, instance_id, _value(given)
    ),
    "EnaSupport": _ena_support,
    "EnclaveOptions": _refuse,
    "Groups": lambda call, instance_id, given: attributes.set_groups(call.tx, call.caller, instance_id, given),
    "InstanceInitiatedShutdownBehavior": lambda call, instance_id, given: attributes.set_shutdown_behavior(
        call.tx, call.caller, instance_id, _value(given)
    ),
    "InstanceType": lambda call, instance_id, given: attributes.set_instance_type(
        call.tx, call.caller, instance_id, _value(given)
    ),
    "Kernel": _refuse,
    "Ramdisk": _refuse,
    "SourceDestCheck": lambda call, instance_id, given: attributes.set_source_dest_check(
        call.tx, call.caller, instance_id, _value(given)
    ),
    "SriovNetSupport": _refuse,
    "UserData": lambda call, instance_id, given: attributes.set_user_data(
        call.tx, call.caller, instance_id, given.get("Value", b"")
    ),
}

# The older form: an attribute by name, and its value as text.
_BOOLEANS: Final = {
    "disableApiStop": "DisableApiStop",
    "disableApiTermination": "DisableApiTermination",
    "ebsOptimized": "EbsOptimized",
    "enaSupport": "EnaSupport",
    "sourceDestCheck": "SourceDestCheck",
}
_TEXTS: Final = {
    "instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior",
    "instanceType": "InstanceType",
    "kernel": "Kernel",
    "ramdisk": "Ramdisk",
    "sriovNetSupport": "SriovNetSupport",
}


def _modify_by_name(call: Call, params: Params, given: list[str]) -> Result:
    attribute, text = params["Attribute"], params.get("Value")
    listed = {"blockDeviceMapping": "BlockDeviceMappings", "groupSet": "Groups"}.get(attribute)
    if given and given != [listed]:
        raise InvalidCombination("Fields for multiple attribute types specified")
    if listed is not None:
        if listed not in params:
            raise MissingParameter(listed)
        _SETTERS[listed](call, params["InstanceId"], params[listed])
        return {}
    if attribute not in (*_BOOLEANS, *_TEXTS, "userData"):
        raise InvalidParameter(f"Value ({attribute}) for parameter attribute is invalid. It cannot be modified.")
    if text is None:
        raise MissingParameter("Value")
    if attribute in _BOOLEANS:
        if text.lower() not in ("true", "false"):
            raise InvalidParameter(f"Value ({text}) for parameter value is invalid. Expecting true or false.")
        _SETTERS[_BOOLEANS[attribute]](call, params["InstanceId"], {"Value": text.lower() == "true"})
    elif attribute in _TEXTS:
        _SETTERS[_TEXTS[attribute]](call, params["InstanceId"], {"Value": text})
    else:
        _SETTERS["UserData"](call, params["InstanceId"], {"Value": _decoded(text)})
    return {}


def _decoded(text: str) -> bytes:
    try:
        return b64decode("".join(text.split()), validate=True)
    except (Base64Error, ValueError):
        raise InvalidParameter("Invalid BASE64 encoding of user data.") from None
