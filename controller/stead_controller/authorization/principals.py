"""The principal that makes a request, and those that a resource policy's Principal names: pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

Kind = Literal["root", "user", "role", "federated", "service", "provider", "anonymous"]

_ACCOUNT_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):root\Z")
_ACCOUNT: Final = re.compile(r"\d{12}\Z")
_PRINCIPAL_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:(iam::\d{12}:(user|role)/[^*?]+|sts::\d{12}:(assumed-role/[^*?/]+/[^*?/]+|federated-user/[^*?/]+))\Z"
)
_UNIQUE_ID: Final = re.compile(r"(AIDA|AROA)[A-Z0-9]{12,124}\Z")
_SERVICE: Final = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?\Z")


@dataclass(frozen=True, slots=True)
class Principal:
    """The principal that makes a request.

    `arn` is the one that policies belong to and that aws:PrincipalArn has: for a role's session the role's.
    `session_arn` is that of the session itself, if it is one. `user_id` is the AIDA… or AROA… id of the user or role.
    For a service `arn` is its name, such as `ec2.amazonaws.com`; for an identity provider its ARN or domain.
    """

    arn: str
    account_id: str
    kind: Kind = "user"
    session_arn: str = ""
    user_id: str = ""

    @property
    def has_policies(self) -> bool:
        """Whether it can have identity policies of its own, as identities of an account can."""
        return self.kind not in ("service", "provider", "anonymous")


class Match(IntEnum):
    """How directly a Principal element names the principal."""

    NO = 0
    ACCOUNT = 1  # the account: its policies decide
    IDENTITY = 2  # the user or role, or everyone
    SESSION = 3  # exactly this session


@dataclass(frozen=True, slots=True)
class Principals:
    """A Principal or NotPrincipal element."""

    everybody: bool
    aws: frozenset[str]
    services: frozenset[str]
    federated: frozenset[str]

    def match(self, principal: Principal) -> Match:
        """Tell how directly a principal is named; what it lacks, such as an ARN, is empty, which no element names."""
        if principal.kind == "service":
            return Match.IDENTITY if principal.arn in self.services else Match.NO
        if principal.kind == "provider":
            return Match.IDENTITY if principal.arn in self.federated else Match.NO
        if principal.session_arn in self.aws:
            return Match.SESSION
        if self.everybody:
            return Match.IDENTITY
        if principal.arn in self.aws or principal.user_id in self.aws:
            return Match.IDENTITY
        return Match.ACCOUNT if principal.account_id in self.aws else Match.NO


def principals_of(element: object) -> Principals:
    """Parse a Principal element; raises ValueError with what is wrong."""
    if element == "*":
        return Principals(everybody=True, aws=frozenset(), services=frozenset(), federated=frozenset())
    if not isinstance(element, Mapping) or not element:
        raise ValueError(f'Invalid principal in policy: "{str(element)[:80]}"')
    unknown = set(element) - {"AWS", "Service", "Federated", "CanonicalUser"}
    if unknown:
        raise ValueError(f'Invalid principal in policy: "{min(unknown)[:80]}"')
    aws = [_aws(text) for text in _texts(element.get("AWS", []))]
    services = _texts(element.get("Service", []))
    for service in services:
        if not _SERVICE.match(service):
            raise ValueError(f'Invalid principal in policy: "SERVICE":"{service[:80]}"')
    return Principals(
        everybody="*" in aws,
        aws=frozenset(aws) - {"*"} | frozenset(_texts(element.get("CanonicalUser", []))),
        services=frozenset(services),
        federated=frozenset(_texts(element.get("Federated", []))),
    )


def _texts(value: object) -> Sequence[str]:
    texts = []
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str) or not item:
            raise ValueError(f'Invalid principal in policy: "{str(item)[:80]}"')
        texts.append(item)
    return texts


def _aws(text: str) -> str:
    """Return the value to compare with: `*`, an account's id, an ARN or a unique id."""
    account = _ACCOUNT_ARN.match(text)
    if account:
        return account[1]
    if text == "*" or _ACCOUNT.match(text) or _PRINCIPAL_ARN.match(text) or _UNIQUE_ID.match(text):
        return text
    raise ValueError(f'Invalid principal in policy: "AWS":"{text[:200]}"')
