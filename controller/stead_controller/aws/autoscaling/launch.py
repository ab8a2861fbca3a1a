"""What a group launches, as the parameters of a launch that RunInstances would have for the same instances."""

import json
from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.call import Call
from stead_controller.aws.describe import dict_to_tags
from stead_controller.aws.ec2.instances import launch_parameters
from stead_controller.aws.ec2.instances.launch_parameters import Overridden
from stead_controller.aws.ec2.instances.run_instances import launch_request
from stead_controller.errors import InvalidParameter, SteadError, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet.launch_templates import TemplateName
from stead_controller.resources.instances import launch_choices
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import check_request
from stead_controller.resources.scaling.launches import Origin, Wanted

_TEMPLATE: Final = "LaunchTemplate"
_INTERFACES: Final = "NetworkInterfaces"


def read(tx: Transaction, caller: Caller, wanted: Wanted) -> tuple[LaunchRequest, Origin]:
    """Return the launch of as many instances as there is room for; raises SteadError."""
    params = parameters(tx, caller, wanted)
    template = params.template
    return launch_request(params), Origin(template.id, template.name, template.number)


def parameters(tx: Transaction, caller: Caller, wanted: Wanted) -> Overridden:
    """Return the parameters of a launch: those of the template, in the place where the group wants it."""
    given = json.loads(wanted.launch)[_TEMPLATE]
    named = TemplateName(given.get("LaunchTemplateId"), given.get("LaunchTemplateName"))
    template = launch_parameters.find(tx, caller, named, given.get("Version"))
    own: dict[str, Any] = {"MinCount": 1, "MaxCount": wanted.count, **_place(wanted, template.data)}
    if wanted.tags:
        own["TagSpecifications"] = [{"ResourceType": "instance", "Tags": dict_to_tags(wanted.tags)}]
    return Overridden(own, template, key="group")


def _place(wanted: Wanted, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return where instances go; a subnet goes to the template's interfaces, if it has any."""
    place: dict[str, Any] = {}
    at: dict[str, Any] = dict(data.get("Placement", {}))
    if wanted.placement_group is not None:
        at["GroupName"] = wanted.placement_group
    if wanted.zone is not None:
        at.pop("AvailabilityZoneId", None)
        at["AvailabilityZone"] = wanted.zone
    elif wanted.subnet is not None:
        at = {name: value for name, value in at.items() if not name.startswith("AvailabilityZone")}
        interfaces = data.get(_INTERFACES)
        if interfaces:
            place[_INTERFACES] = [{**one, "SubnetId": wanted.subnet} for one in interfaces]
        else:
            place["SubnetId"] = wanted.subnet
    if at or data.get("Placement"):
        place["Placement"] = at
    return place


def stored(params: Mapping[str, Any]) -> str | None:
    """Return what a request says of what its group launches, as JSON, None if it says nothing of it.

    Raises Unsupported.
    """
    for name in ("LaunchConfigurationName", "MixedInstancesPolicy", "InstanceId"):
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported: use a launch template.")
    if not params.get(_TEMPLATE):
        return None
    given = params[_TEMPLATE]
    return json.dumps({_TEMPLATE: {name: given[name] for name in given}})


def check(call: Call, wanted: Wanted) -> None:
    """Raise InvalidParameter where a launch would be refused whatever room there is."""
    try:
        request, _ = read(call.tx, call.caller, wanted)
        check_request(request)
        launch_choices.choose(call.tx, call.caller, call.cloud, request)
    except Unsupported:
        raise
    except SteadError as error:
        raise InvalidParameter(
            f"You must use a valid fully-formed launch template. {error.message}", code="ValidationError"
        ) from error
