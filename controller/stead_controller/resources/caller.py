"""Who asks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated principal.

    `account_id` is 12 digits, `arn` and `user_id` are as STS GetCallerIdentity answers them
    (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html).
    """

    account_id: str
    arn: str
    user_id: str
    access_key_id: str
