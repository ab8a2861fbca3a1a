"""What a scaling policy does when an alarm or a user has it act: the group's desired capacity changes, or stays.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import AlarmAction, ScalingGroup, ScalingInstance
from stead_controller.errors import InvalidParameter, MissingParameter, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import activities, groups, policies, policy_alarms, words
from stead_controller.resources.scaling.desired_change import Size, tracked, with_warm_up
from stead_controller.resources.scaling.member import IN_SERVICE, PENDING
from stead_controller.resources.scaling.policy import AVERAGE, SIMPLE, STEP, TRACKING, Adjusting, Policy, read
from stead_controller.resources.scaling.step_adjustment import changed, step_of

_SUSPENDED: Final = "AlarmNotification"

type _Why = tuple[str, str]  # who has which policy act


@dataclass(frozen=True, slots=True)
class Measured:
    """What an alarm was raised by: its values, oldest first, and its threshold."""

    values: Sequence[float]
    threshold: float

    def aggregated(self, aggregation: str) -> float:
        """Return the values' minimum, maximum or average."""
        if aggregation == AVERAGE:
            return sum(self.values) / len(self.values)
        return min(self.values) if aggregation == "Minimum" else max(self.values)


def run_for_alarm(tx: Transaction, action: AlarmAction, now: datetime) -> None:
    """Have the policy act that an alarm's action names; raises NotFound, InvalidParameter, WrongState.

    Nothing happens if the policy is disabled or the group does not listen to alarms.
    """
    owner = Caller(action.account_id, "", action.account_id, "")
    group, row = policies.find(tx, owner, None, action.arn)
    if not row.enabled or _SUSPENDED in group.suspended:
        return
    policy, measured = read(row.definition), _measured(action)
    why = f"a monitor alarm {action.alarm} in state {action.state} triggered", row.name
    if policy.kind == SIMPLE:
        if not _waits(tx, group, policy, now):
            _simply(tx, group, _of(policy), why, now)
    elif measured is None:
        raise InvalidParameter(f"The state of the alarm {action.alarm} tells neither recentDatapoints nor a threshold.")
    elif policy.kind == STEP:
        _step(tx, group, policy, measured, why, now)
    else:
        scale_in = policy_alarms.is_low(row, action.alarm)
        if not scale_in or policy_alarms.all_are_low(tx, group):
            _track(tx, group, policy, measured, why, now, scale_in=scale_in)


def execute(  # noqa: PLR0917 - of whom, what, when
    tx: Transaction, caller: Caller, group_name: str | None, name: str, measured: Measured | None, now: datetime,
    *, honor_cooldown: bool = False,
) -> None:  # fmt: skip
    """Have a policy act for a user; raises NotFound, MissingParameter, InvalidParameter, WrongState.

    A cooldown that is honoured is that of a simple scaling policy.
    """
    group, row = policies.find(tx, caller, group_name, name)
    policy = read(row.definition)
    why = "a user request executed", row.name
    if policy.kind == TRACKING:
        raise InvalidParameter(f"A policy of the type {TRACKING} cannot be executed by a user.")
    if not row.enabled:
        raise InvalidParameter(f"The policy {row.name} is disabled.")
    if policy.kind == STEP:
        if honor_cooldown:
            raise InvalidParameter(f"HonorCooldown is not for a policy of the type {STEP}.")
        if measured is None:
            raise MissingParameter("MetricValue and BreachThreshold")
        _step(tx, group, policy, measured, why, now)
        return
    if measured is not None:
        raise InvalidParameter(f"MetricValue and BreachThreshold are not for a policy of the type {SIMPLE}.")
    if honor_cooldown and _waits(tx, group, policy, now):
        raise WrongState(
            "scaling-group",
            f"The AutoScalingGroup '{group.name}' is in its cooldown period, or a scaling activity is in progress.",
            code="ScalingActivityInProgress",
        )
    _simply(tx, group, _of(policy), why, now)


def _of(policy: Policy) -> Adjusting:
    assert policy.adjusting is not None, "a simple or a step scaling policy"
    return policy.adjusting


def _waits(tx: Transaction, group: ScalingGroup, policy: Policy, now: datetime) -> bool:
    """Tell whether a simple scaling policy must wait: for an activity, or after the last one by its cooldown."""
    given = _of(policy).cooldown
    cooldown = timedelta(seconds=group.cooldown if given is None else given)
    return activities.are_under_way(tx, group.id) or (group.scaled is not None and now < group.scaled + cooldown)


def _simply(tx: Transaction, group: ScalingGroup, adjusting: Adjusting, why: _Why, now: datetime) -> None:
    wanted = changed(group.desired, adjusting.kind, adjusting.adjustment or 0, adjusting.magnitude or 0)
    size = Size(group.desired, group.min_size, group.max_size, group.desired)
    _set(tx, group, size.bounded(wanted), why, now)


def _step(  # noqa: PLR0917 - of whom, what, why, when
    tx: Transaction, group: ScalingGroup, policy: Policy, measured: Measured, why: _Why, now: datetime
) -> None:
    adjusting = _of(policy)
    step = step_of(adjusting.steps, measured.aggregated(adjusting.aggregation or AVERAGE) - measured.threshold)
    if step is None:
        return
    size = _size(tx, group, policy, now)
    grows = changed(group.desired, adjusting.kind, step.adjustment, adjusting.magnitude or 0) > group.desired
    base = size.counted if grows else group.desired
    _set(
        tx,
        group,
        with_warm_up(size, changed(base, adjusting.kind, step.adjustment, adjusting.magnitude or 0)),
        why,
        now,
    )


def _track(  # noqa: PLR0917 - of whom, what, why, when
    tx: Transaction,
    group: ScalingGroup,
    policy: Policy,
    measured: Measured,
    why: _Why,
    now: datetime,
    *,
    scale_in: bool,
) -> None:
    assert policy.tracking is not None, "a target tracking policy"
    size = _size(tx, group, policy, now)
    _set(tx, group, tracked(size, measured.values[-1], policy.tracking.target, scale_in=scale_in), why, now)


def _measured(action: AlarmAction) -> Measured | None:
    """Return what an alarm's state was of; None if it does not tell."""
    told = json.loads(action.reason_data or "{}")
    if not isinstance(told, dict):
        return None
    values, threshold = told.get("recentDatapoints"), told.get("threshold")
    if not isinstance(values, list) or not values or not isinstance(threshold, int | float):
        return None
    return Measured([float(value) for value in values], threshold)


def _size(tx: Transaction, group: ScalingGroup, policy: Policy, now: datetime) -> Size:
    """Return a group's size, by what of it counts for metrics after the warm-up of a policy."""
    seconds = next(given for given in (policy.warmup, group.warmup, group.cooldown) if given is not None)
    warm = now - timedelta(seconds=seconds)
    counted, warming = 0, False
    columns = ScalingInstance.lifecycle_state, ScalingInstance.in_service, ScalingInstance.weight
    for state, since, weight in tx.session.execute(select(*columns).where(ScalingInstance.group_id == group.id)):
        if state in PENDING or (state == IN_SERVICE and (since is None or since > warm)):
            warming = True
        elif state == IN_SERVICE:
            counted += weight
    return Size(group.desired, group.min_size, group.max_size, counted, warming)


def _set(tx: Transaction, group: ScalingGroup, desired: int | None, why: _Why, now: datetime) -> None:
    if desired is None or desired == group.desired:
        return
    groups.change_desired(tx, group, desired, words.at(now, words.by_policy(*why, group.desired, desired)), now)
