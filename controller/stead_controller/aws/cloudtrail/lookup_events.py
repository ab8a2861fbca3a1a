"""LookupEvents."""

from datetime import UTC, datetime
from typing import Final

from stead_controller.audit import stored_events
from stead_controller.audit.stored_events import FoundEvent, Search
from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import BadRequest

_MOST: Final = 50


@operation("LookupEvents", service="cloudtrail", writes=False)
def lookup_events(call: Call, params: Params) -> Result:
    """Return this account's calls of the last days, newest first."""
    category = params.get("EventCategory")
    if category not in (None, "insight"):
        raise BadRequest("The event category is not valid.", code="InvalidEventCategoryException")
    if category:
        return {"Events": []}  # there are no insights
    asked = _search(params)
    limit = params.get("MaxResults", _MOST)
    try:
        page = describe.page(
            call,
            {"MaxResults": limit, "NextToken": params.get("NextToken")},
            f"LookupEvents {describe.request_digest(_asked(params))}",
            at_least=1,
        )
    except BadRequest as error:
        raise BadRequest(error.message, code="InvalidNextTokenException") from error
    before = (datetime.fromtimestamp(int(page.after[0]) / 1000, UTC), int(page.after[1])) if page.after else None
    found = stored_events.search(call.tx, call.caller.account_id, asked, before=before, limit=limit + 1)
    shown, token = page.cut(found, _key)
    return {"Events": [_event(one) for one in shown], "NextToken": token}


def _key(found: FoundEvent) -> tuple[str, str]:
    return str(round(found.event.time.timestamp() * 1000)), str(found.number)


def _asked(params: Params) -> Params:
    """Return the parameters that a NextToken is bound to: it must be used with the same ones."""
    return {name: value for name, value in params.items() if name not in ("NextToken", "MaxResults")}


def _search(params: Params) -> Search:
    attributes = params.get("LookupAttributes", ())
    if len(attributes) > 1:
        raise BadRequest("You may give one lookup attribute.", code="InvalidLookupAttributesException")
    attribute, value = (attributes[0]["AttributeKey"], attributes[0]["AttributeValue"]) if attributes else (None, "")
    if attribute is not None and attribute not in stored_events.ATTRIBUTES:
        raise BadRequest("The lookup attribute is not valid.", code="InvalidLookupAttributesException")
    if attribute == "ReadOnly" and value.lower() not in ("true", "false"):
        raise BadRequest("The value of ReadOnly is true or false.", code="InvalidLookupAttributesException")
    start, end = params.get("StartTime"), params.get("EndTime")
    if start is not None and end is not None and start > end:
        raise BadRequest("The start is after the end.", code="InvalidTimeRangeException")
    return Search(attribute, value, start, end)


def _event(found: FoundEvent) -> Result:
    event = found.event
    return {
        "EventId": event.event_id,
        "EventName": event.name,
        "ReadOnly": "true" if event.read_only else "false",
        "AccessKeyId": event.access_key_id,
        "EventTime": event.time,
        "EventSource": event.source,
        "Username": event.user_name,
        "Resources": [{"ResourceType": kind, "ResourceName": name} for kind, name in event.resources],
        "CloudTrailEvent": event.text,
    }
