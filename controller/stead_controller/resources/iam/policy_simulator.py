"""The policy simulator: what policies would decide about a call, without the call.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Decision, MatchedStatement, Policies, Request, evaluate
from stead_controller.authorization.policy_document import Kind, MalformedPolicy, PolicyDocument, parse
from stead_controller.authorization.principals import Principal
from stead_controller.authorization.statement_positions import Position, statement_positions
from stead_controller.db.tables import IamGroup
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities
from stead_controller.resources.iam.policies_of_caller import OwnedPolicy, boundary_document, documents_of

_SOURCE: Final = re.compile(r"arn:aws:iam::([0-9]{12}):(user|group|role)/(?:[!-~]+/)?([\w+=,.@-]+)")
_CALLER: Final = re.compile(r"arn:aws:(?:iam|sts)::([0-9]{12}):(user|role|assumed-role|federated-user|root)(?:/.*)?")
_ACTION: Final = re.compile(r"[a-zA-Z0-9-]+:[a-zA-Z0-9-]+")
_VARIABLE: Final = re.compile(r"\$\{([^},]+)")
_MOST_ASKED: Final = 200_000  # maximum statements evaluated for a page, except for its last result: a second of work
_MOST_MATCHED: Final = 5_000  # maximum statements shown on a page, except for its last result

type Positions = list[tuple[Position, Position]]
"""Where each statement of a policy begins and ends."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that takes part: its name and kind as results show them, and its text."""

    name: str
    kind: str
    text: str
    document: PolicyDocument


@dataclass(frozen=True, slots=True)
class Question:
    """The simulated requests; `context` are condition keys as they are written and their values."""

    actions: Sequence[str]
    resources: Sequence[str] = ("*",)
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)
    policies: Sequence[str] = ()
    boundaries: Sequence[str] = ()
    resource_policy: str | None = None
    resource_owner: str | None = None
    caller_arn: str | None = None

    def __len__(self) -> int:
        """The number of results: one for each action on each resource."""
        return len(self.actions) * len(self.resources)


@dataclass(frozen=True, slots=True)
class Simulation:
    """Compiled policies."""

    principal: Principal
    identity: tuple[Policy, ...]
    boundary: Policy | None = None
    resource: Policy | None = None
    resource_account: str = ""

    @property
    def policies(self) -> Policies:
        """The policies in the form that the evaluator takes."""
        return Policies(
            identity=tuple(policy.document for policy in self.identity),
            boundary=self.boundary.document if self.boundary else None,
            resource=self.resource.document if self.resource else None,
            resource_account=self.resource_account,
        )

    def everything(self) -> Iterable[Policy]:
        """Every policy."""
        yield from self.identity
        yield from (policy for policy in (self.boundary, self.resource) if policy)

    def texts(self) -> Iterable[str]:
        """The text of every policy."""
        return (policy.text for policy in self.everything())


@dataclass(frozen=True, slots=True)
class Matched:
    """A statement that decided: its policy, and where in the policy's text it begins and ends."""

    policy: Policy
    first: Position
    last: Position


@dataclass(frozen=True, slots=True)
class Result:
    """The decision about an action on a resource.

    `missing` are the condition keys that policies use and the question does not have; `within_boundary` is whether the
    permissions boundary alone allows it, None without one.
    """

    action: str
    resource: str
    decision: Decision
    matched: Sequence[Matched]
    missing: Sequence[str]
    within_boundary: bool | None


def of_custom(caller: Caller, asked: Question) -> Simulation:
    """Compile the policies of a request; raises InvalidParameter for an invalid one."""
    return _complete(caller, asked, _given(asked), None, asked.caller_arn or caller.arn)


def of_principal(tx: Transaction, caller: Caller, arn: str, asked: Question) -> Simulation:
    """Compile the policies of a user, group or role and of the request; raises NotFound, InvalidParameter."""
    match = _SOURCE.fullmatch(arn)
    if not match or match[1] != caller.account_id:
        raise InvalidParameter(
            f"Invalid Entity Arn: {arn} does not clearly define entity type and name.", code="InvalidInput"
        )
    entity = entities.find_principal(tx, caller, match[2], match[3])
    if entities.arn_of(entity) != arn:  # the caller may simulate for this ARN and no other
        raise NotFound(f"iam-{match[2]}", arn, message=f"The {match[2]} with name {match[3]} cannot be found.")
    names = {entity.id: f"{match[2]}_{entity.name}"}
    owned = tuple(_owned(tx, policy, names) for policy in documents_of(tx, entity.id))
    boundary = None
    if not isinstance(entity, IamGroup) and entity.boundary_arn is not None and not asked.boundaries:
        text = boundary_document(tx, caller.account_id, entity.boundary_arn)
        assert text is not None
        boundary = _compiled(entity.boundary_arn.rpartition("/")[2], _managed_kind(entity.boundary_arn), text)
    return _complete(caller, asked, (*owned, *_given(asked)), boundary, asked.caller_arn or arn)


