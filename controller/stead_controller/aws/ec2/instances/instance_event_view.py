"""Scheduled events of instances as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.instances.instance_events import Event


def event_view(event: Event) -> Result:
    """Show an event."""
    return {
        "InstanceEventId": event.id,
        "Code": event.code,
        "Description": event.description,
        "NotBefore": event.not_before,
        "NotBeforeDeadline": event.not_before_deadline,
    }
