"""What requests for temporary credentials have in common: the properties of the session."""

from stead_controller.aws.call import Params
from stead_controller.errors import MissingParameter
from stead_controller.resources.iam.session_requests import SessionRequest, tags_of


def session_request(params: Params) -> SessionRequest:
    """Read the requested properties of a session; raises MissingParameter, InvalidParameter."""
    return SessionRequest(
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
    """Tell whether an MFA code is given, which can be used only once."""
    return "TokenCode" in params


def _required(given: Params, name: str, member: str) -> str:
    if name not in given:
        raise MissingParameter(member)
    return str(given[name])
