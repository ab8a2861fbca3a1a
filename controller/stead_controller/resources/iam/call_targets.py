"""The entity that an IAM call is about, for authorization: its ARN, and the values of condition keys about it."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import (
    AccessKey,
    IamGroup,
    IamInstanceProfile,
    IamMfaDevice,
    IamOidcProvider,
    IamPolicy,
    IamRole,
    IamTag,
    IamUser,
)
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction

_TABLES: Final[dict[str, Any]] = {
    "group": IamGroup,
    "instance-profile": IamInstanceProfile,
    "policy": IamPolicy,
    "role": IamRole,
    "user": IamUser,
}


@dataclass(frozen=True, slots=True)
class Entity:
    """A user, group, role, instance profile or managed policy of an account; it does not exist if `id` is empty."""

    arn: str
    id: str = ""
    boundary_arn: str | None = None


def find(tx: Transaction, caller: Caller, cloud: Cloud, kind: str, name: str) -> Entity:
    """Return the account's entity of a kind and name; if there is none, with the ARN it would have in path `/`."""
    table = _TABLES[kind]
    row = tx.session.scalar(
        select(table).where(table.account_id == caller.account_id, table.name_lower == name.lower())
    )
    prefix = f"arn:{cloud.partition}:iam::{caller.account_id}:{kind}"
    if row is None:
        return Entity(f"{prefix}/{name}")
    return Entity(f"{prefix}{row.path}{row.name}", row.id, getattr(row, "boundary_arn", None))


def user_of_key(tx: Transaction, caller: Caller, access_key_id: str) -> str | None:
    """Return the name of the user who owns an access key, in the caller's account."""
    query = (
        select(IamUser.name)
        .join(AccessKey, AccessKey.user_id == IamUser.id)
        .where(AccessKey.id == access_key_id, IamUser.account_id == caller.account_id)
    )
    return tx.session.scalar(query)


def id_of_arn(tx: Transaction, caller: Caller, arn: str) -> str:
    """Return the id of the account's managed policy, issuer or MFA device with this ARN; empty when there is none."""
    name = arn.rpartition("/")[2]
    policy = select(IamPolicy.id).where(IamPolicy.account_id == caller.account_id, IamPolicy.name_lower == name.lower())
    issuer = select(IamOidcProvider.id).where(
        IamOidcProvider.account_id == caller.account_id, IamOidcProvider.url == arn.partition("oidc-provider/")[2]
    )
    device = select(IamMfaDevice.id).where(
        IamMfaDevice.account_id == caller.account_id, IamMfaDevice.name_lower == name.lower()
    )
    query = issuer if ":oidc-provider/" in arn else device if ":mfa/" in arn else policy
    return tx.session.scalar(query) or ""


def tags_of(tx: Transaction, entity_id: str) -> dict[str, str]:
    """Return the tags of an entity by its id."""
    query = select(IamTag.key, IamTag.value).where(IamTag.resource_id == entity_id)
    return {row.key: row.value for row in tx.session.execute(query)}
