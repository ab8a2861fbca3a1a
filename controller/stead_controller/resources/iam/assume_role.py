"""AssumeRole: a principal that a role trusts, and whose own policies allow it, gets a session of the role.

See https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html; a role that assumes another one (chaining)
gets an hour at most, and passes its transitive tags and its source identity on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stead_controller.authorization.evaluate import Policies, of_principal
from stead_controller.errors import BadRequest, NotAuthorized
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.session_tokens import Facts
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import call_targets, mfa_devices, principal_keys, role_sessions
from stead_controller.resources.iam.policies_of_caller import policies_of
from stead_controller.resources.iam.principals import principal_of
from stead_controller.resources.iam.role_sessions import MAX_SESSION_NAME, AskedRole, RoleSession
from stead_controller.resources.iam.session_requests import (
    MAX_ROLE_SECONDS,
    MAX_SOURCE_IDENTITY,
    ONE_HOUR,
    SessionRequest,
    actions,
    check_external_id,
    check_mfa,
    check_name,
    check_policies,
    check_tags,
    duration,
    handed_on,
    request_keys,
)


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """AssumeRole, parsed."""

    role_arn: str | None
    session_name: str | None
    request: SessionRequest = field(default_factory=SessionRequest)
    external_id: str | None = None
    serial_number: str | None = None
    token_code: str | None = field(default=None, repr=False)
    source_identity: str | None = None


def assume_role(
    tx: Transaction, cloud: Cloud, caller: Caller, asked: RoleRequest, context: Mapping[str, Any], *, now: datetime
) -> RoleSession:
    """Begin a session of a role; `context` has the condition keys that every call has.

    An MFA code applies to this call only, not to the session
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html).
    Raises a BadRequest for bad input and a wrong code. Raises the same NotAuthorized, after the same work, where there
    is no such role, where it does not trust the caller, and where the caller's own policies do not allow it.
    """
    role = role_sessions.find_role(tx, asked.role_arn)
    name = check_name(asked.session_name, "roleSessionName", MAX_SESSION_NAME)
    inherited = _inherited(caller)
    _check(asked, inherited)
    if caller.kind == "root":
        raise NotAuthorized("Roles may not be assumed by root accounts.", code="AccessDenied")
    identity = _source_identity(caller, asked)
    keys = {
        **context,
        **_principal_keys(tx, caller, now),
        **request_keys(asked.request, name, identity),
        "sts:ExternalId": asked.external_id,
    }
    if mfa_devices.show_factor(tx, caller, cloud.sealer, asked.serial_number, asked.token_code, now=now):
        keys |= {"aws:MultiFactorAuthPresent": True, "aws:MultiFactorAuthAge": 0}
    keys |= {f"aws:ResourceTag/{key}": value for key, value in call_targets.tags_of(tx, role.id).items()}
    own = _policies(tx, caller)
    for action in actions("sts:AssumeRole", tags=bool(asked.request.tags or inherited), identity=bool(identity)):
        if not role_sessions.trusts(role, principal_of(caller), action, keys, own) or not role.is_there:
            raise NotAuthorized(
                f"User: {caller.arn} is not authorized to perform: {action} on resource: {asked.role_arn}",
                code="AccessDenied",
            )
    facts = Facts(
        kind="role",
        account_id=role.account_id,
        principal_id=role.id,
        name=name,
        issued=now,
        expires=now + _lasts(caller, role, asked.request),
        policy=asked.request.policy,
        policy_arns=asked.request.policy_arns,
        tags=(*inherited.items(), *asked.request.tags.items()),
        transitive=(*inherited, *asked.request.transitive),
        source_identity=identity,
    )
    return role_sessions.begin(cloud, role, facts, asked.request)


def _check(asked: RoleRequest, inherited: Mapping[str, str]) -> None:
    check_external_id(asked.external_id)
    if asked.source_identity is not None:
        check_name(asked.source_identity, "sourceIdentity", MAX_SOURCE_IDENTITY)
    check_policies(asked.request)
    check_tags(asked.request, inherited)
    duration(asked.request, ONE_HOUR, MAX_ROLE_SECONDS)
    check_mfa(asked.serial_number, asked.token_code)


def _lasts(caller: Caller, role: AskedRole, request: SessionRequest) -> timedelta:
    if caller.kind == "role" and request.seconds is not None and request.seconds > ONE_HOUR:
        raise BadRequest(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            code="ValidationError",
        )
    return role_duration(role, request)


def role_duration(role: AskedRole, request: SessionRequest) -> timedelta:
    """Return the duration of a role's session; raises BadRequest for more than the role allows."""
    lasts = duration(request, ONE_HOUR, MAX_ROLE_SECONDS)
    if lasts > timedelta(seconds=role.max_session_duration):
        raise BadRequest(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.", code="ValidationError"
        )
    return lasts


def _inherited(caller: Caller) -> dict[str, str]:
    """Return the transitive tags that a session inherits from the caller's session."""
    session = caller.session
    return handed_on(session.tags, session.transitive) if session is not None else {}


def _source_identity(caller: Caller, asked: RoleRequest) -> str:
    """Return the source identity, which cannot be changed once it was set; raises NotAuthorized."""
    before = caller.session.source_identity if caller.session is not None else ""
    said = asked.source_identity or ""
    if before and said not in ("", before):
        raise NotAuthorized(
            f"User: {caller.arn} is not authorized to perform: sts:SetSourceIdentity on resource: {asked.role_arn}",
            code="AccessDenied",
        )
    return before or said


def _policies(tx: Transaction, caller: Caller) -> Policies:
    found = policies_of(tx, caller)
    session = caller.session.policies if caller.session is not None else ()
    return of_principal(found.identity, found.boundary, session or (() if caller.kind == "federated" else None))


def _principal_keys(tx: Transaction, caller: Caller, now: datetime) -> dict[str, Any]:
    own = call_targets.tags_of(tx, caller.principal_id) if caller.principal_id else {}
    tags = principal_keys.joined_tags(own, caller)
    return {**principal_keys.of_caller(caller, now), **principal_keys.of_tags(tags)}
