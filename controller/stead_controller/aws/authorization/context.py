"""The condition keys that every request has: who asks, when, from where.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html. Only those that the
policies in question ask for are looked up.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from stead_controller.aws.call import Call
from stead_controller.resources.caller import Caller

PRINCIPAL_TAG: Final = "aws:principaltag/"

_PRINCIPAL_TYPES: Final = {"root": "Account", "user": "User", "role": "AssumedRole", "federated": "FederatedUser"}


def _user_id(caller: Caller) -> str:
    return caller.user_id or caller.account_id


def _user_name(caller: Caller) -> str | None:
    return caller.user_name if caller.kind == "user" else None


def _seconds_since_mfa(call: Call) -> int | None:
    session = call.caller.session
    return int((call.now - session.issued).total_seconds()) if session is not None and session.mfa else None


def _mfa(call: Call) -> bool | None:
    """Long-term keys have no such key at all: `Bool` is false for them, `BoolIfExists` true."""
    return call.caller.session.mfa if call.caller.session is not None else None


# Values by condition key; None is a key that the request does not have.
_KEYS: Final[Mapping[str, Callable[[Call], Any]]] = {
    "aws:CurrentTime": lambda call: call.now,
    "aws:EpochTime": lambda call: int(call.now.timestamp()),
    "aws:MultiFactorAuthAge": _seconds_since_mfa,
    "aws:MultiFactorAuthPresent": _mfa,
    "aws:PrincipalAccount": lambda call: call.caller.account_id,
    "aws:PrincipalArn": lambda call: call.caller.principal_arn or call.caller.arn,
    "aws:PrincipalIsAWSService": lambda _: False,
    "aws:PrincipalType": lambda call: _PRINCIPAL_TYPES[call.caller.kind],
    "aws:RequestedRegion": lambda call: call.cloud.region,
    "aws:SecureTransport": lambda call: call.secure,
    "aws:SourceIdentity": lambda call: call.caller.session.source_identity or None if call.caller.session else None,
    "aws:SourceIp": lambda call: call.source_ip or None,
    "aws:TokenIssueTime": lambda call: call.caller.session.issued if call.caller.session else None,
    "aws:UserAgent": lambda call: call.user_agent or None,
    "aws:ViaAWSService": lambda _: False,
    "aws:userid": lambda call: _user_id(call.caller),
    "aws:username": lambda call: _user_name(call.caller),
    "ec2:Region": lambda call: call.cloud.region,
}
_BY_LOWER_NAME: Final = {name.lower(): (name, value) for name, value in _KEYS.items()}


def of_call(call: Call, keys: Collection[str]) -> dict[str, Any]:
    """Give the values of those of the keys, in lower case, that a request itself has."""
    found: dict[str, Any] = {}
    for key in keys:
        known = _BY_LOWER_NAME.get(key)
        if known is not None:
            name, value = known
            found[name] = value(call)
    return found


def of_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Give the condition keys of the tags that a request sets."""
    return {"aws:TagKeys": list(tags), **{f"aws:RequestTag/{key}": value for key, value in tags.items()}}
