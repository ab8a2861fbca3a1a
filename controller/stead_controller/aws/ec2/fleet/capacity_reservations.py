"""Create-, Modify-, Cancel- and DescribeCapacityReservations, and what there is to know of one."""

from collections.abc import Mapping
from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import page, repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.fleet.capacity_reservation_view import capacity_reservation_view, usage_view
from stead_controller.request.conditions import Selection
from stead_controller.resources.fleet import capacity_reservations
from stead_controller.resources.fleet.capacity_reservations import (
    CapacityReservationChange,
    CapacityReservationRequest,
    EndRequest,
)


@operation("CreateCapacityReservation")
def create_capacity_reservation(call: Call, params: Params) -> Result:
    """Reserve room for instances of one type in one zone."""
    request = CapacityReservationRequest(
        instance_type=params["InstanceType"],
        platform=params["InstancePlatform"],
        count=params["InstanceCount"],
        zone=params.get("AvailabilityZone"),
        zone_id=params.get("AvailabilityZoneId"),
        end=_end(params),
        match_criteria=params.get("InstanceMatchCriteria", "open"),
        ebs_optimized=params.get("EbsOptimized", False),
        tags=tags_on_create(params, "capacity-reservation")["capacity-reservation"],
        repeatable=repeatable("CreateCapacityReservation", params),
    )
    made = capacity_reservations.create(call.tx, call.caller, call.cloud, request, call.now)
    return {"CapacityReservation": capacity_reservation_view(made)}


@operation("ModifyCapacityReservation")
def modify_capacity_reservation(call: Call, params: Params) -> Result:
    """Change how many instances a reservation is for, when it ends, and which instances it takes."""
    asked = CapacityReservationChange(
        params.get("InstanceCount"), _end(params), params.get("InstanceMatchCriteria"), params.get("Accept", False)
    )
    capacity_reservations.modify(call.tx, call.caller, call.cloud, params["CapacityReservationId"], asked, call.now)
    return {"Return": True}


@operation("CancelCapacityReservation")
def cancel_capacity_reservation(call: Call, params: Params) -> Result:
    """Release the room of a reservation."""
    capacity_reservations.cancel(call.tx, call.caller, params["CapacityReservationId"], call.now)
    return {"Return": True}


@operation("DescribeCapacityReservations", writes=False)
def describe_capacity_reservations(call: Call, params: Params) -> Result:
    """List the caller's reservations."""
    known = capacity_reservations.FILTERS
    asked, paged = selection.paged(
        call, params, "DescribeCapacityReservations", known, ids="CapacityReservationIds", at_least=1
    )
    found = capacity_reservations.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered(
        "CapacityReservations", found, paged, lambda one: (one.row.id,), capacity_reservation_view
    )


@operation("GetCapacityReservationUsage", writes=False)
def get_capacity_reservation_usage(call: Call, params: Params) -> Result:
    """Show how much of a reservation its owner's instances use: one account, so there is one page at most."""
    paged = page(call, params, "GetCapacityReservationUsage", at_least=1)
    asked = Selection((params["CapacityReservationId"],))
    [found] = capacity_reservations.describe(call.tx, call.caller, call.cloud, asked)
    shown = usage_view(found)
    usages = [one for one in shown["InstanceUsages"] if paged.after is None or (one["AccountId"],) > paged.after]
    cut, token = paged.cut(usages, _account)
    return {**shown, "InstanceUsages": cut, "NextToken": token}


@operation("GetGroupsForCapacityReservation", writes=False)
def get_groups_for_capacity_reservation(call: Call, params: Params) -> Result:
    """List the resource groups of a reservation, which is in none: there are none here."""
    page(call, params, "GetGroupsForCapacityReservation", at_least=1)
    capacity_reservations.describe(call.tx, call.caller, call.cloud, Selection((params["CapacityReservationId"],)))
    return {"CapacityReservationGroups": []}


def _account(usage: Mapping[str, Any]) -> tuple[str, ...]:
    return (usage["AccountId"],)


def _end(params: Params) -> EndRequest:
    return EndRequest(params.get("EndDateType"), params.get("EndDate"))
