"""ListCostAllocationTags and UpdateCostAllocationTagsStatus."""

from datetime import UTC, datetime
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ce import words
from stead_controller.errors import BadRequest, InvalidParameter
from stead_controller.metering import cost_tags
from stead_controller.metering.cost_tags import KeyStatus

_MOST: Final = 1000
_DEFAULT: Final = 100
_STATUS: Final = "CostAllocationTagStatus"
_BY_AWS: Final = "AWSGenerated"
_BY_USERS: Final = "UserDefined"


@operation("ListCostAllocationTags", service="ce", writes=False)
def list_cost_allocation_tags(call: Call, params: Params) -> Result:
    """List the keys of the account's tags, and which of them are active."""
    try:
        page = describe.page(call, params, "ListCostAllocationTags", at_least=1, at_most=_MOST, default=_DEFAULT)
    except BadRequest as error:
        raise BadRequest(error.message, code="InvalidNextTokenException") from error
    status, kind = params.get("Status"), params.get("Type")
    if status is not None:
        words.require(status, _STATUS, "status")
    if kind is not None:
        words.require(kind, "CostAllocationTagType", "type")
    keys = params.get("TagKeys")
    found: list[KeyStatus] = []
    after = page.after[0] if page.after is not None else ""
    while len(found) < (page.fetch or _DEFAULT):
        batch = cost_tags.statuses(call.tx, call.caller.account_id, keys=keys, after=after, limit=_MOST)
        found += [each for each in batch if _fits(each, status, kind)]
        if len(batch) < _MOST:
            break
        after = batch[-1].key
    shown, token = page.cut(found, lambda each: (each.key,))
    return {"CostAllocationTags": [_view(each, call.now) for each in shown], "NextToken": token}


@operation("UpdateCostAllocationTagsStatus", service="ce")
def update_cost_allocation_tags_status(call: Call, params: Params) -> Result:
    """Make keys active, so that what is used from now on has their values, or inactive."""
    wanted: dict[str, bool] = {}
    for entry in params["CostAllocationTagsStatus"]:
        if entry["TagKey"] in wanted:
            raise InvalidParameter(f"The tag key {entry['TagKey']} is given twice.")
        wanted[entry["TagKey"]] = words.require(entry["Status"], _STATUS, "status") == "Active"
    absent = cost_tags.set_status(call.tx, call.caller.account_id, wanted, call.now)
    return {"Errors": [_error(key) for key in absent]}


def _fits(each: KeyStatus, status: str | None, kind: str | None) -> bool:
    return status in {None, _status(each)} and kind in {None, _kind(each)}


def _view(each: KeyStatus, now: datetime) -> dict[str, Any]:
    """Show a key; its last use is told by the month, as AWS does."""
    changed = None if each.changed is None else _moment(datetime.fromtimestamp(each.changed, UTC))
    month = now.replace(day=1, hour=0, minute=0, second=0)
    return {
        "TagKey": each.key,
        "Type": _kind(each),
        "Status": _status(each),
        "LastUpdatedDate": changed,
        "LastUsedDate": _moment(month) if each.used else None,
    }


def _error(key: str) -> dict[str, str]:
    return {"TagKey": key, "Code": "TagKeysNotFoundException", "Message": f"Tag keys not found: {key}"}


def _status(each: KeyStatus) -> str:
    return "Active" if each.active else "Inactive"


def _kind(each: KeyStatus) -> str:
    return _BY_AWS if each.key.startswith("aws:") else _BY_USERS


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
