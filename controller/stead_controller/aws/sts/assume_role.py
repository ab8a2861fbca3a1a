"""AssumeRole: the request becomes a RoleRequest; the answer has the credentials of the session."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.sts.session_view import role_session_view
from stead_controller.aws.sts.temporary_credentials import has_code, session_request
from stead_controller.errors import Unsupported
from stead_controller.resources.iam.assume_role import RoleRequest
from stead_controller.resources.iam.assume_role import assume_role as begin


@operation("AssumeRole", service="sts", writes=has_code)
def assume_role(call: Call, params: Params) -> Result:
    """Begin a session of a role."""
    if params.get("ProvidedContexts"):
        raise Unsupported("Context providers are not supported.")
    asked = RoleRequest(
        role_arn=params.get("RoleArn"),
        session_name=params.get("RoleSessionName"),
        request=session_request(params),
        external_id=params.get("ExternalId"),
        serial_number=params.get("SerialNumber"),
        token_code=params.get("TokenCode"),
        source_identity=params.get("SourceIdentity"),
    )
    return role_session_view(begin(call.tx, call.cloud, call.caller, asked, condition_keys(call), now=call.now))


def condition_keys(call: Call) -> dict[str, object]:
    """Return the condition keys of the call itself, for the role's trust policy."""
    return {
        "aws:SourceIp": call.source_ip,
        "aws:UserAgent": call.user_agent or None,
        "aws:CurrentTime": call.now,
        "aws:EpochTime": int(call.now.timestamp()),
        "aws:RequestedRegion": call.cloud.region,
        "aws:SecureTransport": call.secure,
    }
