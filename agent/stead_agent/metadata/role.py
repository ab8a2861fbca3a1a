"""Convert a guest's role into the values below `meta-data/iam/`, in EC2's own JSON.

Sources: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html and, for what
EC2 shows without credentials, https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from stead_agent.metadata.interface import Role

_SUCCESS: Final = "Success"
_NO_PROFILE: Final = "InstanceProfileNotFound"
_PAGE: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html"


def leaves(role: Role) -> Iterator[tuple[str, str]]:
    """Return the paths below `meta-data/` with their values; without credentials a role is not listed."""
    yield "iam/info", _info(role)
    if role.name and (role.code != _SUCCESS or role.secret_access_key):
        yield f"iam/security-credentials/{role.name}", credentials(role)


def without_credentials(role: Role) -> Role:
    """Return the role with expired credentials."""
    return replace(role, access_key_id="", secret_access_key="", session_token="", without_token=None)


def for_who_has_no_token(role: Role) -> Role:
    """Return the role as shown to requests without a token."""
    keys = role.without_token
    if keys is None:
        return role
    return replace(
        role,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        session_token=keys.session_token,
    )


def _info(role: Role) -> str:
    if role.code == _NO_PROFILE:
        message = f"Instance Profile {role.profile_arn} cannot be found. Please see documentation at {_PAGE}."
        return _written({"Code": role.code, "Message": message, "LastUpdated": _time(role.updated)})
    return _written(
        {
            "Code": _SUCCESS,
            "LastUpdated": _time(role.updated),
            "InstanceProfileArn": role.profile_arn,
            "InstanceProfileId": role.profile_id,
        }
    )


def credentials(role: Role) -> str:
    """Return a role's credentials, or why there are none."""
    if role.code != _SUCCESS:
        message = f"EC2 cannot assume the role {role.name}. Please see documentation at {_PAGE}."
        return _written({"Code": role.code, "Message": message, "LastUpdated": _time(role.updated)})
    return _written(
        {
            "Code": _SUCCESS,
            "LastUpdated": _time(role.updated),
            "Type": "AWS-HMAC",
            "AccessKeyId": role.access_key_id,
            "SecretAccessKey": role.secret_access_key,
            "Token": role.session_token,
            "Expiration": _time(role.expires),
        }
    )


def _written(fields: dict[str, str]) -> str:
    return json.dumps(fields, indent=2, separators=(",", " : "))


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
