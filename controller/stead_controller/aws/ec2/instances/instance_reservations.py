"""What requests say of capacity reservations for instances; ModifyInstanceCapacityReservationAttributes."""

from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import Unsupported
from stead_controller.resources.instances import instance_reservations
from stead_controller.resources.instances.instance_reservations import ReservationRequest

_GROUP: Final = "CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationResourceGroupArn"


def reservation_request(params: Params | Mapping[str, Any]) -> ReservationRequest:
    """Read a CapacityReservationSpecification; raises Unsupported for a group of reservations."""
    given = params.get("CapacityReservationSpecification", {})
    target = given.get("CapacityReservationTarget", {})
    if target.get("CapacityReservationResourceGroupArn"):
        raise Unsupported(f"The parameter {_GROUP} is not supported: there are no groups of reservations.")
    return ReservationRequest(given.get("CapacityReservationPreference"), target.get("CapacityReservationId"))


@operation("ModifyInstanceCapacityReservationAttributes")
def modify(call: Call, params: Params) -> Result:
    """Change in which capacity reservations a stopped instance may start."""
    instance_reservations.modify(call.tx, call.caller, params["InstanceId"], reservation_request(params))
    return {"Return": True}
