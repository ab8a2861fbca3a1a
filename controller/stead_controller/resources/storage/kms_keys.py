"""Names of KMS keys; only the names exist here, since Stead encrypts with its own keys.

There is no KMS. The id, ARN or alias of a key is stored with what is encrypted, and shown as the ARN that
AWS would show: https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id. Pure.
"""

import re
import uuid
from typing import Final

_NAMESPACE: Final = uuid.UUID("5e5b7a0e-8f0c-5c3e-9d1f-7f2a6c1f3b52")
_KEY_ID: Final = re.compile(r"(mrk-)?[0-9a-f-]{32,36}\Z")
_ALIAS: Final = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}\Z")
_ARN: Final = re.compile(r"arn:[a-z-]+:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:(?P<rest>(?:key|alias)/.+)\Z")


def arn_of(name: str, partition: str, region: str, account_id: str) -> str | None:
    """Return the ARN of a key by its id, its alias, or an ARN of either; None for an invalid name.

    An id or an alias is one of the account and the region; the key of an alias is always the same one.
    """
    arn = _ARN.match(name)
    rest = arn["rest"] if arn else name
    if _ALIAS.match(rest):
        rest = f"key/{uuid.uuid5(_NAMESPACE, f'{account_id} {rest}')}"
    elif arn and _KEY_ID.match(rest.removeprefix("key/")):
        return name
    elif _KEY_ID.match(rest):
        rest = f"key/{rest}"
    else:
        return None
    return f"arn:{partition}:kms:{region}:{account_id}:{rest}"


def region_of(name: str) -> str | None:
    """Return the region that the ARN of a key or an alias names; None for what is not an ARN."""
    arn = _ARN.match(name)
    return arn["region"] if arn else None
