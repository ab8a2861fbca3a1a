"""CreateInstanceEventWindow and what is done with it: Modify, Delete, Describe, Associate and Disassociate."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.instance_event_window_view import event_window_view
from stead_controller.resources.instances import instance_event_windows
from stead_controller.resources.instances.instance_event_windows import (
    FILTERS,
    RESOURCE,
    Targets,
    TimeRange,
    WindowRequest,
)


@operation("CreateInstanceEventWindow")
def create_instance_event_window(call: Call, params: Params) -> Result:
    """Create a window; the answer has EC2's state of a new one."""
    made = instance_event_windows.create(call.tx, call.caller, _window(params, tagged=True))
    return {"InstanceEventWindow": event_window_view(made, "creating")}


@operation("ModifyInstanceEventWindow")
def modify_instance_event_window(call: Call, params: Params) -> Result:
    """Change the name or the times of a window."""
    changed = instance_event_windows.modify(
        call.tx, call.caller, params["InstanceEventWindowId"], _window(params, tagged=False)
    )
    return {"InstanceEventWindow": event_window_view(changed)}


@operation("DeleteInstanceEventWindow")
def delete_instance_event_window(call: Call, params: Params) -> Result:
    """Delete a window."""
    window_id = params["InstanceEventWindowId"]
    instance_event_windows.remove(call.tx, call.caller, window_id, force=params.get("ForceDelete", False))
    return {"InstanceEventWindowState": {"InstanceEventWindowId": window_id, "State": "deleting"}}


@operation("DescribeInstanceEventWindows", writes=False)
def describe_instance_event_windows(call: Call, params: Params) -> Result:
    """List the caller's windows."""
    asked, page = selection.paged(
        call, params, "DescribeInstanceEventWindows", FILTERS, ids="InstanceEventWindowIds", at_least=20, most=500
    )
    found = instance_event_windows.describe(call.tx, call.caller, asked)
    return selection.answered("InstanceEventWindows", found, page, lambda one: (one.row.id,), event_window_view)


@operation("AssociateInstanceEventWindow")
def associate_instance_event_window(call: Call, params: Params) -> Result:
    """Add targets to a window."""
    targets = _targets(params["AssociationTarget"])
    changed = instance_event_windows.associate(call.tx, call.caller, params["InstanceEventWindowId"], targets)
    return {"InstanceEventWindow": event_window_view(changed)}


@operation("DisassociateInstanceEventWindow")
def disassociate_instance_event_window(call: Call, params: Params) -> Result:
    """Remove targets from a window."""
    targets = _targets(params["AssociationTarget"])
    changed = instance_event_windows.disassociate(call.tx, call.caller, params["InstanceEventWindowId"], targets)
    return {"InstanceEventWindow": event_window_view(changed)}


def _window(params: Params, *, tagged: bool) -> WindowRequest:
    ranges = params.get("TimeRanges")
    return WindowRequest(
        params.get("Name"),
        None if ranges is None else [_range(one) for one in ranges],
        params.get("CronExpression"),
        tags_on_create(params, RESOURCE)[RESOURCE] if tagged else {},
    )


def _range(given: Params) -> TimeRange:
    return TimeRange(given.get("StartWeekDay"), given.get("StartHour"), given.get("EndWeekDay"), given.get("EndHour"))


def _targets(given: Params) -> Targets:
    return Targets(
        given.get("InstanceIds", ()),
        given.get("DedicatedHostIds", ()),
        [(tag.get("Key", ""), tag.get("Value", "")) for tag in given.get("InstanceTags", ())],
    )
