"""Dedicated Hosts as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.fleet.dedicated_hosts import DescribedDedicatedHost


def dedicated_host_view(found: DescribedDedicatedHost) -> Result:
    """Show a Dedicated Host; its sockets are not known."""
    row, host = found.row, found.host
    shown: Result = {
        "HostId": row.id,
        "OwnerId": row.account_id,
        "AutoPlacement": "on" if row.auto_placement else "off",
        "AllowsMultipleInstanceTypes": "on" if row.instance_type is None else "off",
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": found.zone_id,
        "ClientToken": row.client_token,
        "State": found.state,
        "AllocationTime": row.created,
        "ReleaseTime": row.ended,
        "HostRecovery": "off",
        "HostMaintenance": "off",
        "MemberOfServiceLinkedResourceGroup": False,
        "HostProperties": {"InstanceType": row.instance_type, "InstanceFamily": row.instance_family},
        "Instances": [
            {"InstanceId": one.id, "InstanceType": one.instance_type, "OwnerId": one.account_id}
            for one in found.instances
        ],
        "Tags": tags_view(found.tags),
    }
    if host is not None:
        shown["HostProperties"] |= {"Cores": host.cores or None, "TotalVCpus": host.cpus_offered}
        shown["AvailableCapacity"] = {
            "AvailableInstanceCapacity": [
                {"InstanceType": one.instance_type, "AvailableCapacity": one.available, "TotalCapacity": one.total}
                for one in found.capacity
            ],
            "AvailableVCpus": max(0, host.cpus_free),
        }
    return shown
