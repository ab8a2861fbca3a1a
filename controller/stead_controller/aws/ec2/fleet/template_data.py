"""The data of launch templates: read as the parameters of RunInstances that they are, and stored as JSON.

What RunInstances refuses by name is refused by name, since the same code reads both. What depends on what there is, and
may be otherwise at the launch, is a warning.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result
from stead_controller.aws.ec2.instances.run_instances import template_request
from stead_controller.aws.errors import translate
from stead_controller.aws.protocol.codec import Wire
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet.launch_template_versions import VersionFacts, VersionRequest
from stead_controller.resources.images import image_parameters
from stead_controller.resources.instances import launch_doubts
from stead_controller.resources.instances.run_instances import check_request

_TYPES: Final = ("InstanceType", "InstanceRequirements")
_DEVICES: Final = "BlockDeviceMappings"


def version_request(
    call: Call, params: Params, source: Mapping[str, Any] | None = None
) -> tuple[VersionRequest, Result | None]:
    """Read a version to be made, over the data of its source if it has one; and warn of what could not be launched now.

    Raises MissingParameter, and what RunInstances raises for parameters that never can be launched.
    """
    given = params["LaunchTemplateData"]
    template_request(given)  # reads it, so that what nobody reads is refused
    data = {**_inherited(source or {}, given), **given}
    request = template_request(data)
    check_request(request)
    found = launch_doubts.doubts(call.tx, call.caller, call.cloud, request, has_type="InstanceType" in data)
    errors = [translate(doubt, "ec2", call.request_id, Wire.EC2) for doubt in found]
    warning = {"Errors": [{"Code": one.code, "Message": one.message} for one in errors]} if errors else None
    asked = VersionRequest(params.get("VersionDescription", ""), json.dumps(data), _facts(data))
    return asked, warning


def resolve_images(tx: Transaction, shown: Sequence[Result]) -> None:
    """Put the ids of images in place of their aliases; an alias that names none stays."""
    aliases = {one["LaunchTemplateData"].get("ImageId", "") for one in shown}
    known = image_parameters.images_of(tx, aliases)
    for one in shown:
        data = one["LaunchTemplateData"]
        if data.get("ImageId") in known:
            data["ImageId"] = known[data["ImageId"]]


def _inherited(source: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a source as a new version has them: without the snapshots of its disks.

    What is given says in its own way which type there is to be, by name or by requirements.

    "Snapshots applied to the block device mapping are ignored when creating a new version unless they are explicitly
    included": https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html.
    """
    has_type = any(given.get(name) for name in _TYPES)
    data = {name: value for name, value in source.items() if not (has_type and name in _TYPES)}
    if _DEVICES in data:
        data[_DEVICES] = [_without_snapshot(device) for device in data[_DEVICES]]
    return data


def _without_snapshot(device: Mapping[str, Any]) -> dict[str, Any]:
    disk = {name: value for name, value in device.get("Ebs", {}).items() if name != "SnapshotId"}
    return {**device, "Ebs": disk} if "Ebs" in device else dict(device)


def _facts(data: Mapping[str, Any]) -> VersionFacts:
    options = data.get("MetadataOptions", {})
    return VersionFacts(
        image_id=data.get("ImageId"),
        instance_type=data.get("InstanceType"),
        profile_arn=data.get("IamInstanceProfile", {}).get("Arn"),
        ebs_optimized=data.get("EbsOptimized"),
        http_endpoint=options.get("HttpEndpoint"),
        http_tokens=options.get("HttpTokens"),
    )
