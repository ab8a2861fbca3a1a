"""Make, change, find and delete alarms.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select

from stead_controller.db.tables import Alarm, AlarmChild, AlarmMetric, AlarmPolicy
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import (
    alarm_actions,
    alarm_definition,
    alarm_history,
    alarm_rule,
    alarm_states,
    alarm_usage,
)
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarm_states import NewState, short_name
from stead_controller.resources.metrics.measures import Measure
from stead_controller.resources.metrics.tag_rules import check_tags

PER_ACCOUNT: Final = 5000
"""Alarms of an account, of both kinds."""

type ShownAlarm = Alarm
"""An alarm's row, as `aws` shows it."""

_BATCH: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class AlarmRequest:
    """What PutMetricAlarm and PutCompositeAlarm have in common; `actions` are lists of ARNs by state."""

    name: str
    description: str | None = None
    actions_enabled: bool = True
    actions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """Which alarms DescribeAlarms asks for; `composite` has False for metric alarms, True for composite ones."""

    names: Sequence[str] | None = None
    prefix: str = ""
    composite: Collection[bool] = (False,)
    state: str | None = None
    action_prefix: str = ""


def put_metric_alarm(  # noqa: PLR0917 - of whom, what, when
    tx: Transaction, caller: Caller, cloud: Cloud, request: AlarmRequest, definition: Definition, now: datetime
) -> None:
    """Make a metric alarm, or give one that is there another definition.

    Its state stays until it is evaluated. Raises InvalidParameter, MissingParameter, InvalidCombination, Unsupported,
    LimitExceeded.
    """
    definition.check()
    ids = {found for metric in definition.metrics if (found := metric.dimension("InstanceId")) is not None}
    alarm_actions.check(cloud, caller.account_id, request.actions, sorted(ids))
    row = _put(tx, caller, request, False, now)
    digests = {metric.digest(caller.account_id) for metric in definition.metrics}
    row.definition, row.rule, row.due = definition.text(), None, now
    row.watched = None if definition.measure is None else definition.measure.metric.digest(caller.account_id)
    tx.session.flush()
    mine = AlarmMetric.account_id == caller.account_id, AlarmMetric.alarm == request.name
    tx.session.execute(delete(AlarmMetric).where(*mine))
    tx.session.add_all(
        AlarmMetric(account_id=caller.account_id, alarm=request.name, digest=digest) for digest in sorted(digests)
    )
    _put_policies(tx, cloud, row)
    alarm_usage.measure_metric_alarm(tx, row, len(digests), definition.period, now)
    tx.session.flush()


def put_composite_alarm(  # noqa: PLR0917 - of whom, what, when
    tx: Transaction, caller: Caller, cloud: Cloud, request: AlarmRequest, rule: str, now: datetime
) -> None:
    """Make a composite alarm, or give one that is there another rule; its state follows at once.

    Raises InvalidParameter, Unsupported, LimitExceeded.
    """
    parsed = alarm_rule.parse(rule)
    names = sorted({_child(cloud, caller, name) for name in alarm_rule.children(parsed)})
    alarm_actions.check(cloud, caller.account_id, request.actions, None)
    known = alarm_states.by_name(tx, caller.account_id, names)
    missing = [name for name in names if name not in known and name != request.name]
    if missing:
        raise InvalidParameter(f"Could not save the composite alarm as alarms [{', '.join(missing)}] do not exist.")
    _check_cycle(tx, caller, request.name, names)
    row = _put(tx, caller, request, True, now)
    row.definition, row.rule, row.watched, row.due = "", rule, None, None
    tx.session.flush()
    mine = AlarmChild.account_id == caller.account_id, AlarmChild.alarm == request.name
    tx.session.execute(delete(AlarmChild).where(*mine))
    tx.session.add_all(AlarmChild(account_id=caller.account_id, alarm=request.name, child=name) for name in names)
    tx.session.flush()
    alarm_usage.measure_composite_alarm(tx, row, now)
    alarm_states.weigh(tx, row, now)


