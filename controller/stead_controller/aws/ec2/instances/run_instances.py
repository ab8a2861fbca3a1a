"""RunInstances: converts the request to a LaunchRequest, and answers the new reservation."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from stead_controller.aws import reading
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, request_digest, tags_on_create
from stead_controller.aws.ec2.instances import cpu_options, instance_requirements, launch_parameters, market_options
from stead_controller.aws.ec2.instances.instance_attributes import choice
from stead_controller.aws.ec2.instances.instance_profiles import profile_name
from stead_controller.aws.ec2.instances.instance_reservations import reservation_request
from stead_controller.aws.ec2.instances.instance_view import reservation_view
from stead_controller.aws.ec2.instances.launch_parameters import Overridden
from stead_controller.aws.ec2.network.network_interfaces import address_request, idle_timeouts
from stead_controller.aws.ec2.network.private_names import name_options
from stead_controller.aws.ec2.storage import block_devices
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, NotFound, Unsupported
from stead_controller.request import client_tokens
from stead_controller.resources.instances import instances, launch_choices, launched
from stead_controller.resources.instances.instance_groups import GroupRequest
from stead_controller.resources.instances.instance_tenancies import TenancyRequest
from stead_controller.resources.instances.launch_choices import Choices
from stead_controller.resources.instances.launch_interfaces import InterfaceRequest
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.metadata_options import MetadataOptions
from stead_controller.resources.instances.run_instances import launch

DEFAULT_TYPE: Final = "t3.micro"
_NAME: Final = "RunInstances"
_UNBUILT: Final = (
    "KernelId",
    "RamdiskId",
    "RamDiskId",  # as templates call it
    "ElasticGpuSpecification",
    "ElasticGpuSpecifications",  # as templates call it
    "ElasticInferenceAccelerators",
    "LicenseSpecifications",
)
_OF_ONE_INTERFACE: Final = frozenset(
    {
        "SubnetId",
        "PrivateIpAddress",
        "SecurityGroupIds",
        "SecurityGroups",
        "Ipv6Addresses",
        "Ipv6AddressCount",
        "EnablePrimaryIpv6",
    }
)


@operation("RunInstances")
def run(call: Call, params: Params) -> Result:
    """Launch instances, with the choices that were made for authorization."""
    try:
        request = launch_request(launch_parameters.effective(call, params))
    except NotFound:
        reservation_id = repeated(call, params, _NAME)
        if reservation_id is None:
            raise
    else:
        made = launch(call.tx, call.caller, call.cloud, request, call.now, choices=chosen(call))
        return reservation_view(launched.described(call.tx, call.caller, call.cloud, made))
    return reservation_view(instances.reservation(call.tx, call.caller, call.cloud, reservation_id))


def repeated(call: Call, params: Params, operation_name: str) -> str | None:
    """Return what a request made before whose template is gone since, which cannot be read again; else None.

    Raises IdempotencyMismatch.
    """
    known = client_tokens.replay_request(call.tx, call.caller, repeatable(operation_name, params), call.now)
    if known is not None:
        reading.whole(params)
    return known


def choose(call: Call, params: Params | Overridden) -> Choices:
    """Choose the resources of a launch, for its authorization and then for the launch itself; raises SteadError."""
    choices = launch_choices.choose(call.tx, call.caller, call.cloud, launch_request(params))
    call.chosen[params.key if isinstance(params, Overridden) else _NAME] = choices
    return choices


def chosen(call: Call) -> Choices | None:
    """Return what `choose` chose for the launch of this call, if it could."""
    found: Choices | None = call.chosen.get(_NAME)
    return found


def launch_request(params: Params | Overridden) -> LaunchRequest:
    """Parse the parameters of a launch, with those of its template; raises BadRequest."""
    if "ImageId" not in params:
        raise MissingParameter("ImageId")
    if isinstance(params, Overridden) and params.get("InstanceRequirements"):
        raise InvalidCombination("By a launch template with InstanceRequirements only fleets can launch.")
    own = params.own if isinstance(params, Overridden) else params
    digest = request_digest(own) if params.get("ClientToken") else ""  # of no other use
    request = _launch_request(params, params["ImageId"], params["MinCount"], params["MaxCount"], digest)
    if isinstance(params, Overridden):
        return replace(request, system_tags=params.template.system_tags)
    return request


def template_request(data: Params) -> LaunchRequest:
    """Parse the data of a launch template as the launch of one instance; the image is empty if it names none."""
    asked = data.get("InstanceRequirements")
    if asked:
        instance_requirements.requirements(asked, ()).check()
    if asked and data.get("InstanceType"):
        raise InvalidCombination("The parameters InstanceType and InstanceRequirements cannot be used together.")
    return _launch_request(data, data.get("ImageId", ""), 1, 1)


def _launch_request(params: Params, image_id: str, min_count: int, max_count: int, digest: str = "") -> LaunchRequest:
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported yet.")
    network, placement = _network(params), params.get("Placement", {})
    spot = market_options.is_spot(params)
    return LaunchRequest(
        image_id=image_id,
        instance_type=params.get("InstanceType", DEFAULT_TYPE),
        min_count=min_count,
        max_count=max_count,
        key_name=params.get("KeyName"),
        user_data=user_data(params.get("UserData")),
        client_token=params.get("ClientToken", ""),
        digest=digest,
        cpu_options=cpu_options.read(params.get("CpuOptions", {})),
        cpu_credits=params.get("CreditSpecification", {}).get("CpuCredits") or None,
        zone=placement.get("AvailabilityZone"),
        zone_id=placement.get("AvailabilityZoneId"),
        group=group_request(placement),
        tenancy=tenancy_request(placement),
        reservation=reservation_request(params),
        block_devices=block_devices.parse(params.get("BlockDeviceMappings", ())),
        shutdown_behavior=params.get("InstanceInitiatedShutdownBehavior", "terminate" if spot else "stop"),
        disable_api_termination=params.get("DisableApiTermination", False),
        disable_api_stop=params.get("DisableApiStop", False),
        ebs_optimized=params.get("EbsOptimized", False),
        hibernation=params.get("HibernationOptions", {}).get("Configured", False),
        monitoring=params.get("Monitoring", {}).get("Enabled", False),
        auto_recovery=choice(params.get("MaintenanceOptions", {}), "AutoRecovery", "default", "disabled") is not False,
        profile=profile_name(params["IamInstanceProfile"]) if params.get("IamInstanceProfile") else None,
        metadata=_metadata(params.get("MetadataOptions", {})),
        names=name_options(params.get("PrivateDnsNameOptions", {}), "HostnameType"),
        spot=spot,
        max_price=market_options.max_price(params),
        tags=tags_on_create(params, "instance", "volume", "network-interface", *(("spot-instances-request",) * spot)),
        **network,
    )


def group_request(given: Mapping[str, Any]) -> GroupRequest:
    """Read the placement group that a request names."""
    return GroupRequest(given.get("GroupName"), given.get("GroupId"), given.get("PartitionNumber"))


def tenancy_request(given: Mapping[str, Any]) -> TenancyRequest:
    """Read the tenancy that a request asks for, and the Dedicated Host that it names."""
    return TenancyRequest(given.get("Tenancy"), given.get("HostId"), given.get("Affinity"))


def user_data(text: str | None) -> bytes | None:
    """Decode user data from base64; raises InvalidParameter if it is not valid base64."""
    if text is None:
        return None
    try:
        return base64.b64decode("".join(text.split()), validate=True) or None
    except (binascii.Error, ValueError) as error:
        raise InvalidParameter("Invalid BASE64 encoding of user data.") from error


def _network(params: Params) -> dict[str, Any]:
    """Read the network of the instance: from the top-level parameters, or from each network interface."""
    interfaces = params.get("NetworkInterfaces", ())
    if not interfaces:
        return {
            "subnet_id": params.get("SubnetId"),
            "addresses": address_request(params),
            "group_ids": tuple(params.get("SecurityGroupIds", ())),
            "group_names": tuple(params.get("SecurityGroups", ())),
        }
    if params.keys() & _OF_ONE_INTERFACE:
        raise InvalidCombination(
            "Network interfaces and an instance-level subnet, private address or security groups may not be specified "
            "on the same request"
        )
    return {"interfaces": tuple(_interface(given) for given in interfaces)}


def _interface(given: Mapping[str, Any]) -> InterfaceRequest:
    if "DeviceIndex" not in given:
        raise InvalidParameter("Each network interface requires a device index.")
    if given.get("InterfaceType", "interface") != "interface":
        raise Unsupported(f"Network interfaces of the type '{given['InterfaceType']}' are not supported.")
    if given.get("NetworkCardIndex", 0) != 0:
        raise InvalidParameter(f"Value ({given['NetworkCardIndex']}) for parameter networkCardIndex is invalid.")
    if given.get("AssociateCarrierIpAddress"):
        raise Unsupported("Carrier addresses are not supported.")
    return InterfaceRequest(
        device_index=given["DeviceIndex"],
        interface_id=given.get("NetworkInterfaceId"),
        subnet_id=given.get("SubnetId"),
        group_ids=tuple(given.get("Groups", ())),
        addresses=address_request(given),
        associate_public_address=given.get("AssociatePublicIpAddress"),
        description=given.get("Description", ""),
        delete_on_termination=given.get("DeleteOnTermination"),
        idle_timeouts=idle_timeouts(given.get("ConnectionTrackingSpecification", {})),
    )


def _metadata(options: Mapping[str, Any]) -> MetadataOptions:
    return MetadataOptions(
        enabled=choice(options, "HttpEndpoint", "enabled", "disabled"),
        tokens_required=choice(options, "HttpTokens", "required", "optional"),
        hop_limit=options.get("HttpPutResponseHopLimit"),
        tags=choice(options, "InstanceMetadataTags", "enabled", "disabled"),
        ipv6=choice(options, "HttpProtocolIpv6", "enabled", "disabled"),
    )
