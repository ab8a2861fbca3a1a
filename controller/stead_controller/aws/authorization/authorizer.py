"""Decides whether a caller may do what it requests, from its policies, the operation's rule and the request.

The root user of an account may do everything in it, without any look-up. For all others, policies are looked up at most
once a second, and facts about resources only if a statement of the policies depends on them.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import ALLOW_ALL, Policies, Request, evaluate, evaluate_endpoint
from stead_controller.authorization.policy_document import PolicyDocument, parse
from stead_controller.authorization.principals import Principal
from stead_controller.aws.authorization.context import of_call, of_tags
from stead_controller.aws.authorization.refusal import refusal
from stead_controller.aws.authorization.rule import Asked, Check, Rule, Target
from stead_controller.aws.authorization.table import RULES
from stead_controller.aws.call import Call, Operation, Params
from stead_controller.aws.call_record import CallRecord
from stead_controller.errors import NotAuthorized
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.budgets import tagged
from stead_controller.resources.data_exports import exports
from stead_controller.resources.iam import call_targets, principal_keys
from stead_controller.resources.iam.principals import principal_of
from stead_controller.resources.metrics import resource_tags
from stead_controller.resources.network import vpc_endpoint_access
from stead_controller.resources.network.vpc_endpoint_access import Via
from stead_controller.resources.notifications import topics
from stead_controller.resources.policy_keys import resource_facts
from stead_controller.resources.scaling import group_tags

_SECONDS: Final = 1.0  # after which a change of policies is effective on every controller
_MOST: Final = 10_000
_SWEPT_AFTER: Final = 10.0  # seconds: unused entries are removed then
# The STS operations that sessions of users, of root and of federated users may call, by the kind of caller.
_STS_OF_SESSIONS: Final = {
    "root": ("AssumeRole", "GetCallerIdentity"),
    "user": ("AssumeRole", "GetCallerIdentity"),
    "federated": ("GetCallerIdentity",),
}
_ABOUT_RESOURCES: Final = ("ec2:", "aws:resource", "iam:resourcetag/", "autoscaling:resourcetag/")
_ABOUT_CALLS: Final = {"ec2:region", "ec2:roledelivery", "ec2:sourceinstancearn"}


class OwnPolicies(Protocol):
    """The documents of a principal as JSON: its identity policies, those of its groups, and its boundary."""

    @property
    def identity(self) -> Sequence[str]:
        """Every policy that grants it permissions."""

    @property
    def boundary(self) -> str | None:
        """The policy that limits its permissions, if any."""


PoliciesOf = Callable[[Transaction, Caller], OwnPolicies]


@dataclass(slots=True)
class _Known:
    """Cached policies and tags of a principal."""

    expires: float
    identity: tuple[PolicyDocument, ...]
    boundary: PolicyDocument | None
    tags: dict[str, str] | None = field(default=None)


class PolicyAuthorizer:
    """Decides by policies."""

    def __init__(self, policies_of: PoliciesOf) -> None:
        """Take the function that loads a principal's policies."""
        self._policies_of = policies_of
        self._known: dict[str, _Known] = {}
        self._next_sweep = 0.0

    def authorize(self, call: Call, operation: Operation, params: Params) -> None:
        """Raise NotAuthorized to refuse; runs inside the call's transaction, before the operation."""
        _check_session(call.caller, operation)
        rule = RULES.get((operation.service, operation.name))
        if call.via is not None:
            self._check_endpoint(Asked(operation.service, operation.name, call, params), call.via, rule)
        if call.caller.kind == "root":
            return
        if rule is None:
            raise NotAuthorized(f"{operation.service}:{operation.name} is for the root of an account only.")
        asked = Asked(operation.service, operation.name, call, params)
        self.check(asked, rule)

    def _check_endpoint(self, asked: Asked, via: Via, rule: Rule | None) -> None:
        """Raise NotAuthorized unless the policy of the VPC endpoint that a call came through allows it, even for root.

        The policy is about the endpoint's service, so checks of other services, such as iam:PassRole, are not affected.
        """
        call = asked.call
        policy = vpc_endpoint_access.policy_of(call.tx, via)
        if policy is None:
            return
        prefix = f"{via.service}:"
        checks = [check for check in (rule.checks(asked) if rule else ()) if check.action.startswith(prefix)]
        checks = checks or [Check(Target("*"), prefix + asked.operation)]
        principal = principal_of(call.caller)
        requests = self._requests(call, principal, Policies(resource=policy), checks)
        for check, request in zip(checks, requests, strict=True):
            decision = evaluate_endpoint(request, policy)
            if not decision.allowed:
                sealer = call.cloud.sealer
                error = refusal(call.caller, request, decision, service=asked.service, sealer=sealer, by_endpoint=True)
                _refuse(call, check, error)

    def check(self, asked: Asked, rule: Rule) -> None:
        """Raise NotAuthorized unless everything that a rule requires is allowed, but for parts that can be left out."""
        checks = list(rule.checks(asked))
        if not checks:
            return
        call = asked.call
        policies = self.policies(call.tx, call.caller)
        principal = principal_of(call.caller)
        for check, request in zip(checks, self._requests(call, principal, policies, checks), strict=True):
            decision = evaluate(request, policies)
            if not decision.allowed:
                error = refusal(call.caller, request, decision, service=asked.service, sealer=call.cloud.sealer)
                _refuse(call, check, error)

    def policies(self, tx: Transaction, caller: Caller) -> Policies:
        """Return the policies that apply to a caller."""
        known = self._look_up(tx, caller)
        session = None
        if caller.session is not None and (caller.session.policies or caller.kind == "federated"):
            session = tuple(parse(text) for text in caller.session.policies)
        return Policies(known.identity, known.boundary, session)

    def tags(self, tx: Transaction, caller: Caller) -> dict[str, str]:
        """Return the tags of the user or role, overridden by those of the session."""
        known = self._look_up(tx, caller)
        if known.tags is None:
            known.tags = call_targets.tags_of(tx, caller.principal_id)
        return principal_keys.joined_tags(known.tags, caller)

    def note(self, record: CallRecord) -> None:
        """Clear the cache of policies after a call that may have changed one."""
        if record.service == "iam" and record.error_code is None:
            self._known.clear()

    def _look_up(self, tx: Transaction, caller: Caller) -> _Known:
        if not caller.principal_id:  # root itself, or a session that root created
            return _Known(0.0, (ALLOW_ALL,), None, {})
        known, now = self._known.get(caller.principal_id), time.monotonic()
        if known is not None and known.expires > now:
            return known
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEPT_AFTER
            self._known = {one: its for one, its in list(self._known.items()) if its.expires > now}
        own = self._policies_of(tx, caller)
        known = _Known(
            time.monotonic() + _SECONDS,
            tuple(parse(text) for text in own.identity),
            None if own.boundary is None else parse(own.boundary),
        )
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[caller.principal_id] = known
        return known

    def _requests(
        self, call: Call, principal: Principal, policies: Policies, checks: Sequence[Check]
    ) -> Iterator[Request]:
        """Yield the requests to decide on, with the facts that the policies depend on."""
        keys = {action: policies.keys_about(action) for action in {check.action for check in checks}}
        asked = frozenset().union(*keys.values())
        general = self._general(call, asked)
        facts = _facts(call, checks, asked)
        for check in checks:
            target = check.target
            context = dict(general)
            if keys[check.action]:
                context |= context_of(facts.get((target.kind, target.resource_id), {}))
                context |= context_of({**target.context, **of_tags(target.tags or {})})
            yield Request(check.action, target.arn, principal, context)

    def _general(self, call: Call, keys: Collection[str]) -> dict[str, tuple[str, ...]]:
        values: dict[str, Any] = of_call(call, keys)
        if "aws:resourceaccount" in keys:
            values["aws:ResourceAccount"] = call.caller.account_id
        if any(key.startswith(principal_keys.PRINCIPAL_TAG) for key in keys):
            values |= principal_keys.of_tags(self.tags(call.tx, call.caller))
        return context_of(values)


