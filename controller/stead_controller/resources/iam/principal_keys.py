"""The condition keys about the caller, the same for every service.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html. None is a key that the
caller does not have.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from stead_controller.request.caller import Caller, Origin

PRINCIPAL_TAG: Final = "aws:principaltag/"
"""The prefix of the keys of the caller's tags, in lower case."""

_TYPES: Final = {
    "anonymous": "Anonymous",
    "federated": "FederatedUser",
    "role": "AssumedRole",
    "root": "Account",
    "user": "User",
}


def _mfa(caller: Caller, _now: datetime) -> bool | None:
    """Long-term keys have no such key at all: `Bool` is false for them, `BoolIfExists` true."""
    return caller.session.mfa if caller.session is not None else None


def _mfa_age(caller: Caller, now: datetime) -> int | None:
    session = caller.session
    return int((now - session.issued).total_seconds()) if session is not None and session.mfa else None


def _arn(caller: Caller, _now: datetime) -> str | None:
    """For a role's session it is the role's, for a federated user its own."""
    return (caller.arn if caller.kind == "federated" else caller.principal_arn or caller.arn) or None


def _of_origin(read: Callable[[Origin], str | None]) -> Callable[[Caller, datetime], str | None]:
    """Read a value of the instance that a role's session was issued to; other callers have no such key."""

    def value(caller: Caller, _now: datetime) -> str | None:
        session = caller.session
        return read(session.origin) if session is not None and session.origin is not None else None

    return value


KEYS: Final[Mapping[str, Callable[[Caller, datetime], Any]]] = {
    "aws:Ec2InstanceSourcePrivateIPv4": _of_origin(lambda origin: origin.private_address or None),
    "aws:Ec2InstanceSourceVpc": _of_origin(lambda origin: origin.vpc_id),
    "aws:FederatedProvider": lambda caller, _: caller.session.provider or None if caller.session else None,
    "aws:MultiFactorAuthAge": _mfa_age,
    "aws:MultiFactorAuthPresent": _mfa,
    "aws:PrincipalAccount": lambda caller, _: caller.account_id or None,
    "aws:PrincipalArn": _arn,
    "aws:PrincipalIsAWSService": lambda _caller, _now: False,
    "aws:PrincipalType": lambda caller, _: _TYPES[caller.kind],
    "aws:SourceIdentity": lambda caller, _: caller.session.source_identity or None if caller.session else None,
    "aws:TokenIssueTime": lambda caller, _: caller.session.issued if caller.session else None,
    "aws:ViaAWSService": lambda _caller, _now: False,
    "aws:userid": lambda caller, _: caller.user_id or caller.account_id,
    "aws:username": lambda caller, _: (caller.user_name or None) if caller.kind == "user" else None,
    "ec2:RoleDelivery": _of_origin(lambda origin: origin.delivery),
    "ec2:SourceInstanceARN": _of_origin(lambda origin: origin.instance_arn),
}
"""Each key, and the function that reads it from a caller at a time."""


def of_caller(caller: Caller, now: datetime) -> dict[str, Any]:
    """Return all of these keys except the caller's tags."""
    return {name: read(caller, now) for name, read in KEYS.items()}


def of_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of the tags that a caller has."""
    return {f"aws:PrincipalTag/{key}": value for key, value in tags.items()}


def joined_tags(own: Mapping[str, str], caller: Caller) -> dict[str, str]:
    """Return the tags of a user or role, overridden by the session's tags; keys that differ in case are the same."""
    given = caller.session.tags if caller.session is not None else {}
    lowered = {key.lower() for key in given}
    return {key: value for key, value in own.items() if key.lower() not in lowered} | dict(given)
