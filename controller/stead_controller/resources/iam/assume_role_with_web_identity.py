"""AssumeRoleWithWebIdentity: a user of an external issuer gets a session of a role that trusts the issuer.

Three must agree: the operator, who configures the issuer's keys; the account, which has the issuer as an identity
provider for this audience; and the role's trust policy. The call itself is unsigned: the issuer signs the token, and
may set session tags and a source identity by AWS's claims
(https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html).
See https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from stead_controller.authorization.principals import Principal
from stead_controller.db.tables import IamOidcProvider
from stead_controller.errors import MissingParameter, NotAuthorized
from stead_controller.request.cloud import Cloud
from stead_controller.request.session_tokens import Facts
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import oidc_providers, role_sessions, web_identity_tokens
from stead_controller.resources.iam.assume_role import role_duration
from stead_controller.resources.iam.role_sessions import MAX_SESSION_NAME, RoleSession
from stead_controller.resources.iam.session_requests import (
    MAX_SOURCE_IDENTITY,
    SessionRequest,
    actions,
    check_name,
    check_policies,
    check_tags,
    request_keys,
)

ACTION: Final = "sts:AssumeRoleWithWebIdentity"

_CLAIMS: Final = ("sub", "amr", "azp", "email")  # claims that trust policies may test, as condition keys of the issuer


@dataclass(frozen=True, slots=True)
class WebIdentityRequest:
    """AssumeRoleWithWebIdentity, parsed."""

    role_arn: str | None
    session_name: str | None
    token: str | None = field(repr=False)
    request: SessionRequest = field(default_factory=SessionRequest)


@dataclass(frozen=True, slots=True)
class WebSession:
    """The response: the session, and the token's subject, audience and issuer."""

    session: RoleSession
    subject: str
    audience: str
    issuer: str


def assume(
    tx: Transaction, cloud: Cloud, asked: WebIdentityRequest, context: Mapping[str, Any], now: datetime
) -> WebSession:
    """Begin a session of a role; raises BadRequest for bad input and tokens, NotAuthorized where it is not trusted."""
    role = role_sessions.find_role(tx, asked.role_arn)
    name = check_name(asked.session_name, "roleSessionName", MAX_SESSION_NAME)
    check_policies(asked.request)
    if asked.token is None:
        raise MissingParameter("WebIdentityToken")
    issuer = web_identity_tokens.issuer_of(asked.token)
    keys = cloud.issuers.keys_of(issuer)
    if keys is None:
        raise web_identity_tokens.invalid(f"No OpenIDConnect provider found in your account for {issuer}")
    claims = web_identity_tokens.claims_of(asked.token, keys, now)
    provider = _provider(tx, role.account_id, issuer)
    if provider is None:
        raise _refused()
    known = json.loads(provider.client_ids)
    audience = next((each for each in web_identity_tokens.audiences_of(claims) if each in known), None)
    if audience is None:
        raise web_identity_tokens.invalid("Incorrect token audience")
    principal = Principal(oidc_providers.arn_of(provider), role.account_id, kind="provider")
    request, identity = _from_claims(asked.request, claims)
    said = {f"{provider.url}:{claim}": claims.get(claim) for claim in _CLAIMS}
    wanted = {**context, **said, **request_keys(request, name, identity), f"{provider.url}:aud": audience}
    for action in actions(ACTION, tags=bool(request.tags), identity=bool(identity)):
        if not role_sessions.trusts(role, principal, action, wanted) or not role.is_there:
            raise _refused()
    facts = Facts(
        kind="role",
        account_id=role.account_id,
        principal_id=role.id,
        name=name,
        issued=now,
        expires=now + role_duration(role, asked.request),
        policy=asked.request.policy,
        policy_arns=asked.request.policy_arns,
        tags=tuple(request.tags.items()),
        transitive=request.transitive,
        source_identity=identity,
        provider=principal.arn,
    )
    return WebSession(role_sessions.begin(cloud, role, facts, request), claims["sub"], audience, issuer)


def _from_claims(request: SessionRequest, claims: Mapping[str, Any]) -> tuple[SessionRequest, str]:
    """Add the session tags that the issuer sets, and return its source identity; raises BadRequest."""
    tags, transitive = web_identity_tokens.tags_of(claims)
    request = replace(request, tags=tags, transitive=transitive)
    check_tags(request, {})
    identity = web_identity_tokens.source_identity_of(claims)
    if identity:
        check_name(identity, "sourceIdentity", MAX_SOURCE_IDENTITY)
    return request, identity


def _refused() -> NotAuthorized:
    return NotAuthorized(f"Not authorized to perform {ACTION}", code="AccessDenied")


def _provider(tx: Transaction, account_id: str, issuer: str) -> IamOidcProvider | None:
    url = issuer.removeprefix("https://").rstrip("/")
    mine = (IamOidcProvider.account_id == account_id, IamOidcProvider.url == url)
    return tx.session.scalar(select(IamOidcProvider).where(*mine))
