from datetime import UTC, datetime

from stead_controller.aws.sts.session_view import credentials_view, federated_session_view, role_session_view
from stead_controller.request.session_tokens import MOST, TemporaryCredentials
from stead_controller.resources.iam.federation import FederatedSession
from stead_controller.resources.iam.role_sessions import RoleSession

EXPIRES = datetime(2026, 11, 28, 12, 0, 0, 250_000, tzinfo=UTC)


def credentials(characters):
    return TemporaryCredentials("ASIA1", "secret", "t" * characters, EXPIRES)


def test_credentials_expire_at_a_whole_second():
    shown = credentials_view(credentials(MOST // 2))
    assert shown["Credentials"] == {
        "AccessKeyId": "ASIA1",
        "SecretAccessKey": "secret",
        "SessionToken": "t" * (MOST // 2),
        "Expiration": EXPIRES.replace(microsecond=0),
    }
    assert (shown["SessionTokenSize"], shown["SessionTokenUtilization"]) == (MOST // 2, 50)


def test_a_token_uses_no_more_than_all_of_its_room():
    assert credentials_view(credentials(2 * MOST))["SessionTokenUtilization"] == 100


def test_a_session_of_a_role_says_whose_it_is():
    shown = role_session_view(RoleSession(credentials(10), "AROA1:s", "the ARN", "ada", 7))
    assert shown == {
        **credentials_view(credentials(10)),
        "AssumedRoleUser": {"AssumedRoleId": "AROA1:s", "Arn": "the ARN"},
        "PackedPolicySize": 7,
        "SourceIdentity": "ada",
    }
    assert role_session_view(RoleSession(credentials(10), "AROA1:s", "the ARN", "", None))["SourceIdentity"] is None


def test_a_session_of_a_federated_user_says_whose_it_is():
    assert federated_session_view(FederatedSession(credentials(10), "123456789012:f", "the ARN", 7)) == {
        **credentials_view(credentials(10)),
        "FederatedUser": {"FederatedUserId": "123456789012:f", "Arn": "the ARN"},
        "PackedPolicySize": 7,
    }
