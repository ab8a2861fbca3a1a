"""Sessions of users: GetSessionToken for the user itself, GetFederationToken for federated users.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_request.html.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stead_controller.errors import BadRequest
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.session_tokens import Facts, TemporaryCredentials, mint
from stead_controller.resources.iam.session_requests import (
    MAX_USER_SECONDS,
    ONE_HOUR,
    SessionRequest,
    check_name,
    check_policies,
    check_tags,
    duration,
    packed_percent,
)
from stead_controller.resources.iam.sessions import federated_arn

_DEFAULT_SECONDS: Final = 43_200
_MAX_FEDERATED_NAME: Final = 32


@dataclass(frozen=True, slots=True)
class FederatedSession:
    """A session of a federated user: its credentials, the user's id and ARN, and the packed size of policies and tags.

    `packed_percent` is None where there are neither.
    """

    credentials: TemporaryCredentials
    user_id: str
    arn: str
    packed_percent: int | None


def session_token(
    cloud: Cloud, caller: Caller, request: SessionRequest, now: datetime, *, mfa: bool = False
) -> TemporaryCredentials:
    """Make temporary credentials of a user or of root, with all their rights; raises BadRequest.

    `mfa` means that the caller has just used a second factor.
    """
    refuse_session(caller, "GetSessionToken")
    expires = now + _lasts(caller, request.seconds)
    facts = Facts(caller.kind, caller.account_id, caller.principal_id, "", now, expires, mfa=mfa)
    return mint(cloud.sealer, facts, least=request.least_token)


def federation_token(
    cloud: Cloud, caller: Caller, name: str | None, request: SessionRequest, now: datetime
) -> FederatedSession:
    """Begin a session of a federated user, who may do what both the caller and the session policies allow.

    Raises BadRequest.
    """
    refuse_session(caller, "GetFederationToken")
    name = check_name(name, "name", _MAX_FEDERATED_NAME)
    check_policies(request)
    check_tags(request, {})
    facts = Facts(
        kind="federated",
        account_id=caller.account_id,
        principal_id=caller.principal_id,
        name=name,
        issued=now,
        expires=now + _lasts(caller, request.seconds),
        policy=request.policy,
        policy_arns=request.policy_arns,
        tags=tuple(request.tags.items()),
    )
    percent = packed_percent(facts)
    made = mint(cloud.sealer, facts, least=request.least_token)
    return FederatedSession(made, f"{caller.account_id}:{name}", federated_arn(caller.account_id, name), percent)


def _lasts(caller: Caller, seconds: int | None) -> timedelta:
    """Return the duration of a session; for root, more than an hour is not refused but reduced to an hour."""
    lasts = duration(SessionRequest(seconds=seconds), _DEFAULT_SECONDS, MAX_USER_SECONDS)
    return min(lasts, timedelta(seconds=ONE_HOUR)) if caller.kind == "root" else lasts


def refuse_session(caller: Caller, operation: str) -> None:
    """Raise a BadRequest for a caller with temporary credentials."""
    if caller.session is not None:
        raise BadRequest(f"Cannot call {operation} with session credentials", code="AccessDenied")
