"""ModifyInstancePlacement: the placement group of a stopped instance, and its partition.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstancePlacement.html.
"""

from dataclasses import replace

from stead_controller.db.tables import Instance, PlacementGroup
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, MissingParameter, WrongState
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import instance_groups
from stead_controller.resources.instances.instance_groups import GroupRequest


def modify(tx: Transaction, caller: Caller, instance_id: str, asked: GroupRequest) -> None:
    """Put a stopped instance into a group or another partition of its group; with an empty name, into no group.

    It is placed by the rules of the group when it starts. Raises MalformedId, NotFound, WrongState, MissingParameter,
    InvalidCombination, InvalidParameter, InUse for a cluster in another zone.
    """
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if asked == GroupRequest():
        raise MissingParameter("GroupName")
    if asked.name is None and asked.group_id is None and instance.placement_group_id is not None:
        asked = replace(asked, group_id=instance.placement_group_id)
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None:
        raise InvalidParameter(f"Invalid value '{instance.instance_type}' for InstanceType.")
    chosen = instance_groups.choose(tx, caller, asked, kind)
    if instance.state != "stopped":
        raise WrongState("instance", f"The instance '{instance.id}' is not in the 'stopped' state.")
    instance_groups.check_zone(tx, chosen, instance.zone)
    group: PlacementGroup | None = chosen.group if chosen is not None else None
    instance.placement_group_id = group.id if group is not None else None
    instance.placement_group_name = group.name if group is not None else ""
    instance.partition_number = chosen.partition if chosen is not None else None
    desired_state.refresh_instance(tx, instance.id)
