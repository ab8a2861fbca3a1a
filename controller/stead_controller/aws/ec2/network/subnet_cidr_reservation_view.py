"""Reservations of a subnet's addresses as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.subnet_cidr_reservations import DescribedSubnetCidrReservation


def reservation_view(found: DescribedSubnetCidrReservation) -> Result:
    """Show a reserved block of a subnet."""
    row = found.row
    return {
        "SubnetCidrReservationId": row.id,
        "SubnetId": row.subnet_id,
        "Cidr": row.cidr_block,
        "ReservationType": row.reservation_type,
        "OwnerId": row.account_id,
        "Description": row.description,
        "Tags": tags_view(found.tags),
    }
