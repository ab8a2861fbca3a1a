"""Access keys."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.resources.iam import access_keys


@operation("CreateAccessKey", service="iam")
def create_access_key(call: Call, params: Params) -> Result:
    """Make an access key and show its secret, once."""
    return {"AccessKey": access_keys.create(call.tx, call.caller, call.cloud.sealer, params.get("UserName"), call.now)}


@operation("ListAccessKeys", service="iam", writes=False)
def list_access_keys(call: Call, params: Params) -> Result:
    """List the access keys of a user, which are few."""
    page = describe.marker_page(call, params, "ListAccessKeys")
    keys = access_keys.of_user(call.tx, call.caller, params.get("UserName"))
    return pages.cut_whole("AccessKeyMetadata", keys, page)


@operation("UpdateAccessKey", service="iam")
def update_access_key(call: Call, params: Params) -> Result:
    """Switch an access key on or off."""
    access_keys.switch(call.tx, call.caller, params.get("UserName"), params["AccessKeyId"], params["Status"])
    return {}


@operation("GetAccessKeyLastUsed", service="iam", writes=False)
def get_access_key_last_used(call: Call, params: Params) -> Result:
    """Show what an access key was last used for."""
    return access_keys.last_used(call.tx, call.caller, params["AccessKeyId"])


@operation("DeleteAccessKey", service="iam")
def delete_access_key(call: Call, params: Params) -> Result:
    """Delete an access key."""
    access_keys.remove(call.tx, call.caller, params.get("UserName"), params["AccessKeyId"])
    return {}
