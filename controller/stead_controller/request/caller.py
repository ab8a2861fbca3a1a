"""Who asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

type Kind = Literal["root", "user", "role", "federated", "anonymous"]
"""What a principal is: an account itself, a user, a role's session, a federated user's session, or anybody at all."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The instance to which a session of its role was given, and how: `delivery` is 2.0 for who showed a token, or 1.0.

    See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html (ec2:RoleDelivery).
    """

    instance_arn: str
    vpc_id: str
    private_address: str
    delivery: str


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials, and what was said when they were given.

    `policies` are session policies, as JSON text, which can only take rights away; `tags` are session tags by their
    keys, of which `transitive` go on to sessions that follow from this one. `mfa` tells whether a second factor was
    shown. `origin` is there for those that EC2 gives to instances, `provider` is the ARN of the issuer who knew whom
    they are for, if any.
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

    `account_id` is 12 digits, `arn` and `user_id` are as STS GetCallerIdentity answers them
    (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html). `principal_id` and `principal_arn`
    are of the user or role that policies belong to: for a role's session the role's, while `arn` is the session's; of
    root `principal_id` is empty. `session` is there for temporary credentials only, `user_name` for users.
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


NOBODY: Final = Caller("", "", "", "")
"""Who makes a call that is not signed; has no account, and so sees nothing."""

ANYBODY: Final = Caller("", "", "anonymous", "", kind="anonymous")
"""Who asks for an object without a signature; may what policies of buckets let everybody do."""
