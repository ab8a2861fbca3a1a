"""Event windows as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.instances.event_window_times import DAYS
from stead_controller.resources.instances.instance_event_windows import DescribedWindow


def event_window_view(found: DescribedWindow, state: str = "active") -> Result:
    """Show a window."""
    window = found.row
    return {
        "InstanceEventWindowId": window.id,
        "Name": window.name,
        "TimeRanges": [_range_view(start, end) for start, end in window.time_ranges],
        "CronExpression": window.cron_expression,
        "AssociationTarget": {
            "InstanceIds": list(found.targets.instance_ids),
            "Tags": tags_view(found.targets.tags),
            "DedicatedHostIds": list(found.targets.dedicated_host_ids),
        },
        "State": state,
        "Tags": tags_view(found.tags),
    }


def _range_view(start: int, end: int) -> Result:
    return {
        "StartWeekDay": DAYS[start // 24],
        "StartHour": start % 24,
        "EndWeekDay": DAYS[end // 24],
        "EndHour": end % 24,
    }
