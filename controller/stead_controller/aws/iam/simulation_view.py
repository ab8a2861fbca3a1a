"""Results of the policy simulator, as IAM shows them."""

from stead_controller.authorization.evaluate import Decision
from stead_controller.authorization.statement_positions import Position
from stead_controller.aws.call import Result
from stead_controller.resources.iam import policy_simulator
from stead_controller.resources.iam.policy_simulator import Matched


def result_view(found: policy_simulator.Result) -> Result:
    """Show the decision about an action on a resource; for a named resource also as its resource-specific result."""
    shown: Result = {
        "EvalResourceName": found.resource,
        "MatchedStatements": [_matched(one) for one in found.matched],
        "MissingContextValues": list(found.missing),
    }
    if found.within_boundary is not None:
        shown["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": found.within_boundary}
    word = _word(found.decision)
    of_resource = [] if found.resource == "*" else [{**shown, "EvalResourceDecision": word}]
    return {
        **shown,
        "EvalActionName": found.action,
        "EvalDecision": word,
        "ResourceSpecificResults": of_resource,
    }


def _word(decision: Decision) -> str:
    if decision.allowed:
        return "allowed"
    return "explicitDeny" if decision.explicit_deny else "implicitDeny"


def _matched(one: Matched) -> Result:
    return {
        "SourcePolicyId": one.policy.name,
        "SourcePolicyType": one.policy.kind,
        "StartPosition": _position(one.first),
        "EndPosition": _position(one.last),
    }


def _position(position: Position) -> Result:
    return {"Line": position.line, "Column": position.column}
