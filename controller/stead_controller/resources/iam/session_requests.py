"""Check the parameters of a requested session: its name, duration, policies and tags. Pure.

Limits are STS's (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html) and the model's.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from stead_controller.authorization.policy_document import MalformedPolicy, parse_new
from stead_controller.errors import BadRequest, InvalidParameter, MissingParameter
from stead_controller.request.session_tokens import Facts

MIN_SECONDS: Final = 900
ONE_HOUR: Final = 3600
MAX_ROLE_SECONDS: Final = 43_200
MAX_USER_SECONDS: Final = 129_600
MAX_SOURCE_IDENTITY: Final = 64
_MAX_POLICY: Final = 2048
_MAX_POLICY_ARNS: Final = 10
_MAX_TAGS: Final = 50
_PACKED_BYTES: Final = 3072  # so that a token fits into one header of any HTTP server
_NAME: Final = re.compile(r"[\w+=,.@-]+\Z", re.ASCII)
_EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:\\/-]+\Z", re.ASCII)
_SERIAL: Final = re.compile(r"[\w+=/:,.@-]+\Z", re.ASCII)
_TOKEN_CODE: Final = re.compile(r"[0-9]*\Z")
_TAG: Final = re.compile(r"[\w\s.:/=+\-@]*\Z")
_POLICY_ARN: Final = re.compile(r"arn:aws:iam::(?:aws|[0-9]{12}):policy/\S+\Z")


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """The requested properties of a session beside its principal; `seconds` None is the operation's default.

    Its token must have at least `least_token` characters.
    """

    seconds: int | None = None
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    least_token: int = 0


def invalid(value: object, member: str, *constraints: str) -> InvalidParameter:
    """Make the error for a value that the model does not allow, with all constraints that it violates."""
    said = "; ".join(
        f"Value '{value}' at '{member}' failed to satisfy constraint: Member must {one}" for one in constraints
    )
    plural = "s" if len(constraints) > 1 else ""
    return InvalidParameter(f"{len(constraints)} validation error{plural} detected: {said}")


def check_name(name: str | None, member: str, longest: int) -> str:
    """Return a session's name, or another value of the same form; raises MissingParameter, InvalidParameter."""
    if name is None:
        raise MissingParameter(member[0].upper() + member[1:])
    return _check(name, member, (2, longest), _NAME, r"[\w+=,.@-]*")


def check_external_id(external_id: str | None) -> None:
    """Check an external id; raises InvalidParameter."""
    if external_id is not None:
        _check(external_id, "externalId", (2, 1224), _EXTERNAL_ID, r"[\w+=,.@:\/-]*")


def check_mfa(serial_number: str | None, token_code: str | None) -> None:
    """Check the form of a request's MFA parameters; raises InvalidParameter."""
    if serial_number is not None:
        _check(serial_number, "serialNumber", (9, 256), _SERIAL, r"[\w+=/:,.@-]*")
    if token_code is not None:
        _check(token_code, "tokenCode", (6, 6), _TOKEN_CODE, r"[\d]*")


def duration(request: SessionRequest, default: int, longest: int) -> timedelta:
    """Return the duration of a session; raises InvalidParameter."""
    seconds = default if request.seconds is None else request.seconds
    if seconds < MIN_SECONDS:
        raise invalid(seconds, "durationSeconds", f"have value greater than or equal to {MIN_SECONDS}")
    if seconds > longest:
        raise invalid(seconds, "durationSeconds", f"have value less than or equal to {longest}")
    return timedelta(seconds=seconds)


