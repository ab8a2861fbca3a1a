"""Tags of budgets and of their actions, which are named by their ARNs."""

import re
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.budgets.budget_lookup import read_tags
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter, NotAuthorized
from stead_controller.resources.budgets import actions, budgets
from stead_controller.resources.budgets.actions import ShownAction
from stead_controller.resources.budgets.budgets import ShownBudget

_ARN: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):budgets::(?P<account>\d{12}):budget/(?P<budget>[^:\\]{1,100}?)"
    r"(?:/action/(?P<action>[0-9a-fA-F-]{36}))?\Z"
)


@operation("TagResource", service="budgets")
def tag_resource(call: Call, params: Params) -> Result:
    """Set tags of a budget or an action."""
    row = _find(call, params)
    row.tags = budgets.with_tags(row.tags, read_tags(params["ResourceTags"]))
    return {}


@operation("UntagResource", service="budgets")
def untag_resource(call: Call, params: Params) -> Result:
    """Delete tags of a budget or an action."""
    row = _find(call, params)
    row.tags = budgets.without_tags(row.tags, params["ResourceTagKeys"])
    return {}


@operation("ListTagsForResource", service="budgets", writes=False)
def list_tags_for_resource(call: Call, params: Params) -> Result:
    """List the tags of a budget or an action."""
    return {"ResourceTags": describe.dict_to_tags(budgets.tags_of(_find(call, params).tags))}


def _find(call: Call, params: Params) -> ShownBudget | ShownAction:
    """Return the budget or the action of an ARN; raises InvalidParameter, NotAuthorized, NotFound."""
    found = _ARN.match(params["ResourceARN"])
    if found is None or found["partition"] != call.cloud.partition:
        raise InvalidParameter(f"{params['ResourceARN'][:300]} is not the ARN of a budget or of a budget's action.")
    if found["account"] != call.caller.account_id:
        raise NotAuthorized(f"Account {call.caller.account_id} may not use the budgets of {found['account']}.")
    budget = budgets.find(call.tx, call.caller, found["budget"])
    return budget if found["action"] is None else actions.find(call.tx, budget, found["action"])
