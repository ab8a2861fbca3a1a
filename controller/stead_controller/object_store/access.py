"""Decide whether a caller may do something to a bucket or an object, by the policies of both.

Runs inside a transaction; what happens to the objects afterwards is outside of this decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Decision, Policies, Request, evaluate, evaluate_endpoint
from stead_controller.authorization.patterns import Context
from stead_controller.authorization.policy_document import PolicyDocument, parse
from stead_controller.authorization.public_policies import is_public
from stead_controller.errors import NotAuthorized
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam.principals import principal_of
from stead_controller.resources.storage.buckets import BucketFacts


class Rights(Protocol):
    """The policies and tags of callers; `aws.authorization.authorizer.PolicyAuthorizer` implements it."""

    def policies(self, tx: Transaction, caller: Caller) -> Policies:
        """Return all policies that apply to a caller, without the bucket's."""

    def tags(self, tx: Transaction, caller: Caller) -> Mapping[str, str]:
        """Return the tags of a caller and of its session."""


# The root user of a bucket's account can always change the bucket's policy, whatever the policy says.
_ROOTS: Final = frozenset({"GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"})
_ARN: Final = "arn:aws:s3:::"


def arn_of(bucket: str, key: str = "") -> str:
    """The ARN of a bucket or an object."""
    return f"{_ARN}{bucket}/{key}" if key else _ARN + bucket


def _is_restricted(bucket: BucketFacts) -> bool:
    return "RestrictPublicBuckets" in bucket.in_force


_POLICIES: Final = {
    "identity": "an identity-based policy",
    "resource": "a resource-based policy",
    "boundary": "a permissions boundary",
    "session": "a session policy",
    "": "a policy",
}


_ENDPOINT: Final = "a VPC endpoint policy"


@dataclass(frozen=True, slots=True)
class Asker:
    """A caller with its policies, and the values for condition keys.

    `endpoint` is the policy of the VPC endpoint through which the request came, None if it allows everything.
    """

    caller: Caller
    policies: Policies
    context: Mapping[str, Any]
    endpoint: PolicyDocument | None = None
    _read: Context = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the condition context once: a DeleteObjects request checks up to a thousand keys."""
        object.__setattr__(self, "_read", context_of(self.context))

    def require(self, action: str, bucket: BucketFacts, key: str = "", more: Mapping[str, Any] | None = None) -> None:
        """Raise NotAuthorized unless an action, such as `GetObject`, is allowed on an existing bucket.

        `more` are condition keys of this one object; they override the request's.
        """
        is_root = self.caller.kind == "root" and self.caller.account_id == bucket.account_id and action in _ROOTS
        whose = {"aws:ResourceAccount": bucket.account_id, "s3:ResourceAccount": bucket.account_id}
        policies = None if is_root else self._with(bucket)
        self._decide(action, arn_of(bucket.name, key), policies, {**whose, **(more or {})})

    def keys_about(self, action: str, bucket: BucketFacts | None) -> frozenset[str]:
        """Return the condition keys, in lower case, on which a decision depends; `bucket` is None without a bucket."""
        about = f"s3:{action}"
        keys = (self._with(bucket) if bucket else self.policies).keys_about(about)
        return keys | self.endpoint.keys_about(about.lower()) if self.endpoint is not None else keys

    def _with(self, bucket: BucketFacts) -> Policies:
        """Return the caller's policies together with a bucket's."""
        policy = parse(bucket.policy, "resource") if bucket.policy else None
        if policy and self.caller.account_id != bucket.account_id and _is_restricted(bucket) and is_public(policy):
            policy = None  # it allows nobody from another account, not even principals that it names
        return replace(self.policies, resource=policy, resource_account=bucket.account_id)

    def require_own(self, action: str, arn: str, more: Mapping[str, Any] | None = None) -> None:
        """Raise NotAuthorized unless the caller's own policies allow an action that no bucket's policy is about."""
        whose = {"aws:ResourceAccount": self.caller.account_id, "s3:ResourceAccount": self.caller.account_id}
        self._decide(action, arn, self.policies, {**whose, **(more or {})})

    def _decide(self, action: str, arn: str, policies: Policies | None, more: Mapping[str, Any]) -> None:
        """Raise NotAuthorized unless the endpoint's policy and `policies` (None: none are checked) allow it."""
        replaced = {name.lower() for name in more}
        context = {name: value for name, value in self._read.items() if name not in replaced} | context_of(more)
        asked = Request(f"s3:{action}", arn, principal_of(self.caller), context)
        if self.endpoint is not None:
            self._require(action, arn, evaluate_endpoint(asked, self.endpoint), _ENDPOINT)
        if policies is not None:
            decision = evaluate(asked, policies)
            self._require(action, arn, decision, _POLICIES[decision.lacking])

    def _require(self, action: str, arn: str, decision: Decision, policy: str) -> None:
        """Raise NotAuthorized, with AWS's message, unless a policy of this type allows it."""
        if decision.allowed:
            return
        if self.caller.kind == "anonymous":
            raise NotAuthorized("Access Denied", code="AccessDenied")
        if decision.explicit_deny:
            why = f"with an explicit deny in {policy}"
        else:
            why = f"because no {policy.partition(' ')[2]} allows the s3:{action} action"
        text = f'User: {self.caller.arn} is not authorized to perform: s3:{action} on resource: "{arn}" {why}'
        raise NotAuthorized(text, code="AccessDenied")
