"""Trails, of which no account can have any: what is recorded is found by LookupEvents, and in the operator's files."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import NotFound


@operation("DescribeTrails", service="cloudtrail", writes=False)
def describe_trails(call: Call, params: Params) -> Result:
    """List none; names that are asked for are not found, and passed over as CloudTrail does."""
    del call, params
    return {"trailList": []}


@operation("ListTrails", service="cloudtrail", writes=False)
def list_trails(call: Call, params: Params) -> Result:
    """List none."""
    del call, params
    return {"Trails": []}


@operation("GetTrail", service="cloudtrail", writes=False)
def get_trail(call: Call, params: Params) -> Result:
    """Find none."""
    raise _unknown(call, params)


@operation("GetTrailStatus", service="cloudtrail", writes=False)
def get_trail_status(call: Call, params: Params) -> Result:
    """Find none."""
    raise _unknown(call, params)


def _unknown(call: Call, params: Params) -> NotFound:
    name = params["Name"]
    message = f"Unknown trail: {name} for the user: {call.caller.account_id}"
    return NotFound("trail", name, message=message, code="TrailNotFoundException")
