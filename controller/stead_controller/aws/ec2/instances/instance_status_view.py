"""The status of instances as EC2 shows it."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.instances.instance_event_view import event_view
from stead_controller.resources.instances.instance_states import STATE_CODES
from stead_controller.resources.instances.instance_status import DescribedStatus, StatusCheck


def instance_status_view(found: DescribedStatus) -> Result:
    """Show the results of an instance's three checks."""
    return {
        "InstanceId": found.instance_id,
        "AvailabilityZone": found.zone,
        "AvailabilityZoneId": found.zone_id,
        "InstanceState": {"Code": STATE_CODES[found.state], "Name": found.state},
        "InstanceStatus": _check_view(found.instance),
        "SystemStatus": _check_view(found.system),
        "AttachedEbsStatus": _check_view(found.volumes),
        "Events": [event_view(event) for event in found.events],
        "Operator": {"Managed": False},
    }


def _check_view(found: StatusCheck) -> Result:
    if found.reachability is None:
        return {"Status": found.status}
    detail = {"Name": "reachability", "Status": found.reachability, "ImpairedSince": found.impaired_since}
    return {"Status": found.status, "Details": [detail]}
