"""Is a resource policy public? Pure.

The rules are S3's (https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html, "The
meaning of public"): an Allow statement is public unless it names principals, or has a condition that allows only fixed
values (no wildcard, no variable) of a key that identifies the caller or where the request comes from.
"""

import ipaddress
from typing import Final

from stead_controller.authorization.conditions import Condition
from stead_controller.authorization.policy_document import PolicyDocument, Statement

_KEYS: Final = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceip",
        "aws:sourceorgid",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    }
)
_OPERATORS: Final = frozenset(
    {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress"}
)
_BROADEST: Final = {4: 8, 6: 32}  # prefix lengths, by the version of the address


def is_public(policy: PolicyDocument) -> bool:
    """Tell whether any statement allows principals that it does not name."""
    return any(_is_public(statement) for statement in policy.statements)


def _is_public(statement: Statement) -> bool:
    principals = statement.principals
    if not statement.allows or principals is None or not principals.everybody:
        return False
    return not any(_narrows(condition) for condition in statement.conditions)


def _narrows(condition: Condition) -> bool:
    """Tell whether a condition holds only for fixed values of a key, and not when the key is absent."""
    if condition.key not in _KEYS or condition.operator not in _OPERATORS:
        return False
    if condition.if_exists or condition.quantifier == "ForAllValues" or not condition.values:
        return False
    is_fixed = _is_narrow_network if condition.operator == "IpAddress" else _is_fixed
    return all(is_fixed(value) for value in condition.values)


def _is_fixed(value: str) -> bool:
    return not any(sign in value for sign in ("*", "?", "${"))


def _is_narrow_network(value: str) -> bool:
    try:
        network = ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        return True  # it contains no address
    return network.prefixlen >= _BROADEST[network.version]
