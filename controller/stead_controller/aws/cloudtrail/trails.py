"""Trails, which no account can have: calls are found with LookupEvents, and in the operator's files."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import NotFound


@operation("DescribeTrails", service="cloudtrail", writes=False)
def describe_trails(call: Call, params: Params) -> Result:
    """List none; requested names are not found, and are ignored as CloudTrail does."""
    del call, params
    return {"trailList": []}


@operation("ListTrails", service="cloudtrail", writes=False)
def list_trails(call: Call, params: Params) -> Result:
    """List none."""
    del call, params
    return {"Trails": []}


@operation("GetTrail", service="cloudtrail", writes=False)
def get_trail(call: Call, params: Params) -> Result:
    """Answer that it does not exist."""
    raise _unknown(call, params)


@operation("GetTrailStatus", service="cloudtrail", writes=False)
def get_trail_status(call: Call, params: Params) -> Result:
    """Answer that it does not exist."""
    raise _unknown(call, params)


@operation("GetEventSelectors", service="cloudtrail", writes=False)
def get_event_selectors(call: Call, params: Params) -> Result:
    """Answer that it does not exist."""
    raise _unknown(call, params)


@operation("GetInsightSelectors", service="cloudtrail", writes=False)
def get_insight_selectors(call: Call, params: Params) -> Result:
    """Answer that there is none, for a trail or for an event data store."""
    raise _unknown(call, params)


@operation("ListEventDataStores", service="cloudtrail", writes=False)
def list_event_data_stores(call: Call, params: Params) -> Result:
    """List none."""
    del call, params
    return {"EventDataStores": []}


def _unknown(call: Call, params: Params) -> NotFound:
    name = params.get("Name") or params.get("TrailName") or params.get("EventDataStore") or ""
    message = f"Unknown trail: {name} for the user: {call.caller.account_id}"
    of_store = bool(params.get("EventDataStore"))
    code = "EventDataStoreNotFoundException" if of_store else "TrailNotFoundException"
    return NotFound("trail", name, message=message, code=code)