def _refuse(call: Call, check: Check, error: NotAuthorized) -> None:
    """Refuse a request or, where others may be carried out without it, the part of it that a check is about."""
    if not check.part:
        raise error
    call.refused.setdefault(check.part, error)


def _check_session(caller: Caller, operation: Operation) -> None:
    """Refuse IAM to sessions of users, unless they were begun with MFA, and most of STS to all of them.

    See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_sts-comparison.html and
    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html.
    """
    if caller.session is None or caller.kind == "role":
        return
    if operation.service == "sts" and operation.name not in _STS_OF_SESSIONS[caller.kind]:
        raise NotAuthorized(f"Cannot call {operation.name} with session credentials", code="AccessDenied")
    if operation.service == "iam" and (caller.kind == "federated" or not caller.session.mfa):
        raise NotAuthorized("The security token included in the request is invalid", code="InvalidClientTokenId")


def _facts(call: Call, checks: Sequence[Check], keys: Collection[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Load the facts about resources that conditions depend on, one resource type at a time; nothing if none does."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    about_resources = {key for key in keys if key.startswith(_ABOUT_RESOURCES)} - _ABOUT_CALLS
    if not about_resources:
        return found
    ids_of: dict[str, dict[str, None]] = {}
    for check in checks:
        if check.target.resource_id:
            ids_of.setdefault(check.target.kind, {})[check.target.resource_id] = None
    for kind, ids in ids_of.items():
        if kind == "iam":
            found |= {(kind, entity_id): _tags_of_entity(call, entity_id) for entity_id in ids}
            continue
        if kind == "cloudwatch":
            found |= {(kind, arn): _tags_by_arn(call, arn) for arn in ids}
            continue
        if kind == "sns":
            found |= {(kind, arn): _tags_of_topic(call, arn) for arn in ids}
            continue
        if kind == "budgets":
            found |= {(kind, arn): _tags_of_budget(call, arn) for arn in ids}
            continue
        if kind == "data-export":
            found |= {(kind, arn): _tags_of_export(call, arn) for arn in ids}
            continue
        if kind == "autoscaling":
            found |= {(kind, name): _tags_of_group(call, name) for name in ids}
            continue
        facts = resource_facts.of(call.tx, call.caller, call.cloud, kind, ids, keys=about_resources)
        found |= {(kind, resource_id): values for resource_id, values in facts.items()}
    return found


def _tags_by_arn(call: Call, arn: str) -> dict[str, Any]:
    tags = resource_tags.look_up(call.tx, call.caller, call.cloud, arn)
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def _tags_of_topic(call: Call, arn: str) -> dict[str, Any]:
    topic = topics.look_up(call.tx, call.caller, call.cloud, arn)
    tags = {} if topic is None else topics.tags_of(topic)
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def _tags_of_budget(call: Call, arn: str) -> dict[str, Any]:
    row = tagged.look_up(call.tx, call.caller, arn)
    tags = {} if row is None else tagged.tags_of(row)
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def _tags_of_export(call: Call, arn: str) -> dict[str, Any]:
    row = exports.look_up(call.tx, call.caller, call.cloud, arn)
    tags = {} if row is None else exports.tags_of(row)
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def _tags_of_group(call: Call, name: str) -> dict[str, Any]:
    tags = group_tags.of_name(call.tx, call.caller.account_id, name)
    return {f"{service}:ResourceTag/{key}": value for key, value in tags.items() for service in ("aws", "autoscaling")}


def _tags_of_entity(call: Call, entity_id: str) -> dict[str, Any]:
    tags = call_targets.tags_of(call.tx, entity_id)
    return {f"{service}:ResourceTag/{key}": value for key, value in tags.items() for service in ("aws", "iam")}
