"""Decide about a request by policies: pure.

The logic is AWS's
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html): an explicit deny anywhere
denies the request; else the identity's policies must allow it, and its boundary and session policies too, if any.
A resource policy of the same account may allow by itself, as far as it names the principal; between accounts both must
allow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from stead_controller.authorization.patterns import Context
from stead_controller.authorization.policy_document import PolicyDocument, Statement, parse
from stead_controller.authorization.principals import Match, Principal

Source = Literal["identity", "resource", "boundary", "session"]

ALLOW_ALL: Final = parse('{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}')
ALLOW_NOTHING: Final = PolicyDocument(())


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: an action such as `ec2:RunInstances` on one resource, whose ARN is `*` when there is none.

    The keys of `context` are in lower case (`conditions.context_of`).
    """

    action: str
    resource_arn: str
    principal: Principal
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies that take part in a decision.

    `session` is None for a session without session policies; for a federated user it is empty instead. `resource` is
    the policy of the resource, and `resource_account` the resource's account (empty: the principal's own).
    `resource_must_allow` is set where the identity's policies are not enough, as for a role's trust policy.
    """

    identity: tuple[PolicyDocument, ...] = ()
    boundary: PolicyDocument | None = None
    session: tuple[PolicyDocument, ...] | None = None
    resource: PolicyDocument | None = None
    resource_account: str = ""
    resource_must_allow: bool = False

    def keys_about(self, action: str) -> frozenset[str]:
        """Return the condition keys, in lower case, that decide about an action: a context needs no others."""
        lower = action.lower()
        return frozenset().union(*(document.keys_about(lower) for _, document in self.documents()))

    def documents(self) -> Iterator[tuple[Source, PolicyDocument]]:
        """Yield every policy with the entity that it belongs to."""
        yield from (("identity", document) for document in self.identity)
        if self.resource is not None:
            yield "resource", self.resource
        if self.boundary is not None:
            yield "boundary", self.boundary
        yield from (("session", document) for document in self.session or ())


@dataclass(frozen=True, slots=True)
class MatchedStatement:
    """A statement that matched the request, and its policy: its owner, and its position among the owner's policies."""

    source: Source
    policy: int
    statement: Statement


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the request is allowed, and why.

    `lacking` is the kind of policy that should have allowed it, or that denied it; empty when it is allowed.
    `matched` are the statements that decided: those that deny, or else those that allow.
    """

    allowed: bool
    explicit_deny: bool
    lacking: Source | Literal[""]
    matched: tuple[MatchedStatement, ...]


def evaluate(request: Request, policies: Policies) -> Decision:
    """Decide about one action on one resource."""
    denials: list[MatchedStatement] = []
    allows: dict[Source, list[MatchedStatement]] = {"identity": [], "resource": [], "boundary": [], "session": []}
    grant = Match.NO
    counts: dict[Source, int] = {}
    action = request.action.lower()
    for source, document in policies.documents():
        number = counts[source] = counts.get(source, 0) + 1
        for statement in document.about(action):
            match = _match(statement, request)
            if match is Match.NO:
                continue
            found = MatchedStatement(source, number, statement)
            if not statement.allows:
                denials.append(found)
            else:
                allows[source].append(found)
                if source == "resource":
                    grant = max(grant, match)
    if denials:
        return Decision(False, True, denials[0].source, tuple(denials))
    lacking = _lacking(request.principal, policies, allows, grant)
    if lacking:
        return Decision(False, False, lacking, ())
    return Decision(True, False, "", tuple(one for found in allows.values() for one in found))


def evaluate_endpoint(request: Request, policy: PolicyDocument) -> Decision:
    """Decide whether the policy of the VPC endpoint that a request came through lets it pass; it grants nothing."""
    return evaluate(request, Policies(identity=(ALLOW_ALL,), resource=policy, resource_must_allow=True))


def _match(statement: Statement, request: Request) -> Match:
    """Tell whether, and how directly, a statement about the action matches the rest of the request."""
    match = Match.IDENTITY
    if statement.principals is not None:
        match = statement.principals.match(request.principal)
        if statement.not_principals:
            match = Match.IDENTITY if match is Match.NO else Match.NO
    is_about = statement.covers(request.resource_arn, request.context) and statement.holds(request.context)
    return match if is_about else Match.NO


def _lacking(
    principal: Principal,
    policies: Policies,
    allows: dict[Source, list[MatchedStatement]],
    grant: Match,
) -> Source | Literal[""]:
    """Return the kind of policy that does not allow; empty when all that must allow do."""
    if not principal.has_policies:
        return "" if grant else "resource"
    same_account = policies.resource_account in ("", principal.account_id)
    if (not same_account or policies.resource_must_allow) and not grant:
        return "resource"
    direct = grant if same_account else Match.NO
    if direct is Match.SESSION or (direct is Match.IDENTITY and principal.kind == "user"):
        return ""
    needed: list[tuple[Source, bool]] = [
        ("identity", direct is not Match.IDENTITY),
        ("boundary", policies.boundary is not None),
        ("session", policies.session is not None),
    ]
    return next((source for source, must in needed if must and not allows[source]), "")


def of_principal(
    identity: Sequence[str], boundary: str | None = None, session: Sequence[str] | None = None
) -> Policies:
    """Compile a principal's policies from their JSON; raises MalformedPolicy."""
    return Policies(
        identity=tuple(parse(text) for text in identity),
        boundary=None if boundary is None else parse(boundary),
        session=None if session is None else tuple(parse(text) for text in session),
    )
