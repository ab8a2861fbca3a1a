"""The caller of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

type Kind = Literal["root", "user", "role", "federated", "anonymous"]
"""The kind of a principal: an account itself, a user, a role's session, a federated user's session, or anonymous."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The instance that got its role's session, and how: `delivery` is 2.0 if it used a token (IMDSv2), else 1.0.

    See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html (ec2:RoleDelivery).
    """

    instance_arn: str
    vpc_id: str
    private_address: str
    delivery: str


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials, and the facts set when they were issued.

    `policies` are session policies, as JSON text, which can only remove rights; `tags` are session tags by key, of
    which the `transitive` ones are inherited by sessions that this one begins. `mfa` tells whether a second factor was
    used. `origin` is set for sessions that EC2 gives to instances, `provider` is the ARN of the identity provider that
    authenticated the user, if any.
    """

    name: str
    issued: datetime
    expires: datetime
    policies: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    transitive: tuple[str, ...] = ()
    source_identity: str = ""
    mfa: bool = False
    origin: Origin | None = None
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated principal.

    `account_id` is 12 digits, `arn` and `user_id` are as in STS GetCallerIdentity
    (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html). `principal_id` and `principal_arn`
    are those of the user or role that policies belong to: for a role's session the role's, while `arn` is the
    session's; for root `principal_id` is empty. `session` is set for temporary credentials only, `user_name` for users.
    """

    account_id: str
    arn: str
    user_id: str
    access_key_id: str
    kind: Kind = "root"
    session: Session | None = None
    principal_id: str = ""
    principal_arn: str = ""
    user_name: str = ""


NO_CALLER: Final = Caller("", "", "", "")
"""The caller of an unsigned call; it has no account, and so sees nothing."""

ANONYMOUS: Final = Caller("", "", "anonymous", "", kind="anonymous")
"""The caller of an unsigned object request; it may do what bucket policies allow everyone."""
