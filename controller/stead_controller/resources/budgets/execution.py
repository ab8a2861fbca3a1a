"""Carries out actions of budgets, by the product's own operations and with the rights of the role that they were given.

An action's status says that it is to be carried out; that is done, and the status changed, in one transaction: a
controller that is killed meanwhile does it again, as a whole. `definition` of an action is JSON: `policy` (its ARN),
`users`, `groups` and `roles` (names) of APPLY_IAM_POLICY, `instances` (ids) of RUN_SSM_DOCUMENTS.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import exists, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Budget, BudgetAction
from stead_controller.errors import NotAuthorized, NotFound, SteadError
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction, undone_on
from stead_controller.resources.budgets import action_events, actions, notices
from stead_controller.resources.iam import attached_policies, entities, iam_names, passed_roles
from stead_controller.resources.iam.passed_roles import Use
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances

_KINDS: Final = {"users": "user", "groups": "group", "roles": "role"}
_ENDS: Final = {
    (actions.EXECUTING, True): actions.EXECUTED,
    (actions.EXECUTING, False): actions.FAILED,
    (actions.REVERSING, True): actions.REVERSED,
    (actions.REVERSING, False): actions.NOT_REVERSED,
}


DUE: Final = DueRows(exists().where(BudgetAction.status.in_(actions.RUNNING)))
"""Whether an action is to be carried out."""


def next_one(tx: Transaction) -> str | None:
    """Return the id of an action that is to be carried out, None without any."""
    row = BudgetAction
    query = select(row.id).where(row.status.in_(actions.RUNNING)).order_by(row.status, row.id).limit(1)
    return tx.session.scalar(query)


def run(tx: Transaction, cloud: Cloud, action_id: str, now: datetime) -> None:
    """Carry out an action; what cannot be done is undone as a whole, and its status says so."""
    action = tx.session.get(BudgetAction, action_id)
    if action is None or action.status not in actions.RUNNING:
        return
    failure = ""
    try:
        with undone_on(tx, SteadError):
            _carry_out(tx, cloud, action, now)
    except SteadError as error:
        failure = error.message
    end(tx, action, failure, now)


def give_up(tx: Transaction, action_id: str, now: datetime) -> None:
    """Let an action fail that could not be carried out for an unknown reason."""
    action = tx.session.get(BudgetAction, action_id)
    if action is not None and action.status in actions.RUNNING:
        end(tx, action, "An internal error has occurred.", now)


def end(tx: Transaction, action: BudgetAction, failure: str, now: datetime) -> None:
    """Note what became of an action, and publish it; `failure` is empty if it was carried out."""
    verb = "carried out" if action.status == actions.EXECUTING else "reversed"
    action.status = _ENDS[action.status, not failure]
    message = f"The action could not be {verb}: {failure}" if failure else f"The action was {verb}."
    action_events.add(tx, action, action_events.SYSTEM, message, now)
    budget = tx.session.get_one(Budget, (action.account_id, action.budget))
    notices.tell_action(tx, budget, action, message, now)
    tx.session.flush()


def _carry_out(tx: Transaction, cloud: Cloud, action: BudgetAction, now: datetime) -> None:
    caller = Caller(action.account_id, action.role, action.account_id, "")
    definition = json.loads(action.definition)
    reverse = action.status == actions.REVERSING
    if action.type == actions.SSM:
        _switch(tx, caller, cloud, definition["instances"], now, reverse=reverse)
    else:
        _attach(tx, caller, definition, now, reverse=reverse)


def _switch(tx: Transaction, caller: Caller, cloud: Cloud, ids: list[str], now: datetime, *, reverse: bool) -> None:
    """Stop instances, or start them again."""
    verb = "ec2:StartInstances" if reverse else "ec2:StopInstances"
    for instance_id in ids:
        arn = f"arn:{cloud.partition}:ec2:{cloud.region}:{caller.account_id}:instance/{instance_id}"
        _require(tx, caller, Use(actions.SERVICE, caller.account_id, verb, arn), now)
    if reverse:
        start_instances(tx, caller, cloud, ids, now)
    else:
        stop_instances(tx, caller, ids, now)


def _attach(tx: Transaction, caller: Caller, definition: Mapping[str, Any], now: datetime, *, reverse: bool) -> None:
    """Attach a policy to all users, groups and roles, or detach it; one that has it not any more needs no detaching."""
    policy = definition["policy"]
    for kind, name in _principals(definition):
        principal = entities.find_principal(tx, caller, kind, name)
        arn = iam_names.arn(caller.account_id, kind, principal.path, principal.name)
        action = f"iam:{'Detach' if reverse else 'Attach'}{kind.capitalize()}Policy"
        use = Use(actions.SERVICE, caller.account_id, action, arn, {"iam:PolicyARN": policy})
        _require(tx, caller, use, now)
        if reverse:
            with contextlib.suppress(NotFound):  # somebody else has detached it
                attached_policies.detach(tx, caller, kind, name, policy)
        else:
            attached_policies.attach(tx, caller, kind, name, policy)
    tx.session.flush()


def _principals(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for names, kind in _KINDS.items():
        for name in definition.get(names, ()):
            yield kind, name


def _require(tx: Transaction, caller: Caller, use: Use, now: datetime) -> None:
    """Raise NotAuthorized unless the action's role may do this."""
    if not passed_roles.may(tx, caller.arn, use, now):
        raise NotAuthorized(f"The role {caller.arn} does not allow {use.service} to {use.action} on {use.resource}.")
