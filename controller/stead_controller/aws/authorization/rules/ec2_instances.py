"""EC2's operations on instances; a launch needs checks on image, subnet, groups, key pair and all new resources."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, Target, made, making, named, referred, rule
from stead_controller.aws.authorization.rules.attributes import setting
from stead_controller.aws.authorization.rules.ssm import parameter
from stead_controller.aws.ec2.instances import launch_parameters
from stead_controller.aws.ec2.instances.launch_parameters import Overridden
from stead_controller.aws.ec2.instances.run_instances import DEFAULT_TYPE, choose, tenancy_request
from stead_controller.errors import SteadError
from stead_controller.resources.images.image_parameters import ALIAS
from stead_controller.resources.instances.launch_choices import Choices
from stead_controller.resources.instances.launch_interfaces import InterfacePlan
from stead_controller.resources.instances.launch_volumes import VolumePlan
from stead_controller.resources.policy_keys import resource_facts

_EVENT_WINDOW = named("instance-event-window", "InstanceEventWindowId")
_INSTANCE = named("instance", "InstanceId")
_INSTANCES = named("instance", "InstanceIds")
_TARGET = named(
    "capacity-reservation", "CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId"
)
_ASSOCIATED = referred("instance", "profile-association", "AssociationId")


# The parameters that name a resource of a launch, by its type: with one of them a request overrides its template.
_NAMED_BY: Final = {
    "capacity-reservation": ("CapacityReservationSpecification",),
    "image": ("ImageId",),
    "key-pair": ("KeyName",),
    "placement-group": ("Placement",),
    "network-interface": ("NetworkInterfaces",),
    "security-group": ("SecurityGroupIds", "SecurityGroups", "NetworkInterfaces"),
    "snapshot": ("BlockDeviceMappings",),
    "spot-instances-request": ("InstanceMarketOptions",),
    "subnet": ("SubnetId", "NetworkInterfaces"),
    "volume": ("BlockDeviceMappings",),
}


def launching(asked: Asked) -> Iterator[Check]:
    """Check everything that a launch uses and creates, whether the request or its template names it, or nobody does.

    For a launch that is impossible only what it names is checked: the operation itself will report the reason.
    """
    try:
        params = launch_parameters.effective(asked.call, asked.params)
    except SteadError:
        params = asked.params  # of a template that is not there: the operation finds the error again
    asked = replace(asked, params=params)
    if not isinstance(params, Overridden):
        yield from _parts(asked)
        return
    template = asked.arn("launch-template", params.template.id)
    yield Check(Target(template, "launch-template", params.template.id))
    for check in _parts(asked):
        yield _by_template(check, params, template)


def _by_template(check: Check, params: Overridden, template: str) -> Check:
    """Say of a resource that it is used by a template, and whether the template itself names it."""
    target = check.target
    kind = target.arn.rpartition(":")[2].partition("/")[0]
    overridden = params.overrides(*_NAMED_BY.get(kind, ()))
    context = {"ec2:LaunchTemplate": template, "ec2:IsLaunchTemplateResource": not overridden}
    return replace(check, target=replace(target, context={**target.context, **context}))


def _parts(asked: Asked) -> Iterator[Check]:
    choices = _choices(asked)
    yield from making(asked, "instance", _instance_context(asked, choices))
    if _is_spot(asked.params):
        yield from making(asked, "spot-instances-request", {})
    yield from _image(asked, choices)
    yield from named("key-pair", "KeyName")(asked)
    yield from _TARGET(asked)
    yield from named("placement-group", "Placement.GroupName")(asked)
    yield from referred("placement-group", "id", "Placement.GroupId")(asked)
    if choices is None:
        yield from named("subnet", "SubnetId", "NetworkInterfaces.SubnetId")(asked)
        yield from named("security-group", "SecurityGroupIds", "NetworkInterfaces.Groups")(asked)
        yield from named("network-interface", "NetworkInterfaces.NetworkInterfaceId")(asked)
        yield from making(asked, "volume", {})
        yield from making(asked, "network-interface", {})
    else:
        for volume in choices.disks.volumes:
            yield from making(asked, "volume", _volume_context(asked, volume, choices.subnet.zone))
        for interface in choices.interfaces:
            yield from _interface(asked, interface)
        named_snapshots = set(asked.values("BlockDeviceMappings.Ebs.SnapshotId"))
        for snapshot_id in sorted(named_snapshots):
            yield Check(Target(asked.arn("snapshot", snapshot_id), "snapshot", snapshot_id))
    yield from _pass_role(asked, [asked.arn("instance", "*")])


def _image(asked: Asked, choices: Choices | None) -> Iterator[Check]:
    """Check the image that a launch names, and the parameter that stands for it."""
    image_id = asked.params.get("ImageId", "")
    if not image_id.startswith(ALIAS):
        yield from named("image", "ImageId")(asked)
        return
    yield Check(parameter(asked.call.cloud, image_id.removeprefix(ALIAS)), "ssm:GetParameters")
    if choices is not None:
        yield Check(Target(asked.arn("image", choices.image.id), "image", choices.image.id))


def _choices(asked: Asked) -> Choices | None:
    try:
        return choose(asked.call, asked.params)
    except SteadError:
        return None  # the operation finds the error again, after the caller was authorized


def _instance_context(asked: Asked, choices: Choices | None) -> dict[str, Any]:
    """Return the instance's condition keys."""
    params = asked.params
    options = params.get("MetadataOptions", {})
    zone = params.get("Placement", {}).get("AvailabilityZone") if choices is None else choices.subnet.zone
    return {
        "ec2:AvailabilityZone": zone,
        "ec2:EbsOptimized": bool(params.get("EbsOptimized", False)),
        "ec2:InstanceMarketType": "spot" if _is_spot(params) else "on-demand",
        "ec2:InstanceMetadataTags": options.get("InstanceMetadataTags"),
        "ec2:InstanceProfile": _profile_arn(asked, params.get("IamInstanceProfile", {})),
        "ec2:InstanceType": params.get("InstanceType", DEFAULT_TYPE),
        "ec2:MetadataHttpEndpoint": options.get("HttpEndpoint"),
        "ec2:MetadataHttpPutResponseHopLimit": options.get("HttpPutResponseHopLimit"),
        "ec2:MetadataHttpTokens": options.get("HttpTokens"),
        "ec2:RootDeviceType": "ebs",
        "ec2:Tenancy": tenancy_request(params.get("Placement", {})).kind if choices is None else choices.tenancy.kind,
    }


