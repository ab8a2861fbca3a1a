"""Alarms of a tenant, made as the API makes them; each call is one transaction at NOW, unless it says when."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from stead_controller.db.tables import Alarm, AlarmAction, AlarmHistoryItem
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import alarm_states, alarms
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarm_states import NewState
from stead_controller.resources.metrics.alarms import AlarmRequest
from stead_controller.resources.metrics.measures import Measure, Metric
from tests.support.rows import NOW, Tenant, World

STOP = "arn:aws:automate:us-east-1:ec2:stop"
POLICY = (
    "arn:aws:autoscaling:us-east-1:111111111111:scalingPolicy:00000000-0000-4000-8000-00000000000a:"
    "autoScalingGroupName/web:policyName/p"
)


def metric(name: str = "load", instance_id: str | None = None) -> Metric:
    """An own metric, or one of an instance."""
    return Metric("Own", name, () if instance_id is None else (("InstanceId", instance_id),))


def average(of: Metric) -> Measure:
    """The averages of a metric's minutes."""
    return Measure(of, "Average", 60)


def above_one(of: Metric | None = None) -> Definition:
    """What an alarm watches that goes off when the average of a minute is more than 1."""
    return Definition(average(of or metric()), (), 1, None, 1, "GreaterThanThreshold")


class Alarms:
    """The alarms; `run` calls a function in a transaction."""

    def __init__(self, run: Callable[..., Any], world: World, tenant: Tenant | None = None) -> None:
        """Begin without any; the tenant is the world's first one if none is given."""
        self.run, self.world, self.caller = run, world, (tenant or world.one).caller

    def put(self, name: str = "own", *arns: str, definition: Definition | None = None, enabled: bool = True) -> None:
        """Make a metric alarm with actions of the state ALARM."""
        request = AlarmRequest(name, None, enabled, {"ALARM": arns})
        made = definition or above_one()
        self.run(alarms.put_metric_alarm, self.caller, self.world.cloud, request, made, NOW)

    def compose(self, name: str, rule: str, *arns: str) -> None:
        """Make a composite alarm."""
        request = AlarmRequest(name, None, True, {"ALARM": arns})
        self.run(alarms.put_composite_alarm, self.caller, self.world.cloud, request, rule, NOW)

    def row(self, name: str = "own") -> Alarm:
        """The row of an alarm."""
        found: Alarm = self.run(lambda tx: self.row_of(tx, name))
        return found

    def row_of(self, tx: Transaction, name: str = "own") -> Alarm:
        """The row of an alarm in a transaction."""
        return tx.session.get_one(Alarm, (self.caller.account_id, name))

    def states(self) -> dict[str, str]:
        """The states of all."""
        return {one.name: one.state for one in self.run(lambda tx: tx.session.query(Alarm).all())}

    def set(self, name: str = "own", **values: Any) -> None:
        """Give a row other values."""
        self.run(lambda tx: tx.session.query(Alarm).filter_by(name=name).update(values))

    def become(self, state: str, name: str = "own", *, why: str = "why", data: Any = None, at: datetime = NOW) -> None:
        """Give an alarm a state."""
        new = NewState(state, why, None if data is None else json.dumps(data))
        self.run(lambda tx: alarm_states.change(tx, self.row_of(tx, name), new, at))

    def asked(self) -> list[AlarmAction]:
        """What is to be carried out, in order."""
        found = self.run(lambda tx: tx.session.query(AlarmAction).order_by(AlarmAction.number).all())
        return list(found)

    def history(self, name: str = "own", kind: str = "StateUpdate") -> list[AlarmHistoryItem]:
        """What history has of an alarm, in order."""
        found = self.run(lambda tx: tx.session.query(AlarmHistoryItem).filter_by(alarm=name, kind=kind).all())
        return sorted(found, key=lambda one: one.number)