def results(simulation: Simulation, asked: Question, first: int, count: int) -> list[Result]:
    """Decide about `count` pairs of an action and a resource from number `first` on; raises InvalidParameter.

    There are fewer results where so many statements match that the response would be too long, or so many exist that it
    would take too long; the result that exceeds the limit is the last one.
    """
    policies, context = simulation.policies, context_of(asked.context)
    places: dict[str, Positions] = {}
    written = {policy.text: _written(policy.document) for policy in simulation.everything()}
    statements = sum(len(policy.document.statements) for policy in simulation.everything())
    matched, found = 0, list[Result]()
    for number in range(first, min(first + count, len(asked))):
        action = asked.actions[number // len(asked.resources)]
        resource = asked.resources[number % len(asked.resources)]
        if not _ACTION.fullmatch(action):
            raise InvalidParameter(f"Invalid Entity Action: {action}", code="InvalidInput")
        request = Request(action, resource, simulation.principal, context)
        decision = evaluate(request, policies)
        found.append(
            Result(
                action,
                resource,
                decision,
                matched=[_matched(simulation, one, places) for one in decision.matched],
                missing=_missing(simulation, action, context, written),
                within_boundary=_within(request, simulation.boundary),
            )
        )
        if matched > _MOST_MATCHED or statements * len(found) > _MOST_ASKED:
            break
        matched += len(decision.matched)
    return found


def context_keys(texts: Iterable[str]) -> list[str]:
    """The condition keys that policies use, as they are written, sorted; raises InvalidParameter."""
    found: dict[str, str] = {}
    for text in texts:
        document = _compiled("", "", text).document
        keys = frozenset().union(*(statement.keys for statement in document.statements))
        found |= _spellings(_written(document), keys)
    return sorted(found.values())


def _complete(
    caller: Caller, asked: Question, identity: tuple[Policy, ...], boundary: Policy | None, caller_arn: str
) -> Simulation:
    """Add the boundary, the resource policy and the caller of a request."""
    match = _CALLER.fullmatch(caller_arn)
    if asked.caller_arn is not None and not match:
        raise InvalidParameter(f"Invalid Entity Arn: {caller_arn}", code="InvalidInput")
    if len(asked.boundaries) > 1:
        raise InvalidParameter("Only one permissions boundary can be simulated.", code="InvalidInput")
    for text in asked.boundaries:
        boundary = _compiled("PermissionsBoundaryPolicyInputList.1", "none", text)
    resource = None
    if asked.resource_policy is not None:
        resource = _compiled("ResourcePolicy", "resource", asked.resource_policy, "resource")
    kind = match[2] if match else "user"
    return Simulation(
        principal=Principal(
            caller_arn,
            match[1] if match else caller.account_id,
            "role" if kind in ("role", "assumed-role") else "root" if kind == "root" else "user",
        ),
        identity=identity,
        boundary=boundary,
        resource=resource,
        resource_account=_account_of(asked.resource_owner),
    )


def _account_of(owner: str | None) -> str:
    """The account of a resource's owner, from an ARN or an account number; empty when there is none."""
    if owner is None:
        return ""
    parts = owner.split(":")
    return parts[4] if len(parts) > 4 else owner


def _given(asked: Question) -> tuple[Policy, ...]:
    return tuple(_compiled(f"PolicyInputList.{number}", "none", text) for number, text in enumerate(asked.policies, 1))


def _compiled(name: str, kind: str, text: str, grammar: Kind = "identity") -> Policy:
    try:
        return Policy(name, kind, text, parse(text, grammar))
    except MalformedPolicy as error:
        raise InvalidParameter(f"Invalid policy document: {error.message}", code="InvalidInput") from error


def _owned(tx: Transaction, policy: OwnedPolicy, names: dict[str, str]) -> Policy:
    """A policy of a principal, named as in results; `names` collects the names of owners."""
    if policy.arn:
        return _compiled(policy.name, _managed_kind(policy.arn), policy.document)
    if policy.owner_id not in names:
        group = tx.session.get(IamGroup, policy.owner_id)
        assert group is not None
        names[policy.owner_id] = f"group_{group.name}"
    owner = names[policy.owner_id]
    return _compiled(f"{owner}_{policy.name}", owner.partition("_")[0], policy.document)


def _managed_kind(arn: str) -> str:
    return "aws-managed" if arn.startswith("arn:aws:iam::aws:") else "user-managed"


def _within(request: Request, boundary: Policy | None) -> bool | None:
    return None if boundary is None else evaluate(request, Policies(identity=(boundary.document,))).allowed


def _matched(simulation: Simulation, one: MatchedStatement, places: dict[str, Positions]) -> Matched:
    """Find a statement's position; `places` caches the positions of each policy."""
    policy: Policy | None = simulation.identity[one.policy - 1] if one.source == "identity" else simulation.boundary
    if one.source == "resource":
        policy = simulation.resource
    assert policy is not None
    if policy.text not in places:
        places[policy.text] = statement_positions(policy.text)
    first, last = places[policy.text][one.statement.index - 1]
    return Matched(policy, first, last)


def _missing(
    simulation: Simulation, action: str, context: Mapping[str, Any], written: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """The condition keys that decide about an action and that the request does not have, as they are written."""
    found: dict[str, str] = {}
    lower = action.lower()
    for policy in simulation.everything():
        found |= _spellings(written[policy.text], policy.document.keys_about(lower) - context.keys())
    return sorted(found.values())


def _written(document: PolicyDocument) -> dict[str, str]:
    """The condition keys of a policy as it writes them, by their form in lower case."""
    written: dict[str, str] = {}
    for statement in document.statements:
        for tests in statement.source.get("Condition", {}).values():
            written |= {key.lower(): key for key in tests}
        for name in _VARIABLE.findall(str(statement.source)):
            written.setdefault(name.strip().lower(), name.strip())
    return written


def _spellings(written: Mapping[str, str], keys: frozenset[str]) -> dict[str, str]:
    """Condition keys, given in lower case, as a policy writes them."""
    return {key: written.get(key, key) for key in keys}