def _is_spot(params: Mapping[str, Any]) -> bool:
    """Tell whether a launch is for Spot Instances; other markets are refused."""
    return bool(params.get("InstanceMarketOptions", {}).get("MarketType") == "spot")


def _volume_context(asked: Asked, volume: VolumePlan, zone: str) -> dict[str, Any]:
    return {
        "ec2:AvailabilityZone": zone,
        "ec2:Encrypted": volume.key_id is not None,
        "ec2:ParentSnapshot": asked.arn("snapshot", volume.snapshot.id) if volume.snapshot is not None else None,
        "ec2:VolumeIops": volume.shape.iops,
        "ec2:VolumeSize": volume.shape.size,
        "ec2:VolumeThroughput": volume.shape.throughput,
        "ec2:VolumeType": volume.shape.volume_type,
    }


def _interface(asked: Asked, plan: InterfacePlan) -> Iterator[Check]:
    subnet = plan.subnet
    yield Check(Target(asked.arn("subnet", subnet.id), "subnet", subnet.id))
    if plan.existing is not None:
        interface_id = plan.existing.id
        yield Check(Target(asked.arn("network-interface", interface_id), "network-interface", interface_id))
        return
    for group_id in plan.group_ids:
        yield Check(Target(asked.arn("security-group", group_id), "security-group", group_id))
    context = {
        "ec2:AssociatePublicIpAddress": plan.public,
        "ec2:AvailabilityZone": subnet.zone,
        "ec2:Subnet": asked.arn("subnet", subnet.id),
        "ec2:Vpc": asked.arn("vpc", subnet.vpc_id),
    }
    yield from making(asked, "network-interface", context)


