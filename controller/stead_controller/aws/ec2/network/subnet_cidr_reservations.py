"""CreateSubnetCidrReservation, DeleteSubnetCidrReservation and GetSubnetCidrReservations."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.subnet_cidr_reservation_view import reservation_view
from stead_controller.resources.network import subnet_cidr_reservations as reservations


@operation("CreateSubnetCidrReservation")
def create(call: Call, params: Params) -> Result:
    """Reserve a block of a subnet's addresses."""
    asked = reservations.ReservationRequest(
        params["SubnetId"],
        params["Cidr"],
        params["ReservationType"],
        params.get("Description"),
        tags_on_create(params, reservations.KIND)[reservations.KIND],
    )
    made = reservations.create(call.tx, call.caller, asked, call.now)
    return {"SubnetCidrReservation": reservation_view(made)}


@operation("DeleteSubnetCidrReservation")
def delete(call: Call, params: Params) -> Result:
    """Delete a reservation."""
    was = reservations.remove(call.tx, call.caller, params["SubnetCidrReservationId"])
    return {"DeletedSubnetCidrReservation": reservation_view(was)}


@operation("GetSubnetCidrReservations", writes=False)
def get_subnet_cidr_reservations(call: Call, params: Params) -> Result:
    """List the reserved blocks of a subnet, with IPv4 and IPv6 separately."""
    asked, page = selection.paged(call, params, "GetSubnetCidrReservations", reservations.FILTERS, ids="")
    found = reservations.describe(call.tx, call.caller, params["SubnetId"], asked)
    cut, token = page.cut(found, lambda one: (one.row.id,))
    return {
        "SubnetIpv4CidrReservations": [reservation_view(one) for one in cut if not one.row.ipv6],
        "SubnetIpv6CidrReservations": [reservation_view(one) for one in cut if one.row.ipv6],
        "NextToken": token,
    }
