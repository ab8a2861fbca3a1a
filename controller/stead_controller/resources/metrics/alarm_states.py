"""Changes of an alarm's state, each with its history and the actions that it asks for, in one transaction."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import Alarm, AlarmAction, AlarmChild
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import alarm_definition, alarm_history, alarm_notices, alarm_rule

OK: Final = "OK"
ALARM: Final = "ALARM"
INSUFFICIENT: Final = "INSUFFICIENT_DATA"
STATES: Final = (OK, ALARM, INSUFFICIENT)

POLICY: Final = ":autoscaling:"
"""What the ARN of a scaling policy has, and no other action."""

AGAIN: Final = timedelta(seconds=60)
"""While an alarm stays in a state, scaling policies are asked to act so often."""

_REASON: Final = 1023
_EARLY: Final = timedelta(seconds=5)  # evaluations are not to the second
_DEEPEST: Final = 50  # composite alarms above each other; a cycle is refused when it is made


@dataclass(frozen=True, slots=True)
class NewState:
    """A state and why: in words, and as JSON."""

    state: str
    reason: str
    data: str | None = None


def change(tx: Transaction, alarm: Alarm, new: NewState, now: datetime) -> None:
    """Give an alarm a state; another one than before goes into the history, acts, and is seen by composite alarms."""
    _change(tx, alarm, new, now)
    changed = {alarm.name}
    for _ in range(_DEEPEST):
        changed = {row.name for row in _parents(tx, alarm.account_id, changed) if _weigh(tx, row, now)}
        if not changed:
            return


def weigh(tx: Transaction, alarm: Alarm, now: datetime) -> None:
    """Determine a composite alarm's state, and those of the alarms above it, after its rule was changed."""
    before = alarm.state
    new = _state_by_rule(tx, alarm)
    if new.state != before:
        change(tx, alarm, new, now)


def ask_again(tx: Transaction, alarm: Alarm, now: datetime) -> bool:
    """Have scaling policies act that the actions of an alarm's state name, unless they were asked lately.

    Tells whether there are any: other actions are asked for once, when the state changes.
    """
    policies = [arn for arn in _actions(alarm) if POLICY in arn]
    if policies and (alarm.acted is None or alarm.acted + AGAIN - _EARLY <= now):
        _ask(tx, alarm, policies, now, again=True)
    return bool(policies)


def by_name(tx: Transaction, account_id: str, names: Iterable[str]) -> dict[str, str]:
    """Return the states of those of the alarms that are there."""
    columns = select(Alarm.name, Alarm.state)
    found = columns.where(Alarm.account_id == account_id, Alarm.name.in_(list(names)))
    return {name: state for name, state in tx.session.execute(found)}  # noqa: C416 - rows are no pairs


def parents(tx: Transaction, account_id: str, names: Iterable[str]) -> list[str]:
    """Return the names of the composite alarms whose rules name one of these alarms, sorted."""
    named = AlarmChild.account_id == account_id, AlarmChild.child.in_(list(names))
    return sorted(set(tx.session.scalars(select(AlarmChild.alarm).where(*named))))


def short_name(name: str) -> str:
    """Return the name of an alarm that a rule names by its name or its ARN."""
    return name.split(":", 6)[6] if name.startswith("arn:") and name.count(":") >= 6 else name


def _parents(tx: Transaction, account_id: str, names: Iterable[str]) -> list[Alarm]:
    found = parents(tx, account_id, names)
    rows = select(Alarm).where(Alarm.account_id == account_id, Alarm.name.in_(found)).order_by(Alarm.name)
    return list(tx.session.scalars(rows))


def _weigh(tx: Transaction, alarm: Alarm, now: datetime) -> bool:
    new = _state_by_rule(tx, alarm)
    if new.state == alarm.state:
        return False
    _change(tx, alarm, new, now)
    return True


def _state_by_rule(tx: Transaction, alarm: Alarm) -> NewState:
    rule = alarm_rule.parse(alarm.rule or "")
    written = alarm_rule.children(rule)
    states = by_name(tx, alarm.account_id, {short_name(name) for name in written})
    holds = alarm_rule.holds(rule, {name: states.get(short_name(name), "") for name in written})
    shown = [{"name": name, "stateValue": states.get(short_name(name))} for name in written]
    data = json.dumps({"triggeringAlarms": shown}, separators=(",", ":"))
    named = ", ".join(f"{name} is {states.get(short_name(name), 'not there')}" for name in written)
    reason = f"The rule {'holds' if holds else 'does not hold'}: {named}." if named else "The rule is constant."
    return NewState(ALARM if holds else OK, reason[:_REASON], data[:4000] if len(data) <= 4000 else None)


def _change(tx: Transaction, alarm: Alarm, new: NewState, now: datetime) -> None:
    old = NewState(alarm.state, alarm.reason, alarm.reason_data)
    alarm.state, alarm.reason, alarm.reason_data = new.state, new.reason[:_REASON], new.data
    alarm.updated = now
    if new.state != old.state:
        alarm.transitioned = now
        text = json.dumps({"version": "1.0", "oldState": _shown(old), "newState": _shown(new)}, separators=(",", ":"))
        summary = f"Alarm updated from {old.state} to {new.state}"
        composite = alarm.rule is not None
        alarm_history.add(tx, alarm.account_id, alarm.name, composite, "StateUpdate", summary, text, now)
        arns = _actions(alarm)
        told = [arn for arn in arns if alarm_notices.is_topic(arn)]
        for arn in told:
            alarm_notices.send(tx, alarm, arn, old.state, now)
        if done := [arn for arn in arns if arn not in told]:
            _ask(tx, alarm, done, now, again=False)
    tx.session.flush()


def _actions(alarm: Alarm) -> list[str]:
    """Return the ARNs of what an alarm does in its state."""
    if not alarm.actions_enabled:
        return []
    arns: list[str] = json.loads(alarm.actions).get(alarm.state, [])
    return arns


def _ask(tx: Transaction, alarm: Alarm, arns: Iterable[str], now: datetime, *, again: bool) -> None:
    """Store actions to be carried out; only those without an instance are of alarms without InstanceId."""
    metrics = alarm_definition.read(alarm.definition).metrics
    found = {instance_id for metric in metrics if (instance_id := metric.dimension("InstanceId")) is not None}
    instance_id = found.pop() if len(found) == 1 else ""
    for arn in arns:
        tx.session.add(
            AlarmAction(
                account_id=alarm.account_id,
                alarm=alarm.name,
                arn=arn,
                instance_id=instance_id,
                state=alarm.state,
                reason_data=alarm.reason_data,
                again=again,
                since=now,
            )
        )
    alarm.acted = now


def _shown(one: NewState) -> dict[str, Any]:
    shown: dict[str, Any] = {"stateValue": one.state, "stateReason": one.reason}
    if one.data is not None:
        shown["stateReasonData"] = json.loads(one.data)
    return shown
