"""The health of volumes as EC2 shows it."""

from stead_controller.aws.call import Result
from stead_controller.resources.storage.volume_status import DescribedVolumeStatus, VolumeEvent


def volume_status_view(found: DescribedVolumeStatus) -> Result:
    """Show the status of a volume."""
    volume = found.volume
    return {
        "VolumeId": volume.id,
        "AvailabilityZone": volume.zone,
        "AvailabilityZoneId": found.zone_id,
        "VolumeStatus": {"Status": found.status, "Details": [{"Name": "io-enabled", "Status": found.io_enabled}]},
        "Actions": [],
        "Events": [_event_view(event, volume.instance_id) for event in found.events],
        "Operator": {"Managed": False},
    }


def _event_view(event: VolumeEvent, instance_id: str | None) -> Result:
    return {
        "EventId": event.id,
        "EventType": event.kind,
        "Description": event.description,
        "NotBefore": event.since,
        "InstanceId": instance_id,
    }