def of_policies(tx: Transaction, account_id: str, tokens: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the alarms whose actions name scaling policies, sorted, by the policies' tokens."""
    found: dict[str, list[str]] = {}
    for first in range(0, len(tokens), _BATCH):
        some = AlarmPolicy.token.in_(list(tokens)[first : first + _BATCH])
        query = select(AlarmPolicy.token, AlarmPolicy.alarm).where(AlarmPolicy.account_id == account_id, some)
        for token, name in tx.session.execute(query.order_by(AlarmPolicy.alarm)):
            found.setdefault(token, []).append(name)
    return found


def search(tx: Transaction, caller: Caller, asked: Search, *, after: str | None, limit: int) -> list[Alarm]:
    """Find alarms, sorted by name: at most `limit` whose names are greater than `after`."""
    found: list[Alarm] = []
    for row in _rows(tx, caller, asked, after):
        if _has_action(row, asked.action_prefix):
            found.append(row)
            if len(found) == limit:
                break
    return found


def on_measure(
    tx: Transaction, caller: Caller, measure: Measure, *, any_period: bool, any_statistic: bool
) -> list[Alarm]:
    """Return the alarms without expressions on a metric, its statistic, period and unit, sorted by name."""
    digest = measure.metric.digest(caller.account_id)
    mine = select(Alarm).where(Alarm.account_id == caller.account_id, Alarm.watched == digest).order_by(Alarm.name)
    found = []
    for row in tx.session.scalars(mine):
        has = definition_of(row).measure
        if has is None or (measure.unit is not None and has.unit != measure.unit):
            continue
        if (any_period or has.period == measure.period) and (any_statistic or has.statistic == measure.statistic):
            found.append(row)
    return found


def relatives(tx: Transaction, caller: Caller, name: str, *, above: bool) -> list[Alarm]:
    """Return the composite alarms whose rules name an alarm, or the alarms that its own rule names; raises NotFound."""
    if tx.session.get(Alarm, (caller.account_id, name)) is None:
        raise absent([name])
    if above:
        names = alarm_states.parents(tx, caller.account_id, [name])
    else:
        mine = AlarmChild.account_id == caller.account_id, AlarmChild.alarm == name
        names = list(tx.session.scalars(select(AlarmChild.child).where(*mine)))
    return list(_rows(tx, caller, Search(names=names, composite=(False, True)), None))


def set_state(tx: Transaction, caller: Caller, name: str, new: NewState, now: datetime) -> None:
    """Give an alarm a state until it is evaluated next; raises NotFound, InvalidParameter."""
    if new.data is not None and not _is_json(new.data):
        raise InvalidParameter("StateReasonData must be JSON.", code="InvalidFormat")
    row = tx.session.get(Alarm, (caller.account_id, name))
    if row is None:
        raise absent([name])
    alarm_states.change(tx, row, new, now)
    if row.rule is None:
        row.due = now


def enable_actions(tx: Transaction, caller: Caller, names: Sequence[str], enabled: bool, now: datetime) -> None:
    """Let alarms act or not; names of none are passed over."""
    for row in _rows(tx, caller, Search(names=names, composite=(False, True)), None):
        if row.actions_enabled != enabled:
            row.actions_enabled = enabled
            row.configured = now
            _note(tx, row, "updated", "Update", now)


def remove(tx: Transaction, caller: Caller, names: Sequence[str], now: datetime) -> None:
    """Delete alarms, all or none; raises NotFound, and InvalidParameter if a composite alarm that stays names one."""
    asked = list(dict.fromkeys(names))
    found = {row.name: row for row in _rows(tx, caller, Search(names=asked, composite=(False, True)), None)}
    missing = [name for name in asked if name not in found]
    if missing:
        raise absent(missing)
    above = [name for name in alarm_states.parents(tx, caller.account_id, asked) if name not in found]
    if above:
        raise InvalidParameter(
            f"Cannot delete {asked[0]} as there are composite alarm(s) depending on it: {', '.join(above)}"
        )
    for row in found.values():
        _note(tx, row, "deleted", "Delete", now)
        alarm_usage.end(tx, row, now)
        tx.session.delete(row)
    tx.session.flush()


def definition_of(row: Alarm) -> Definition:
    """Return what a metric alarm watches."""
    return alarm_definition.read(row.definition)


def arn_of(cloud: Cloud, account_id: str, name: str) -> str:
    """Return an alarm's ARN."""
    return f"arn:{cloud.partition}:cloudwatch:{cloud.region}:{account_id}:alarm:{name}"


def absent(names: Sequence[str]) -> NotFound:
    """Return the error of alarms that are not there."""
    return NotFound("alarm", names, code="ResourceNotFound", message=f"Unknown alarm: {', '.join(names)}"[:1000])


def _put_policies(tx: Transaction, cloud: Cloud, row: Alarm) -> None:
    """Store which scaling policies an alarm's actions name."""
    mine = AlarmPolicy.account_id == row.account_id, AlarmPolicy.alarm == row.name
    tx.session.execute(delete(AlarmPolicy).where(*mine))
    arns = (arn for arns in json.loads(row.actions).values() for arn in arns)
    tokens = {token for arn in arns if (token := alarm_actions.policy_of(cloud, row.account_id, arn)) is not None}
    tx.session.add_all(AlarmPolicy(account_id=row.account_id, alarm=row.name, token=token) for token in sorted(tokens))


def _put(tx: Transaction, caller: Caller, request: AlarmRequest, composite: bool, now: datetime) -> Alarm:
    """Make the row or change it, with the item of its history."""
    if _CONTROL.search(request.name):
        raise InvalidParameter("AlarmName must not have control characters.")
    row = tx.session.get(Alarm, (caller.account_id, request.name))
    is_new = row is None
    if row is None:
        check_tags(request.tags)
        mine = select(func.count()).select_from(Alarm).where(Alarm.account_id == caller.account_id)
        if tx.session.scalars(mine).one() >= PER_ACCOUNT:
            raise LimitExceeded(f"An account may have at most {PER_ACCOUNT} alarms.")
        row = Alarm(
            account_id=caller.account_id,
            name=request.name,
            definition="",
            rule="" if composite else None,
            tags=json.dumps(dict(request.tags), sort_keys=True),
            state=alarm_states.INSUFFICIENT,
            reason="Unchecked: Initial alarm creation",
            updated=now,
            transitioned=now,
        )
        tx.session.add(row)
    elif (row.rule is not None) != composite:
        kind = "metric" if composite else "composite"
        raise InvalidParameter(f"There is a {kind} alarm of the name {request.name}.")
    row.description, row.actions_enabled, row.configured = request.description, request.actions_enabled, now
    row.actions = json.dumps({state: list(arns) for state, arns in request.actions.items() if arns})
    _note(tx, row, "created" if is_new else "updated", "Create" if is_new else "Update", now)
    return row


def _note(tx: Transaction, row: Alarm, what: str, kind: str, now: datetime) -> None:
    text = json.dumps({"version": "1.0", "type": kind, "alarmName": row.name}, separators=(",", ":"))
    summary = f'Alarm "{row.name}" {what}'
    alarm_history.add(tx, row.account_id, row.name, row.rule is not None, "ConfigurationUpdate", summary, text, now)


def _rows(tx: Transaction, caller: Caller, asked: Search, after: str | None) -> Iterator[Alarm]:
    """Yield alarms by name, some at a time."""
    query = select(Alarm).where(Alarm.account_id == caller.account_id, *_conditions(asked)).order_by(Alarm.name)
    last = after
    while True:
        some = query if last is None else query.where(Alarm.name > last)
        rows = tx.session.scalars(some.limit(_BATCH)).all()
        yield from rows
        if len(rows) < _BATCH:
            return
        last = rows[-1].name


def _conditions(asked: Search) -> Iterator[Any]:
    if False not in asked.composite:
        yield Alarm.rule.is_not(None)
    if True not in asked.composite:
        yield Alarm.rule.is_(None)
    if asked.names is not None:
        yield Alarm.name.in_(asked.names)
    if asked.prefix:
        yield Alarm.name >= asked.prefix
        yield func.substr(Alarm.name, 1, len(asked.prefix)) == asked.prefix
    if asked.state is not None:
        yield Alarm.state == asked.state


def _has_action(row: Alarm, prefix: str) -> bool:
    return not prefix or any(arn.startswith(prefix) for arns in json.loads(row.actions).values() for arn in arns)


def _child(cloud: Cloud, caller: Caller, name: str) -> str:
    short = short_name(name)
    if name.startswith("arn:") and name != arn_of(cloud, caller.account_id, short):
        raise InvalidParameter(f"AlarmRule names an alarm of another account or region: {name}.")
    return short


def _check_cycle(tx: Transaction, caller: Caller, name: str, children: Sequence[str]) -> None:
    """Raise InvalidParameter if an alarm would be below itself."""
    seen: set[str] = set()
    level = set(children)
    while level:
        if name in level:
            raise InvalidParameter(f"The rule of {name} names {name} itself, directly or by other composite alarms.")
        seen |= level
        mine = AlarmChild.account_id == caller.account_id, AlarmChild.alarm.in_(level)
        level = set(tx.session.scalars(select(AlarmChild.child).where(*mine))) - seen


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