def check_policies(request: SessionRequest) -> None:
    """Check session policies; raises InvalidParameter, MalformedPolicy."""
    if len(request.policy) > _MAX_POLICY:
        raise invalid(request.policy, "policy", f"have length less than or equal to {_MAX_POLICY}")
    if request.policy:
        if not all(character in "\t\n\r" or " " <= character <= "\xff" for character in request.policy):
            raise MalformedPolicy("The policy has characters that are not allowed.")
        parse_new(request.policy)
    if len(request.policy_arns) > _MAX_POLICY_ARNS:
        raise invalid(list(request.policy_arns), "policyArns", f"have length less than or equal to {_MAX_POLICY_ARNS}")
    for arn in request.policy_arns:
        if not _POLICY_ARN.match(arn):
            raise InvalidParameter(f"ARN {arn} is not valid.")


def check_tags(request: SessionRequest, inherited: Mapping[str, str]) -> None:
    """Check session tags against the limits, and against the transitive tags of the caller's session.

    Raises InvalidParameter.
    """
    if len(request.tags) > _MAX_TAGS:
        raise invalid("tags", "tags", f"have length less than or equal to {_MAX_TAGS}")
    for key, value in request.tags.items():
        if not 1 <= len(key) <= 128 or not _TAG.match(key) or key.lower().startswith("aws:"):
            raise invalid(key, "tags.1.member.key", r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+")
        if len(value) > 256 or not _TAG.match(value):
            raise invalid(
                value, "tags.1.member.value", r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*"
            )
    lowered = {key.lower() for key in request.tags}
    if len(lowered) != len(request.tags):
        raise InvalidParameter(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.", code="InvalidParameterValue"
        )
    if not {key.lower() for key in request.transitive} <= lowered:
        raise InvalidParameter(
            "The specified transitive tag key must be included in the requested tags.", code="InvalidParameterValue"
        )
    if lowered & {key.lower() for key in inherited}:
        raise InvalidParameter(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
            "from the calling session.",
            code="InvalidParameterValue",
        )


def actions(first: str, *, tags: bool, identity: bool) -> Iterator[str]:
    """List the actions that a role's trust policy must allow: the first, and those for tags and a source identity."""
    yield first
    if tags:
        yield "sts:TagSession"
    if identity:
        yield "sts:SetSourceIdentity"


def request_keys(request: SessionRequest, name: str, identity: str) -> dict[str, object]:
    """Return the condition keys of a session request; None is a key that the request does not have.

    See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html.
    """
    return {
        "sts:RoleSessionName": name,
        "sts:SourceIdentity": identity or None,
        "sts:DurationSeconds": request.seconds,
        "aws:TagKeys": tuple(request.tags),
        "sts:TransitiveTagKeys": request.transitive,
        **{f"aws:RequestTag/{key}": value for key, value in request.tags.items()},
    }


def packed_percent(facts: Facts) -> int | None:
    """Return how much of a token's maximum size policies and tags take, in percent; None when there are none.

    Raises BadRequest when they do not fit.
    """
    if not (facts.policy or facts.policy_arns or facts.tags):
        return None
    percent = max(1, 100 * len(facts.packed()) // _PACKED_BYTES)
    if percent > 100:
        raise BadRequest(
            f"Packed policy consumes {percent}% of allotted space, please use smaller policy.",
            code="PackedPolicyTooLarge",
        )
    return percent


def tags_of(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Convert a request's tags to a mapping; raises InvalidParameter for a duplicate key."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidParameter(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.", code="InvalidParameterValue"
        )
    return found


def handed_on(tags: Mapping[str, str], transitive: Collection[str]) -> dict[str, str]:
    """Return the transitive tags, which following sessions inherit."""
    lowered = {key.lower() for key in transitive}
    return {key: value for key, value in tags.items() if key.lower() in lowered}


def _check(value: str, member: str, lengths: tuple[int, int], form: re.Pattern[str], shown: str) -> str:
    least, most = lengths
    broken = [] if form.match(value) else [f"satisfy regular expression pattern: {shown}"]
    if len(value) < least:
        broken.append(f"have length greater than or equal to {least}")
    if len(value) > most:
        broken.append(f"have length less than or equal to {most}")
    if broken:
        raise invalid(value, member, *broken)
    return value
