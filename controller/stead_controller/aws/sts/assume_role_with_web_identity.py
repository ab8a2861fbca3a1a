"""AssumeRoleWithWebIdentity, which is unsigned: the token in it identifies the caller."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.sts.assume_role import condition_keys
from stead_controller.aws.sts.session_view import role_session_view
from stead_controller.aws.sts.temporary_credentials import session_request
from stead_controller.errors import Unsupported
from stead_controller.resources.iam.assume_role_with_web_identity import WebIdentityRequest, assume


@operation("AssumeRoleWithWebIdentity", service="sts", writes=False, signed=False)
def assume_role_with_web_identity(call: Call, params: Params) -> Result:
    """Begin a session of a role for a caller that an OIDC provider has authenticated."""
    if params.get("ProviderId"):
        raise Unsupported("OAuth 2.0 access tokens are not supported; send an OpenID Connect ID token.")
    asked = WebIdentityRequest(
        role_arn=params.get("RoleArn"),
        session_name=params.get("RoleSessionName"),
        token=params.get("WebIdentityToken"),
        request=session_request(params),
    )
    made = assume(call.tx, call.cloud, asked, condition_keys(call), call.now)
    return {
        **role_session_view(made.session),
        "SubjectFromWebIdentityToken": made.subject,
        "Audience": made.audience,
        "Provider": made.issuer,
    }