def _profile_arn(asked: Asked, profile: Mapping[str, Any]) -> str | None:
    if profile.get("Arn"):
        return str(profile["Arn"])
    name = profile.get("Name")
    return asked.arn("instance-profile", name, service="iam", region="") if name else None


def _pass_role(asked: Asked, instances: Sequence[str]) -> Iterator[Check]:
    """Check that the caller may pass the role to the instances' ARNs, since it gives them the role's permissions."""
    for profile in asked.values("IamInstanceProfile.Arn") + asked.values("IamInstanceProfile.Name"):
        role = resource_facts.role_of_profile(asked.call.tx, asked.call.caller, asked.call.cloud, profile)
        if role is None:
            continue
        for instance in instances:
            context = {"iam:AssociatedResourceArn": instance, "iam:PassedToService": "ec2.amazonaws.com"}
            yield Check(Target(role, context=context), "iam:PassRole")


def _of_the_account(_asked: Asked) -> Iterator[Check]:
    yield Check(Target("*"))


def _associate_profile(asked: Asked) -> Iterator[Check]:
    profile = _profile_arn(asked, asked.params.get("IamInstanceProfile", {}))
    instances = [check.target for part in (_INSTANCE, _ASSOCIATED) for check in part(asked)]
    for target in instances:
        yield Check(Target(target.arn, target.kind, target.resource_id, {"ec2:NewInstanceProfile": profile}))
    yield from _pass_role(asked, [target.arn for target in instances] or [asked.arn("instance", "*")])


RULES: Final[dict[str, Rule]] = {
    "AssociateIamInstanceProfile": rule(_associate_profile),
    "AssociateInstanceEventWindow": rule(_EVENT_WINDOW),
    "CreateInstanceEventWindow": rule(made("instance-event-window")),
    "CreateReplaceRootVolumeTask": rule(
        made("replace-root-volume-task"),
        made("volume"),
        _INSTANCE,
        named("image", "ImageId"),
        named("snapshot", "SnapshotId"),
        named("volume", "VolumeId"),
    ),
    "DeleteInstanceEventWindow": rule(_EVENT_WINDOW),
    "DescribeInstanceEventWindows": rule(),
    "DisassociateIamInstanceProfile": rule(_ASSOCIATED),
    "DisassociateInstanceEventWindow": rule(_EVENT_WINDOW),
    "ModifyInstanceAttribute": rule(setting(_INSTANCE), named("security-group", "Groups")),
    "ModifyInstanceCpuOptions": rule(setting(_INSTANCE)),
    "ModifyDefaultCreditSpecification": rule(setting(_of_the_account)),
    "ModifyInstanceCreditSpecification": rule(setting(named("instance", "InstanceCreditSpecifications.InstanceId"))),
    "ModifyInstanceCapacityReservationAttributes": rule(setting(_INSTANCE), _TARGET),
    "ModifyInstanceEventStartTime": rule(_INSTANCE),
    "ModifyInstanceEventWindow": rule(_EVENT_WINDOW),
    "ModifyInstanceMaintenanceOptions": rule(setting(_INSTANCE)),
    "DisableSerialConsoleAccess": rule(),
    "EnableSerialConsoleAccess": rule(),
    "ModifyInstanceMetadataDefaults": rule(setting(_of_the_account)),
    "ModifyInstanceMetadataOptions": rule(setting(_INSTANCE)),
    "ModifyInstancePlacement": rule(
        setting(_INSTANCE),
        named("dedicated-host", "HostId"),
        named("placement-group", "GroupName"),
        referred("placement-group", "id", "GroupId"),
    ),
    "ModifyPrivateDnsNameOptions": rule(setting(_INSTANCE)),
    "MonitorInstances": rule(_INSTANCES),
    "RebootInstances": rule(_INSTANCES),
    "ReplaceIamInstanceProfileAssociation": rule(_associate_profile),
    "ResetInstanceAttribute": rule(_INSTANCE),
    "RunInstances": rule(launching),
    "SendDiagnosticInterrupt": rule(_INSTANCE),
    "StartInstances": rule(_INSTANCES),
    "StopInstances": rule(_INSTANCES),
    "TerminateInstances": rule(_INSTANCES),
    "UnmonitorInstances": rule(_INSTANCES),
}
