"""Scheduled actions of groups: put, described and deleted, alone or many at once."""

from dataclasses import replace
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.errors import translate
from stead_controller.aws.protocol.codec import Wire
from stead_controller.errors import InvalidParameter, SteadError
from stead_controller.request.transaction import undone_on
from stead_controller.resources.scaling import groups, scheduled_actions
from stead_controller.resources.scaling.scheduled_actions import ActionRequest, ActionSearch, ShownAction

_GROUP: Final = "AutoScalingGroupName"
_NAME: Final = "ScheduledActionName"
_MOST: Final = 100
_DEFAULT: Final = 50
_MOST_AT_ONCE: Final = 50


@operation("PutScheduledUpdateGroupAction", service="autoscaling")
def put_scheduled_update_group_action(call: Call, params: Params) -> Result:
    """Make or change a scheduled action; Time is an older name of StartTime."""
    time, start = params.get("Time"), params.get("StartTime")
    if time is not None and start is not None and time != start:
        raise InvalidParameter("Time and StartTime must be the same if both are given.")
    request = _request(params)
    if start is None:
        request = replace(request, start=time)
    scheduled_actions.put(call.tx, call.caller, params[_GROUP], request, call.now)
    return {}


@operation("BatchPutScheduledUpdateGroupAction", service="autoscaling")
def batch_put_scheduled_update_group_action(call: Call, params: Params) -> Result:
    """Make or change scheduled actions; those that cannot be are answered with their errors."""
    groups.find(call.tx, call.caller, params[_GROUP])
    given = params["ScheduledUpdateGroupActions"]
    _check_number(len(given))
    failed = []
    for one in given:
        try:
            with undone_on(call.tx, SteadError):
                scheduled_actions.put(call.tx, call.caller, params[_GROUP], _request(one), call.now)
        except SteadError as error:
            failed.append(_failure(call, one[_NAME], error))
    return {"FailedScheduledUpdateGroupActions": failed}


@operation("DescribeScheduledActions", service="autoscaling", writes=False)
def describe_scheduled_actions(call: Call, params: Params) -> Result:
    """List scheduled actions that are still to be done."""
    page = describe.page(
        call, params, "DescribeScheduledActions", size="MaxRecords", at_least=1, at_most=_MOST, default=_DEFAULT
    )
    asked = ActionSearch(
        group=params.get(_GROUP),
        names=params.get("ScheduledActionNames", ()),
        earliest=params.get("StartTime"),
        latest=params.get("EndTime"),
    )
    limit = page.fetch or _DEFAULT
    found = scheduled_actions.search(call.tx, call.caller, call.cloud, asked, after=page.after, limit=limit)
    shown, token = page.cut(found, lambda one: (one.group, one.row.name))
    return {"ScheduledUpdateGroupActions": [_view(one) for one in shown], "NextToken": token}


@operation("DeleteScheduledAction", service="autoscaling")
def delete_scheduled_action(call: Call, params: Params) -> Result:
    """Delete a scheduled action."""
    scheduled_actions.remove(call.tx, call.caller, params[_GROUP], params[_NAME])
    return {}


@operation("BatchDeleteScheduledAction", service="autoscaling")
def batch_delete_scheduled_action(call: Call, params: Params) -> Result:
    """Delete scheduled actions; those that are not there are answered with their errors."""
    groups.find(call.tx, call.caller, params[_GROUP])
    names = params["ScheduledActionNames"]
    _check_number(len(names))
    failed = []
    for name in names:
        try:
            scheduled_actions.remove(call.tx, call.caller, params[_GROUP], name)
        except SteadError as error:
            failed.append(_failure(call, name, error))
    return {"FailedScheduledActions": failed}


def _request(given: Params) -> ActionRequest:
    return ActionRequest(
        name=given[_NAME],
        start=given.get("StartTime"),
        end=given.get("EndTime"),
        recurrence=given.get("Recurrence"),
        time_zone=given.get("TimeZone"),
        min_size=given.get("MinSize"),
        max_size=given.get("MaxSize"),
        desired=given.get("DesiredCapacity"),
    )


def _check_number(number: int) -> None:
    if number > _MOST_AT_ONCE:
        raise InvalidParameter(f"At most {_MOST_AT_ONCE} scheduled actions can be named at once.")


def _failure(call: Call, name: str, error: SteadError) -> dict[str, str]:
    told = translate(error, "autoscaling", call.request_id, Wire.QUERY)
    return {"ScheduledActionName": name, "ErrorCode": told.code, "ErrorMessage": told.message}


def _view(shown: ShownAction) -> dict[str, Any]:
    row = shown.row
    return {
        "AutoScalingGroupName": shown.group,
        "ScheduledActionName": row.name,
        "ScheduledActionARN": shown.arn,
        "Time": row.due,
        "StartTime": row.due,
        "EndTime": row.end,
        "Recurrence": row.recurrence,
        "MinSize": row.min_size,
        "MaxSize": row.max_size,
        "DesiredCapacity": row.desired,
        "TimeZone": row.time_zone,
    }
