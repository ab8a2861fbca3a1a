"""Authorization errors with AWS's messages, and an encoded message with the reason for callers that may decode it.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html and
https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html.
"""

import binascii
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag

from stead_controller.authorization.evaluate import Decision, MatchedStatement, Request
from stead_controller.errors import BadRequest, NotAuthorized
from stead_controller.request.caller import Caller
from stead_controller.secrets.sealing import Sealer

_POLICIES: Final = {
    "identity": ("an identity-based policy", "no identity-based policy"),
    "resource": ("a resource-based policy", "no resource-based policy"),
    "boundary": ("a permissions boundary", "no permissions boundary"),
    "session": ("a session policy", "no session policy"),
}
_ENDPOINT: Final = ("a VPC endpoint policy", "no VPC endpoint policy")
_MOST: Final = 1 << 20  # maximum bytes of a decoded message


def refusal(
    caller: Caller, request: Request, decision: Decision, *, service: str, sealer: Sealer, by_endpoint: bool = False
) -> NotAuthorized:
    """Return the error for a request that is not allowed, or that a VPC endpoint's policy does not allow."""
    message = explain(caller, request, decision, by_endpoint=by_endpoint)
    if service == "ec2":
        encoded = encode(caller, request, decision, sealer)
        message = (
            f"You are not authorized to perform this operation. {message}. "
            f"Encoded authorization failure message: {encoded}"
        )
    return NotAuthorized(message)


def explain(caller: Caller, request: Request, decision: Decision, *, by_endpoint: bool = False) -> str:
    """Return who may not do what on which resource, and the kind of policy that is the reason."""
    on = "" if request.resource_arn == "*" else f" on resource: {request.resource_arn}"
    some, none = _ENDPOINT if by_endpoint else _POLICIES[decision.lacking or "identity"]
    why = f"with an explicit deny in {some}"
    if not decision.explicit_deny:
        why = f"because {none} allows the {request.action} action"
    return f"User: {caller.arn} is not authorized to perform: {request.action}{on} {why}"


def encode(caller: Caller, request: Request, decision: Decision, sealer: Sealer) -> str:
    """Seal the details of a decision for the account of the caller."""
    document = {
        "allowed": decision.allowed,
        "explicitDeny": decision.explicit_deny,
        "matchedStatements": {"items": [_statement(one) for one in decision.matched]},
        "failures": {"items": []},
        "context": {
            "principal": {"id": caller.user_id, "arn": caller.arn},
            "action": request.action,
            "resource": request.resource_arn,
            "conditions": {"items": [_condition(key, values) for key, values in sorted(request.context.items())]},
        },
    }
    packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode())
    return urlsafe_b64encode(sealer.seal(packed, _purpose(caller))).decode().rstrip("=")


def decode(caller: Caller, encoded: str, sealer: Sealer) -> str:
    """Return the JSON of a message that was sealed for the caller's account; raises BadRequest for any other text."""
    try:
        sealed = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        unpacker = zlib.decompressobj()
        return unpacker.decompress(sealer.open(sealed, _purpose(caller)), _MOST).decode()
    except (binascii.Error, ValueError, InvalidTag, zlib.error):
        raise BadRequest(
            "The authorization message could not be decoded.", code="InvalidAuthorizationMessageException"
        ) from None


def _purpose(caller: Caller) -> str:
    return f"authorization-message:{caller.account_id}"


def _statement(matched: MatchedStatement) -> dict[str, Any]:
    source = matched.statement.source
    return {
        "statementId": matched.statement.sid,
        "effect": "ALLOW" if matched.statement.allows else "DENY",
        "principals": {"items": []},
        "principalGroups": {"items": []},
        "actions": _items(source.get("Action", source.get("NotAction", ()))),
        "resources": _items(source.get("Resource", source.get("NotResource", ()))),
        "conditions": {
            "items": [
                {"key": key, "values": _items(values)}
                for tests in source.get("Condition", {}).values()
                for key, values in tests.items()
            ]
        },
    }


def _items(values: str | Sequence[str]) -> Mapping[str, Any]:
    listed = values if isinstance(values, list | tuple) else [values]
    return {"items": [{"value": str(value)} for value in listed]}


def _condition(key: str, values: Sequence[str]) -> Mapping[str, Any]:
    return {"key": key, "values": _items(list(values))}
