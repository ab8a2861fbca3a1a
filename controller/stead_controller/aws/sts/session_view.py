"""Sessions as STS shows them: their credentials and their owners."""

from stead_controller.aws.call import Result
from stead_controller.request.session_tokens import MOST, TemporaryCredentials
from stead_controller.resources.iam.federation import FederatedSession
from stead_controller.resources.iam.role_sessions import RoleSession


def credentials_view(credentials: TemporaryCredentials) -> Result:
    """Show credentials, and the size of their token."""
    size = len(credentials.session_token)
    return {
        "Credentials": {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "Expiration": credentials.expires.replace(microsecond=0),
        },
        "SessionTokenSize": size,
        "SessionTokenUtilization": min(100, 100 * size // MOST),
    }


def role_session_view(session: RoleSession) -> Result:
    """Show a session of a role."""
    return {
        **credentials_view(session.credentials),
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
        "PackedPolicySize": session.packed_percent,
        "SourceIdentity": session.source_identity or None,
    }


def federated_session_view(session: FederatedSession) -> Result:
    """Show a session of a federated user."""
    return {
        **credentials_view(session.credentials),
        "FederatedUser": {"FederatedUserId": session.user_id, "Arn": session.arn},
        "PackedPolicySize": session.packed_percent,
    }
