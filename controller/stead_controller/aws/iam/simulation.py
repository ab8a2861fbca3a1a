"""SimulateCustomPolicy, SimulatePrincipalPolicy and their operations for condition keys."""

from dataclasses import replace
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.simulation_view import result_view
from stead_controller.errors import Unsupported
from stead_controller.resources.iam import iam_names, policy_simulator
from stead_controller.resources.iam.policy_simulator import Question, Simulation

_UNBUILT: Final = ("OrderedOrganizationPolicyInputList", "PolicyExclusionList")
_SCENARIOS: Final = (
    "EC2-Classic-EBS",
    "EC2-Classic-InstanceStore",
    "EC2-VPC-EBS",
    "EC2-VPC-EBS-Subnet",
    "EC2-VPC-InstanceStore",
    "EC2-VPC-InstanceStore-Subnet",
)


@operation("SimulateCustomPolicy", service="iam", writes=False)
def simulate_custom_policy(call: Call, params: Params) -> Result:
    """Answer what the given policies decide."""
    asked = _question(params)
    return _answer(call, params, "SimulateCustomPolicy", asked, policy_simulator.of_custom(call.caller, asked))


@operation("SimulatePrincipalPolicy", service="iam", writes=False)
def simulate_principal_policy(call: Call, params: Params) -> Result:
    """Answer what the policies of a user, group or role decide."""
    asked = _question(params)
    simulation = policy_simulator.of_principal(call.tx, call.caller, params["PolicySourceArn"], asked)
    return _answer(call, params, "SimulatePrincipalPolicy", asked, simulation)


@operation("GetContextKeysForCustomPolicy", service="iam", writes=False)
def get_context_keys_for_custom_policy(call: Call, params: Params) -> Result:
    """List the condition keys of given policies."""
    del call
    return {"ContextKeyNames": policy_simulator.context_keys(params["PolicyInputList"])}


@operation("GetContextKeysForPrincipalPolicy", service="iam", writes=False)
def get_context_keys_for_principal_policy(call: Call, params: Params) -> Result:
    """List the condition keys of the policies of a user, group or role, and of given ones."""
    asked = Question(actions=(), policies=params.get("PolicyInputList", ()))
    simulation = policy_simulator.of_principal(call.tx, call.caller, params["PolicySourceArn"], asked)
    return {"ContextKeyNames": policy_simulator.context_keys(simulation.texts())}


def _question(params: Params) -> Question:
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    scenario = params.get("ResourceHandlingOption")
    if scenario is not None and scenario not in _SCENARIOS:
        known = ", ".join(_SCENARIOS)
        raise iam_names.invalid("resourceHandlingOption", f"Member must satisfy enum value set: [{known}]")
    return Question(
        actions=params["ActionNames"],
        resources=params.get("ResourceArns") or ("*",),
        context={
            entry.get("ContextKeyName", ""): entry.get("ContextKeyValues", ())
            for entry in params.get("ContextEntries", ())
        },
        policies=params.get("PolicyInputList", ()),
        boundaries=params.get("PermissionsBoundaryPolicyInputList", ()),
        resource_policy=params.get("ResourcePolicy"),
        resource_owner=params.get("ResourceOwner"),
        caller_arn=params.get("CallerArn"),
    )


def _answer(call: Call, params: Params, name: str, asked: Question, simulation: Simulation) -> Result:
    page = describe.marker_page(call, params, name)
    first = int(page.after[0]) if page.after else 0
    found = policy_simulator.results(simulation, asked, first, page.fetch or len(asked))
    if first + len(found) < len(asked):
        page = replace(page, limit=len(found) - 1)
    return pages.cut_numbered("EvaluationResults", found, page, first, result_view)
