"""Actions of alarms: the ARNs that Stead carries out, and their carrying out after the state has changed.

A change of state stores its actions in the same transaction (`alarm_states.py`), and each is carried out in one of its
own, which deletes it: a controller that is killed between them carries it out later, once. What is published to topics
is stored as messages instead (`alarm_notices.py`).
See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/UsingAlarmActions.html.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import exists, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Alarm, AlarmAction, Instance
from stead_controller.errors import InvalidParameter, SteadError, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction, undone_on
from stead_controller.resources.instances import instance_recovery
from stead_controller.resources.instances.reboot_instances import reboot_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.metrics import alarm_history
from stead_controller.resources.metrics.alarm_history import Done
from stead_controller.resources.notifications import topics

KINDS: Final = ("ALARM", "OK", "INSUFFICIENT_DATA")
"""The states that have actions."""

MOST: Final = 5
"""Actions of one state."""

VERBS: Final = {
    "stop": "StopInstances",
    "terminate": "TerminateInstances",
    "reboot": "RebootInstances",
    "recover": "RecoverInstances",
}
"""What an alarm may do to an instance, with the EC2 action that whoever makes the alarm needs."""

_AUTOMATE: Final = re.compile(r"arn:(?P<partition>[a-z-]+):automate:(?P<region>[a-z0-9-]+):ec2:(?P<verb>[a-z]+)\Z")
_WORKFLOW: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):swf:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):action/actions/"
    r"AWS_EC2\.InstanceId\.(?P<verb>Stop|Terminate|Reboot|Recover)/1\.0\Z"
)
_POLICY: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):autoscaling:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):scalingPolicy:"
    r"(?P<token>[0-9a-f-]{36}):autoScalingGroupName/[^:]{1,255}:policyName/.{1,255}\Z",
    re.DOTALL,
)

type RunPolicy = Callable[[Transaction, AlarmAction, datetime], None]
"""Has a scaling policy act that an alarm's action names; raises SteadError."""


def policy_of(cloud: Cloud, account_id: str, arn: str) -> str | None:
    """Return the token of the scaling policy of an account that an ARN names, None for any other action."""
    found = _POLICY.match(arn)
    if found is None:
        return None
    here = found["partition"], found["region"], found["account"]
    return found["token"] if here == (cloud.partition, cloud.region, account_id) else None


def verb_of(cloud: Cloud, account_id: str, arn: str) -> str | None:
    """Return what an ARN does to an instance: one of `VERBS`; None for any other action."""
    found = _AUTOMATE.match(arn) or _WORKFLOW.match(arn)
    if found is None or (found["partition"], found["region"]) != (cloud.partition, cloud.region):
        return None
    if found.groupdict().get("account", account_id) != account_id:
        return None
    verb = found["verb"].lower()
    return verb if verb in VERBS else None


def check(
    cloud: Cloud, account_id: str, actions: Mapping[str, Sequence[str]], instance_ids: Sequence[str] | None
) -> None:
    """Raise Unsupported or InvalidParameter unless an alarm may have these actions.

    `instance_ids` are those of the dimension InstanceId of its metrics, and None for a composite alarm.
    """
    for arn in (arn for arns in actions.values() for arn in arns):
        if not arn.startswith("arn:"):
            raise InvalidParameter(f"Invalid arn syntax: {arn[:200]}")
        if topics.name_of(cloud, account_id, arn) is not None:
            continue
        if instance_ids is None:
            raise Unsupported(f"The action {arn[:200]} is not supported: composite alarms publish to topics only.")
        if policy_of(cloud, account_id, arn) is not None:
            continue
        if verb_of(cloud, account_id, arn) is None:
            known = ", ".join(VERBS)
            can = f"alarms {known} instances, run scaling policies, and publish to topics of this account and region"
            raise Unsupported(f"The action {arn[:200]} is not supported: {can}.")
        if len(instance_ids) != 1:
            raise InvalidParameter(f"The action {arn[:200]} needs a metric with the dimension InstanceId.")


DUE: Final = DueRows(exists(select(AlarmAction.number)))
"""Whether there is an action to carry out."""


def run_one(tx: Transaction, cloud: Cloud, run_policy: RunPolicy, now: datetime) -> bool:
    """Carry out the oldest action that is left; tells whether there was one.

    History has each action once: not those that are asked for again while the state stays.
    """
    action = tx.session.scalar(select(AlarmAction).order_by(AlarmAction.number).limit(1))
    if action is None:
        return False
    failure = ""
    try:
        with undone_on(tx, SteadError):
            if policy_of(cloud, action.account_id, action.arn) is not None:
                run_policy(tx, action, now)
            else:
                _act(tx, cloud, action, now)
    except SteadError as error:
        failure = error.message
    if not action.again:
        _note(tx, action, failure, now)
    tx.session.delete(action)
    tx.session.flush()
    return True


def _act(tx: Transaction, cloud: Cloud, action: AlarmAction, now: datetime) -> None:
    """Do what an action says; its own account is the caller."""
    caller = Caller(action.account_id, f"arn:{cloud.partition}:iam::{action.account_id}:root", action.account_id, "")
    ids = [action.instance_id]
    match verb_of(cloud, action.account_id, action.arn):
        case "stop":
            stop_instances(tx, caller, ids, now)
        case "terminate":
            terminate_instances(tx, caller, ids, now)
        case "reboot":
            reboot_instances(tx, caller, ids)
        case "recover":
            _recover(tx, caller, action.instance_id, now)
        case _:
            raise Unsupported(f"The action {action.arn} is not supported any more.")


def _recover(tx: Transaction, caller: Caller, instance_id: str, now: datetime) -> None:
    mine = select(Instance).where(Instance.account_id == caller.account_id, Instance.id == instance_id)
    instance = tx.session.scalar(mine)
    if instance is None or instance.state != "running":
        raise InvalidParameter(f"The instance {instance_id} does not run.")
    if instance.recovery_began is None and not instance_recovery.begin(tx, instance, now):
        raise InvalidParameter(f"The instance {instance_id} may not be recovered, or was three times in a day.")


def _note(tx: Transaction, action: AlarmAction, failure: str, now: datetime) -> None:
    row = tx.session.get(Alarm, (action.account_id, action.alarm))
    composite = row is not None and row.rule is not None
    done = Done(action.account_id, action.alarm, composite, action.since)
    alarm_history.note_action(tx, done, action.arn, failure, now)
