"""What a group launches, as the parameters of a launch that RunInstances would have for the same instances."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from stead_controller.aws.autoscaling import mixed, templates
from stead_controller.aws.autoscaling.launch_configurations import run_parameters
from stead_controller.aws.autoscaling.mixed import POLICY
from stead_controller.aws.call import Call, Params
from stead_controller.aws.describe import dict_to_tags
from stead_controller.aws.ec2.instances import launch_parameters
from stead_controller.aws.ec2.instances.launch_parameters import Overridden
from stead_controller.aws.ec2.instances.run_instances import launch_request
from stead_controller.errors import InvalidCombination, InvalidParameter, SteadError, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet.fleet_launch import Pool
from stead_controller.resources.fleet.launch_templates import TemplateName
from stead_controller.resources.instances import launch_choices
from stead_controller.resources.instances.run_instances import check_request
from stead_controller.resources.scaling import launch_configurations
from stead_controller.resources.scaling.launch_configurations import KEY
from stead_controller.resources.scaling.launches import Origin, Wanted, Ways

_TEMPLATE: Final = "LaunchTemplate"
_INTERFACES: Final = "NetworkInterfaces"


def read(tx: Transaction, caller: Caller, wanted: Wanted) -> Ways:
    """Return the ways by which a group can launch; raises SteadError."""
    stored_launch = json.loads(wanted.launch)
    if POLICY in stored_launch:
        return mixed.ways(tx, caller, stored_launch[POLICY], wanted)
    params = _parameters(tx, caller, wanted)
    if isinstance(params, Overridden):
        template = params.template
        origin = Origin(template.id, template.name, template.number)
    else:
        origin = Origin(configuration=stored_launch[KEY])
    return Ways([Pool(0, launch_request(params))], {0: origin})


def launches(tx: Transaction, caller: Caller, wanted: Wanted) -> Sequence[Params | Overridden]:
    """Return the parameters of all launches that a group can make; raises SteadError."""
    stored_launch = json.loads(wanted.launch)
    if POLICY in stored_launch:
        return mixed.launches(tx, caller, stored_launch[POLICY], wanted)
    return [_parameters(tx, caller, wanted)]


def _parameters(tx: Transaction, caller: Caller, wanted: Wanted) -> Overridden | dict[str, Any]:
    """Return the parameters of a launch, in the place where the group wants it: those of its template, or its own."""
    stored_launch = json.loads(wanted.launch)
    if KEY in stored_launch:
        row = launch_configurations.find(tx, caller, stored_launch[KEY])
        data = run_parameters(json.loads(row.data))
        return {**data, **_own(wanted, data)}
    given = templates.to_find(stored_launch[_TEMPLATE])
    template = launch_parameters.find(tx, caller, TemplateName(given["LaunchTemplateId"], None), given["Version"])
    return Overridden(_own(wanted, template.data), template, key="group")


def _own(wanted: Wanted, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a group says of a launch itself."""
    own: dict[str, Any] = {"MinCount": 1, "MaxCount": wanted.units, **_place(wanted, data)}
    if wanted.tags:
        own["TagSpecifications"] = [{"ResourceType": "instance", "Tags": dict_to_tags(wanted.tags)}]
    return own


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


def stored(tx: Transaction, caller: Caller, params: Mapping[str, Any]) -> str | None:
    """Return what a request says of what its group launches, as JSON, None if it says nothing of it.

    Raises InvalidCombination, InvalidParameter, MissingParameter, Unsupported.
    """
    if params.get("InstanceId"):
        raise Unsupported("The parameter InstanceId is not supported: use a launch template.")
    given = [name for name in (_TEMPLATE, KEY, POLICY) if params.get(name)]
    policy = mixed.stored(tx, caller, params[POLICY]) if POLICY in given else None
    if len(given) > 1:
        raise InvalidCombination(f"The parameters {given[0]} and {given[1]} cannot be used together.")
    if policy is not None:
        return json.dumps({POLICY: policy})
    if params.get(KEY):
        return launch_configurations.stored(params[KEY])
    if not params.get(_TEMPLATE):
        return None
    return json.dumps({_TEMPLATE: templates.stored(tx, caller, params[_TEMPLATE])})


def check(call: Call, wanted: Wanted) -> None:
    """Raise InvalidParameter where a launch would be refused whatever room there is."""
    try:
        for spot in (False, True):
            for pool in read(call.tx, call.caller, replace(wanted, spot=spot)).pools:
                _check_pool(call, pool)
    except Unsupported:
        raise
    except SteadError as error:
        words = "" if KEY in json.loads(wanted.launch) else "You must use a valid fully-formed launch template. "
        raise InvalidParameter(f"{words}{error.message}", code="ValidationError") from error


def _check_pool(call: Call, pool: Pool) -> None:
    if pool.error is not None or pool.request is None:
        raise pool.error or AssertionError("a pool has a request or an error")
    check_request(pool.request)
    launch_choices.choose(call.tx, call.caller, call.cloud, pool.request)
