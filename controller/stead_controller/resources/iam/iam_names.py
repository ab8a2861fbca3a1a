"""Names, paths, ids and ARNs of IAM entities, and IAM's messages about invalid ones.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html.
"""

import re
import secrets
from typing import Final

from stead_controller.errors import InvalidParameter

_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ID_DIGITS: Final = 17
_KEY_DIGITS: Final = 16
_PATH_LENGTH: Final = 512
_NAME: Final = r"[\w+=,.@-]+"
_PATH: Final = r"(\u002F)|(\u002F[\u0021-\u007E]+\u002F)"
_POLICY_PATH: Final = r"((/[A-Za-z0-9\.,\+@=_-]+)*)/"
_PREFIX: Final = r"\u002F[\u0021-\u007E]*"
_PATTERNS: Final = {text: re.compile(text, re.ASCII) for text in (_NAME, _PATH, _POLICY_PATH, _PREFIX)}

PREFIXES: Final = {
    "user": "AIDA",
    "group": "AGPA",
    "role": "AROA",
    "instance-profile": "AIPA",
    "policy": "ANPA",
    "oidc-provider": "OIDC",
    "mfa": "AMFA",
}
"""The id prefix of each kind."""


def new_id(kind: str) -> str:
    """Make a new unguessable id, such as `AIDACKCEVSQ6C2EXAMPLE`."""
    return PREFIXES[kind] + _digits(_ID_DIGITS)


def new_access_key_id() -> str:
    """Make the id of a long-lived access key, `AKIA…`."""
    return "AKIA" + _digits(_KEY_DIGITS)


def _digits(count: int) -> str:
    return "".join(secrets.choice(_BASE32) for _ in range(count))


def arn(account_id: str, kind: str, path: str, name: str) -> str:
    """The ARN of a user, group, role, policy or instance profile."""
    return f"arn:aws:iam::{account_id}:{kind}{path}{name}"


def check_name(member: str, name: str) -> str:
    """Return the name; raises InvalidParameter, naming the request's member, when it has other characters."""
    return _check(member, name, _NAME)


def check_path(path: str | None) -> str:
    """Return the path, `/` for none; raises InvalidParameter."""
    return _check("path", path or "/", _PATH)


def check_policy_path(path: str | None) -> str:
    """Return the path of a policy, `/` for none; raises InvalidParameter."""
    return _check("path", path or "/", _POLICY_PATH)


def check_path_prefix(prefix: str | None) -> str:
    """Return the path prefix of a search, `/` for none; raises InvalidParameter."""
    return _check("pathPrefix", prefix or "/", _PREFIX)


def _check(member: str, value: str, pattern: str) -> str:
    if not _PATTERNS[pattern].fullmatch(value) or (pattern != _NAME and len(value) > _PATH_LENGTH):
        raise invalid(member, f"Member must satisfy regular expression pattern: {pattern}")
    return value


def invalid(member: str, constraint: str) -> InvalidParameter:
    """Make IAM's error for a member that violates a constraint."""
    return InvalidParameter(
        f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {constraint}"
    )
