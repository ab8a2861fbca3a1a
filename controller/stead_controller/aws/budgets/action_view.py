"""An Action as a request gives it, and as answers show it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from stead_controller.aws.budgets.budget_lookup import only_topic, require_word, subscriber
from stead_controller.aws.call import Call, Params
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.budgets import actions
from stead_controller.resources.budgets.actions import ActionRequest, ShownAction

_NAMES: Final = {"users": "Users", "groups": "Groups", "roles": "Roles"}
_MEMBERS: Final = {actions.IAM: "IamActionDefinition", actions.SSM: "SsmActionDefinition"}
_SCP: Final = "ScpActionDefinition"


def read(call: Call, params: Params) -> ActionRequest:
    """Read a new action; raises InvalidParameter, or Unsupported for what there is not here."""
    kind = require_word(params["ActionType"], "ActionType")
    if kind not in _MEMBERS:
        raise Unsupported(f"Actions of the type {kind} are not supported by this cloud, which has no organizations.")
    threshold = params["ActionThreshold"]
    return ActionRequest(
        kind=require_word(params["NotificationType"], "NotificationType"),
        threshold=threshold["ActionThresholdValue"],
        threshold_type=require_word(threshold["ActionThresholdType"], "ThresholdType"),
        type=kind,
        definition=_definition(call, kind, params["Definition"]),
        role=params["ExecutionRoleArn"],
        approval=require_word(params["ApprovalModel"], "ApprovalModel"),
        topic=only_topic(call, params["Subscribers"]),
    )


def read_changed(call: Call, action: ShownAction, params: Params) -> ActionRequest:
    """Read what an action is to be, of which all stays that is not given."""
    threshold = params.get("ActionThreshold")
    definition, subscribers = params.get("Definition"), params.get("Subscribers")
    kind, approval, role = (params.get(name) for name in ("NotificationType", "ApprovalModel", "ExecutionRoleArn"))
    return ActionRequest(
        kind=action.kind if kind is None else require_word(kind, "NotificationType"),
        threshold=action.threshold if threshold is None else threshold["ActionThresholdValue"],
        threshold_type=action.threshold_type
        if threshold is None
        else require_word(threshold["ActionThresholdType"], "ThresholdType"),
        type=action.type,
        definition=json.loads(action.definition) if definition is None else _definition(call, action.type, definition),
        role=role or action.role,
        approval=action.approval if approval is None else require_word(approval, "ApprovalModel"),
        topic=action.topic if subscribers is None else only_topic(call, subscribers),
    )


def view(call: Call, action: ShownAction) -> dict[str, Any]:
    """Show an action."""
    return {
        "ActionId": action.id,
        "BudgetName": action.budget,
        "NotificationType": action.kind,
        "ActionType": action.type,
        "ActionThreshold": {
            "ActionThresholdValue": action.threshold,
            "ActionThresholdType": action.threshold_type,
        },
        "Definition": {_MEMBERS[action.type]: _shown(call, json.loads(action.definition))},
        "ExecutionRoleArn": action.role,
        "ApprovalModel": action.approval,
        "Status": action.status,
        "Subscribers": [subscriber(action.topic)],
    }


def _definition(call: Call, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get(_SCP) is not None:
        raise Unsupported(f"{_SCP} is not supported by this cloud, which has no organizations.")
    readers = {actions.IAM: _policy, actions.SSM: _instances}
    found = {of: readers[of](call, given[name]) for of, name in _MEMBERS.items() if given.get(name) is not None}
    if list(found) != [kind]:
        raise InvalidParameter(
            f"The definition of an action of the type {kind} has {_MEMBERS[kind]}, and nothing else."
        )
    return found[kind]


def _policy(_call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    policy = given["PolicyArn"]
    principals = {name: given[member] for name, member in _NAMES.items() if given.get(member)}
    if not principals:
        raise InvalidParameter("IamActionDefinition must have Users, Groups or Roles.")
    return {"policy": policy, **principals}


def _instances(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    if require_word(given["ActionSubType"], "ActionSubType") != "STOP_EC2_INSTANCES":
        raise Unsupported(f"{given['ActionSubType']} is not supported by this cloud, which has no databases.")
    if given["Region"] != call.cloud.region:
        raise InvalidParameter(f"The region of an action's instances must be {call.cloud.region}.")
    if not given["InstanceIds"]:
        raise InvalidParameter("InstanceIds must have at least one id.")
    return {"instances": given["InstanceIds"]}


def _shown(call: Call, definition: Mapping[str, Any]) -> dict[str, Any]:
    if "instances" in definition:
        ids = definition["instances"]
        return {"ActionSubType": "STOP_EC2_INSTANCES", "Region": call.cloud.region, "InstanceIds": ids}
    return {"PolicyArn": definition["policy"], **{_NAMES[name]: definition.get(name) for name in _NAMES}}
