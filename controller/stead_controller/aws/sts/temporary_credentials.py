"""What STS's operations have in common: the wish for a session as it comes, and credentials as they are answered."""

from typing import Any

from stead_controller.aws.call import Params
from stead_controller.errors import MissingParameter
from stead_controller.request.session_tokens import MOST, TemporaryCredentials
from stead_controller.resources.iam.session_requests import SessionWish, tags_of


def session_wish(params: Params) -> SessionWish:
    """Read what a session is to have; raises MissingParameter, InvalidParameter."""
    return SessionWish(
        seconds=params.get("DurationSeconds"),
        policy=params.get("Policy", ""),
        policy_arns=tuple(_required(each, "arn", "PolicyArns.member.arn") for each in params.get("PolicyArns", ())),
        tags=tags_of(
            [(_required(tag, "Key", "Tags.member.Key"), tag.get("Value", "")) for tag in params.get("Tags", ())]
        ),
        transitive=tuple(params.get("TransitiveTagKeys", ())),
        least_token=params.get("MinimumSessionTokenSize", 0),
    )


def has_code(params: Params) -> bool:
    """Tell whether a code of a second factor is given, which is then used up."""
    return "TokenCode" in params


def shown(credentials: TemporaryCredentials) -> dict[str, Any]:
    """Answer credentials, and how long their token is."""
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


def _required(given: Params, name: str, member: str) -> str:
    if name not in given:
        raise MissingParameter(member)
    return str(given[name])
