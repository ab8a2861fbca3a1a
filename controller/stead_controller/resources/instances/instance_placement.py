"""ModifyInstancePlacement: the placement group of a stopped instance, its tenancy, and its Dedicated Host.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstancePlacement.html.
"""

from dataclasses import replace
from typing import Final

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import Instance, PlacementGroup
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, WrongState
from stead_controller.placement.tenancy import HOST
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import instance_groups, instance_tenancies
from stead_controller.resources.instances.instance_groups import GroupRequest
from stead_controller.resources.instances.instance_tenancies import TenancyRequest

_NO_GROUP: Final = GroupRequest()
_NO_TENANCY: Final = TenancyRequest()


def modify(tx: Transaction, caller: Caller, instance_id: str, asked: GroupRequest, tenancy: TenancyRequest) -> None:
    """Change where an instance may be from its next start on; only its affinity to its host changes while it runs.

    With an empty name of a group it is in none. Raises MalformedId, NotFound, WrongState, MissingParameter,
    InvalidCombination, InvalidParameter, InUse for a cluster in another zone.
    """
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if asked == _NO_GROUP and tenancy == _NO_TENANCY:
        raise MissingParameter("GroupName")
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None:
        raise InvalidParameter(f"Invalid value '{instance.instance_type}' for InstanceType.")
    if tenancy != _NO_TENANCY:
        _change_tenancy(tx, caller, instance, tenancy, kind)
    if asked != _NO_GROUP:
        _change_group(tx, caller, instance, asked, kind)
    group = tx.session.get(PlacementGroup, instance.placement_group_id) if instance.placement_group_id else None
    instance_tenancies.check_group(instance.tenancy, group)
    desired_state.refresh_instance(tx, instance.id)


def _change_group(tx: Transaction, caller: Caller, instance: Instance, asked: GroupRequest, kind: InstanceType) -> None:
    if asked.name is None and asked.group_id is None and instance.placement_group_id is not None:
        asked = replace(asked, group_id=instance.placement_group_id)
    chosen = instance_groups.choose(tx, caller, asked, kind)
    _require_stopped(instance)
    instance_groups.check_zone(tx, chosen, instance.zone)
    group: PlacementGroup | None = chosen.group if chosen is not None else None
    instance.placement_group_id = group.id if group is not None else None
    instance.placement_group_name = group.name if group is not None else ""
    instance.partition_number = chosen.partition if chosen is not None else None


def _change_tenancy(
    tx: Transaction, caller: Caller, instance: Instance, asked: TenancyRequest, kind: InstanceType
) -> None:
    instance_tenancies.check_words(asked)
    after = asked.tenancy or instance.tenancy
    host = instance_tenancies.target(tx, caller, asked.host_id) if asked.host_id else None
    instance_tenancies.check_together(asked, after)
    if asked.tenancy is not None or host is not None:
        _require_stopped(instance)
    if after != instance.tenancy and HOST in (after, instance.tenancy) and kind.family == "t3":
        raise InvalidCombination(
            f"The tenancy of a T3 instance cannot be changed from {instance.tenancy} to {after}.", code="InvalidRequest"
        )
    if after != HOST:
        instance.dedicated_host_id, instance.host_affinity = None, "default"
    elif host is not None:
        instance_tenancies.check_host(host, kind, instance.zone)
        instance.dedicated_host_id = host.id
    instance.tenancy = after
    instance.host_affinity = asked.affinity or instance.host_affinity


def _require_stopped(instance: Instance) -> None:
    if instance.state != "stopped":
        raise WrongState("instance", f"The instance '{instance.id}' is not in the 'stopped' state.")
