"""Access keys."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.access_key_view import access_key_view, last_use_view, new_access_key_view
from stead_controller.resources.iam import access_keys, iam_names

_STATUSES: Final = {"Active": True, "Inactive": False}


@operation("CreateAccessKey", service="iam")
def create_access_key(call: Call, params: Params) -> Result:
    """Create an access key and show its secret, once."""
    made = access_keys.create(call.tx, call.caller, call.cloud.sealer, params.get("UserName"), call.now)
    return {"AccessKey": new_access_key_view(made)}


@operation("ListAccessKeys", service="iam", writes=False)
def list_access_keys(call: Call, params: Params) -> Result:
    """List the access keys of a user, which are few."""
    page = describe.marker_page(call, params, "ListAccessKeys")
    keys = access_keys.of_user(call.tx, call.caller, params.get("UserName"))
    return pages.cut_whole("AccessKeyMetadata", keys, page, access_key_view)


@operation("UpdateAccessKey", service="iam")
def update_access_key(call: Call, params: Params) -> Result:
    """Switch an access key on or off."""
    active = _STATUSES.get(params["Status"])
    if active is None:
        raise iam_names.invalid("status", f"Member must satisfy enum value set: [{', '.join(_STATUSES)}]")
    access_keys.switch(call.tx, call.caller, params.get("UserName"), params["AccessKeyId"], active=active)
    return {}


@operation("GetAccessKeyLastUsed", service="iam", writes=False)
def get_access_key_last_used(call: Call, params: Params) -> Result:
    """Show what an access key was last used for."""
    return last_use_view(access_keys.last_used(call.tx, call.caller, params["AccessKeyId"]))


@operation("DeleteAccessKey", service="iam")
def delete_access_key(call: Call, params: Params) -> Result:
    """Delete an access key."""
    access_keys.remove(call.tx, call.caller, params.get("UserName"), params["AccessKeyId"])
    return {}
