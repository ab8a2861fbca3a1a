"""Why a launch would fail if it were asked for now: what it names may exist, or be free, when it is."""

from collections.abc import Callable, Iterator
from functools import partial

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import NetworkInterface, SecurityGroup, Subnet
from stead_controller.errors import InvalidParameter, MalformedId, SteadError
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.images import image_parameters, images
from stead_controller.resources.instances import (
    cpu_options,
    credit_specifications,
    launch_choices,
    launch_volumes,
    profile_associations,
)
from stead_controller.resources.instances.launch_request import LaunchRequest


def doubts(
    tx: Transaction, caller: Caller, cloud: Cloud, request: LaunchRequest, *, has_type: bool
) -> Iterator[SteadError]:
    """Yield what is wrong with what a request names, part by part.

    A type that is only the default, and an empty image, are not looked at. Raises MalformedId, since such an id will
    never be one.
    """
    checks: list[Callable[[], object]] = []
    kind = instance_types.find(tx, request.instance_type)
    if has_type and kind is None:
        yield InvalidParameter(f"Invalid value '{request.instance_type}' for InstanceType.")
    if has_type and kind is not None:
        checks.append(partial(launch_choices.check_offered, tx, kind, request.zone))
        checks.append(partial(launch_choices.check_ebs_optimized, kind, wanted=request.ebs_optimized))
        checks.append(partial(cpu_options.settle, kind, request.cpu_options))
        checks.append(partial(credit_specifications.settle, tx, caller.account_id, kind, request.cpu_credits))
    if request.image_id:
        checks.append(partial(_check_image, tx, caller, cloud, request, kind=kind if has_type else None))
    if request.key_name is not None:
        checks.append(partial(launch_choices.public_key, tx, caller, request.key_name))
    if request.profile is not None:
        checks.append(partial(profile_associations.find, tx, caller.account_id, request.profile))
    for interface in request.interface_requests:
        groups = partial(lookup.require, tx, "security-group", SecurityGroup.id, interface.group_ids)
        checks.append(partial(groups, SecurityGroup.account_id == caller.account_id))
        if interface.subnet_id is not None:
            checks.append(partial(lookup.find, tx, caller, "subnet", Subnet, interface.subnet_id))
        if interface.interface_id is not None:
            checks.append(
                partial(lookup.find, tx, caller, "network-interface", NetworkInterface, interface.interface_id)
            )
    for check in checks:
        try:
            check()
        except MalformedId:
            raise
        except SteadError as doubt:
            yield doubt


def _check_image(
    tx: Transaction, caller: Caller, cloud: Cloud, request: LaunchRequest, *, kind: InstanceType | None
) -> None:
    image = images.find_launchable(tx, caller, image_parameters.image_of(tx, request.image_id))
    if kind is not None:
        launch_choices.check_image(image, kind)
        launch_volumes.plan(tx, caller, image, kind, request.block_devices, cloud=cloud)
