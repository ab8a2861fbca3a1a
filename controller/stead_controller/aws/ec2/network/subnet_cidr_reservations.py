"""CreateSubnetCidrReservation, DeleteSubnetCidrReservation and GetSubnetCidrReservations."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.resources.network import subnet_cidr_reservations as reservations


@operation("CreateSubnetCidrReservation")
def create(call: Call, params: Params) -> Result:
    """Set a block of a subnet's addresses aside."""
    asked = reservations.ReservationRequest(
        params["SubnetId"],
        params["Cidr"],
        params["ReservationType"],
        params.get("Description"),
        tags_on_create(params, reservations.KIND)[reservations.KIND],
    )
    made = reservations.create(call.tx, call.caller, asked, call.now)
    return {"SubnetCidrReservation": made}


@operation("DeleteSubnetCidrReservation")
def delete(call: Call, params: Params) -> Result:
    """Set a block free again."""
    was = reservations.remove(call.tx, call.caller, params["SubnetCidrReservationId"])
    return {"DeletedSubnetCidrReservation": was}


@operation("GetSubnetCidrReservations", writes=False)
def get_subnet_cidr_reservations(call: Call, params: Params) -> Result:
    """List the blocks of a subnet that are set aside, those of IPv4 and of IPv6 apart."""
    asked, page = selection.paged(call, params, "GetSubnetCidrReservations", reservations.FILTERS, ids="")
    found = reservations.describe(call.tx, call.caller, params["SubnetId"], asked)
    answer = selection.answer("all", found, page, "SubnetCidrReservationId")
    of_six = [one for one in answer["all"] if ":" in one["Cidr"]]
    of_four = [one for one in answer["all"] if ":" not in one["Cidr"]]
    return {
        "SubnetIpv4CidrReservations": of_four,
        "SubnetIpv6CidrReservations": of_six,
        "NextToken": answer["NextToken"],
    }
