"""GetSessionToken and GetFederationToken: temporary credentials of users; GetAccessKeyInfo: the owner of a key."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.sts.session_view import credentials_view, federated_session_view
from stead_controller.aws.sts.temporary_credentials import has_code, session_request
from stead_controller.errors import MissingParameter
from stead_controller.resources.iam import accounts, federation, mfa_devices
from stead_controller.resources.iam.session_requests import check_mfa


@operation("GetSessionToken", service="sts", writes=has_code)
def get_session_token(call: Call, params: Params) -> Result:
    """Answer temporary credentials of the caller itself."""
    serial_number, code = params.get("SerialNumber"), params.get("TokenCode")
    check_mfa(serial_number, code)
    federation.refuse_session(call.caller, "GetSessionToken")
    shown_factor = mfa_devices.show_factor(call.tx, call.caller, call.cloud.sealer, serial_number, code, now=call.now)
    made = federation.session_token(call.cloud, call.caller, session_request(params), call.now, mfa=shown_factor)
    return credentials_view(made)


@operation("GetFederationToken", service="sts", writes=False)
def get_federation_token(call: Call, params: Params) -> Result:
    """Answer temporary credentials of a federated user, limited by session policies."""
    request = session_request(params)
    made = federation.federation_token(call.cloud, call.caller, params.get("Name"), request, call.now)
    return federated_session_view(made)


@operation("GetAccessKeyInfo", service="sts", writes=False)
def get_access_key_info(call: Call, params: Params) -> Result:
    """Answer the account that owns a key; a temporary key contains it."""
    if "AccessKeyId" not in params:
        raise MissingParameter("AccessKeyId")
    return {"Account": accounts.account_of_key(call.tx, params["AccessKeyId"])}
