"""Capacity reservations as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.fleet.capacity_reservations import DescribedCapacityReservation


def capacity_reservation_view(found: DescribedCapacityReservation) -> Result:
    """Show a capacity reservation."""
    row = found.row
    return {
        "CapacityReservationId": row.id,
        "OwnerId": row.account_id,
        "CapacityReservationArn": found.arn,
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": found.zone_id,
        "InstanceType": row.instance_type,
        "InstancePlatform": row.platform,
        "Tenancy": "default",
        "TotalInstanceCount": row.instance_count,
        "AvailableInstanceCount": found.available,
        "EbsOptimized": row.ebs_optimized,
        "EphemeralStorage": False,
        "State": row.state,
        "StartDate": row.created,
        "CreateDate": row.created,
        "EndDate": row.end_date,
        "EndDateType": "unlimited" if row.end_date is None else "limited",
        "InstanceMatchCriteria": row.match_criteria,
        "ReservationType": "default",
        "CapacityAllocations": [{"AllocationType": "used", "Count": found.used}] if found.used else [],
        "Tags": tags_view(found.tags),
    }


def usage_view(found: DescribedCapacityReservation) -> Result:
    """Show how much of a capacity reservation is used, by its owner, since others cannot use it."""
    row = found.row
    return {
        "CapacityReservationId": row.id,
        "InstanceType": row.instance_type,
        "TotalInstanceCount": row.instance_count,
        "AvailableInstanceCount": found.available,
        "State": row.state,
        "InstanceUsages": [{"AccountId": row.account_id, "UsedInstanceCount": found.used}] if found.used else [],
    }
