"""OpenID Connect issuers that an account trusts to authenticate users.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html. Thumbprints are only
stored and shown; the operator configures an issuer's keys, since Stead makes no requests to the outside.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import IamOidcProvider
from stead_controller.errors import AlreadyExists, InvalidParameter, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import iam_names, iam_quotas, iam_tags

_URL: Final = re.compile(r"https://(?P<rest>[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]*)?)")
_THUMBPRINT: Final = re.compile(r"[0-9a-fA-F]{40}")
_CLIENTS: Final = 100
_THUMBPRINTS: Final = 5
_CLIENT_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class DescribedOidcProvider:
    """An issuer: its URL without the scheme, the accepted audiences, thumbprints and tags."""

    arn: str
    url: str
    client_ids: Sequence[str]
    thumbprints: Sequence[str]
    created: datetime
    tags: Sequence[tuple[str, str]]


def create(
    tx: Transaction,
    caller: Caller,
    url: str,
    *,
    client_ids: Sequence[str],
    thumbprints: Sequence[str],
    tags: Iterable[tuple[str, str]],
    now: datetime,
) -> DescribedOidcProvider:
    """Create an issuer; raises InvalidParameter, AlreadyExists, LimitExceeded."""
    match = _URL.fullmatch(url)
    if not match:
        raise InvalidParameter("Invalid Open ID Connect Provider URL", code="InvalidInput")
    rest = match["rest"].rstrip("/")
    mine = IamOidcProvider.account_id == caller.account_id
    if tx.session.scalar(select(IamOidcProvider.id).where(mine, IamOidcProvider.url == rest)) is not None:
        raise AlreadyExists("iam-oidc-provider", f"Provider with url https://{rest} already exists.")
    iam_quotas.check_account(tx, caller, quotas.IAM_ISSUERS, "OpenIDConnectProvidersPerAccount", IamOidcProvider)
    provider = IamOidcProvider(
        id=iam_names.new_id("oidc-provider"),
        account_id=caller.account_id,
        url=rest,
        client_ids=json.dumps(_check_clients(client_ids)),
        thumbprints=json.dumps(_check_thumbprints(thumbprints)),
        created=now,
    )
    tx.session.add(provider)
    iam_tags.set_tags(tx, provider.id, tags)
    return _described(tx, provider)


def find(tx: Transaction, caller: Caller, arn: str) -> IamOidcProvider:
    """One of the caller's account's issuers; raises NotFound."""
    found = tx.session.scalar(
        select(IamOidcProvider).where(
            IamOidcProvider.account_id == caller.account_id,
            IamOidcProvider.url == arn.partition(":oidc-provider/")[2],
        )
    )
    if found is None or arn_of(found) != arn:
        raise NotFound("iam-oidc-provider", arn, message=f"OpenIDConnect Provider not found for arn {arn}")
    return found


def get(tx: Transaction, caller: Caller, arn: str) -> DescribedOidcProvider:
    """Find an issuer with its tags; raises NotFound."""
    return _described(tx, find(tx, caller, arn))


def of_account(tx: Transaction, caller: Caller) -> list[str]:
    """The ARNs of all issuers, which are few."""
    mine = select(IamOidcProvider).where(IamOidcProvider.account_id == caller.account_id)
    return [arn_of(provider) for provider in tx.session.scalars(mine.order_by(IamOidcProvider.url))]


def add_client(tx: Transaction, caller: Caller, arn: str, client_id: str) -> None:
    """Accept tokens for another audience; raises NotFound, LimitExceeded."""
    provider = find(tx, caller, arn)
    known = json.loads(provider.client_ids)
    if client_id not in known:
        provider.client_ids = json.dumps(_check_clients([*known, client_id]))


def remove_client(tx: Transaction, caller: Caller, arn: str, client_id: str) -> None:
    """Stop accepting tokens for an audience; raises NotFound for the issuer only."""
    provider = find(tx, caller, arn)
    provider.client_ids = json.dumps([known for known in json.loads(provider.client_ids) if known != client_id])


def set_thumbprints(tx: Transaction, caller: Caller, arn: str, thumbprints: Sequence[str]) -> None:
    """Replace the thumbprints; raises NotFound, InvalidParameter."""
    find(tx, caller, arn).thumbprints = json.dumps(_check_thumbprints(thumbprints))


def remove(tx: Transaction, caller: Caller, arn: str) -> None:
    """Delete an issuer; raises NotFound."""
    provider = find(tx, caller, arn)
    iam_tags.remove_all(tx, provider.id)
    tx.session.delete(provider)


def arn_of(provider: IamOidcProvider) -> str:
    """The ARN of an issuer."""
    return f"arn:aws:iam::{provider.account_id}:oidc-provider/{provider.url}"


def _described(tx: Transaction, provider: IamOidcProvider) -> DescribedOidcProvider:
    return DescribedOidcProvider(
        arn=arn_of(provider),
        url=provider.url,
        client_ids=json.loads(provider.client_ids),
        thumbprints=json.loads(provider.thumbprints),
        created=provider.created,
        tags=iam_tags.pairs_of(tx, provider.id),
    )


def _check_clients(client_ids: Sequence[str]) -> list[str]:
    if len(client_ids) > _CLIENTS:
        raise iam_quotas.exceeded("ClientIdsPerOpenIdConnectProvider", _CLIENTS)
    if any(not 1 <= len(client_id) <= _CLIENT_LENGTH for client_id in client_ids):
        raise iam_names.invalid("clientID", f"Member must have length less than or equal to {_CLIENT_LENGTH}")
    return list(dict.fromkeys(client_ids))


def _check_thumbprints(thumbprints: Sequence[str]) -> list[str]:
    if len(thumbprints) > _THUMBPRINTS:
        raise InvalidParameter(f"Thumbprint list must contain fewer than {_THUMBPRINTS} entries.", code="InvalidInput")
    for thumbprint in thumbprints:
        if not _THUMBPRINT.fullmatch(thumbprint):
            raise InvalidParameter("Thumbprint must be 40 hexadecimal digits.", code="InvalidInput")
    return list(thumbprints)
