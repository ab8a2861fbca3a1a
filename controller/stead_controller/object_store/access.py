"""May a caller do this to a bucket or an object? Its own policies and the bucket's say so.

Runs inside a transaction; what happens to objects afterwards is between the client and the server behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Policies, Request, evaluate
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.public_policies import is_public
from stead_controller.errors import NotAuthorized
from stead_controller.resources.buckets import BucketFacts
from stead_controller.resources.caller import Caller
from stead_controller.resources.principals import principal_of
from stead_controller.resources.transaction import Transaction


class Rights(Protocol):
    """What binds a caller; `aws.authorization.authorizer.PolicyAuthorizer` is one."""

    def policies(self, tx: Transaction, caller: Caller) -> Policies:
        """Give all policies of its own."""

    def tags(self, tx: Transaction, caller: Caller) -> Mapping[str, str]:
        """Give its tags, and those of its session."""


# Whatever a bucket's policy says, the root of its account can change it.
_ROOTS: Final = frozenset({"GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"})
_ARN: Final = "arn:aws:s3:::"


def arn_of(bucket: str, key: str = "") -> str:
    """The ARN of a bucket or an object."""
    return f"{_ARN}{bucket}/{key}" if key else _ARN + bucket


def _is_restricted(bucket: BucketFacts) -> bool:
    return "RestrictPublicBuckets" in (bucket.blocked or ())


_POLICIES: Final = {
    "identity": "an identity-based policy",
    "resource": "a resource-based policy",
    "boundary": "a permissions boundary",
    "session": "a session policy",
    "": "a policy",
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, with all policies of its own, and what conditions may ask for."""

    caller: Caller
    policies: Policies
    context: Mapping[str, Any]

    def require(self, action: str, bucket: BucketFacts, key: str = "") -> None:
        """Raise NotAuthorized unless an action, such as `GetObject`, is allowed on a bucket that is there."""
        if self.caller.kind == "root" and self.caller.account_id == bucket.account_id and action in _ROOTS:
            return
        policy = parse(bucket.policy, "resource") if bucket.policy else None
        if policy and self.caller.account_id != bucket.account_id and _is_restricted(bucket) and is_public(policy):
            policy = None  # it lets in nobody of another account, not even whom it names
        policies = Policies(
            identity=self.policies.identity,
            boundary=self.policies.boundary,
            session=self.policies.session,
            resource=policy,
            resource_account=bucket.account_id,
        )
        whose = {"aws:ResourceAccount": bucket.account_id, "s3:ResourceAccount": bucket.account_id}
        self._decide(action, arn_of(bucket.name, key), policies, whose)

    def require_own(self, action: str, arn: str) -> None:
        """Raise NotAuthorized unless the caller's own policies allow an action on what is nobody else's."""
        self._decide(action, arn, self.policies, {"aws:ResourceAccount": self.caller.account_id})

    def _decide(self, action: str, arn: str, policies: Policies, whose: Mapping[str, str]) -> None:
        context = context_of({**self.context, **whose})
        asked = Request(f"s3:{action}", arn, principal_of(self.caller), context)
        decision = evaluate(asked, policies)
        if decision.allowed:
            return
        if decision.explicit_deny:
            why = f"with an explicit deny in {_POLICIES[decision.lacking]}"
        else:
            why = f"because no {_POLICIES[decision.lacking].partition(' ')[2]} allows the s3:{action} action"
        text = f'User: {self.caller.arn} is not authorized to perform: s3:{action} on resource: "{arn}" {why}'
        raise NotAuthorized(text, code="AccessDenied")
