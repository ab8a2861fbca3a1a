"""What a scaling policy makes of an alarm: its values, and actions that tell nothing or name nothing."""

import json
from datetime import timedelta
from typing import Any

import pytest

from stead_controller.db.tables import AlarmAction, ScalingPolicy
from stead_controller.errors import InvalidParameter, NotFound, SteadError
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling.policy import SIMPLE, STEP, Adjusting, Policy
from stead_controller.resources.scaling.policy_execution import Measured, run_for_alarm
from stead_controller.resources.scaling.step_adjustment import Step
from tests.support import rows
from tests.support.rows import NOW

TOKEN = "00000000-0000-4000-8000-00000000000a"
STEPS = (Step(None, 0, -1), Step(0, 10, 1), Step(10, None, 3))


@pytest.mark.parametrize(("aggregation", "value"), [("Average", 20), ("Minimum", 10), ("Maximum", 40)])
def test_values_are_aggregated(aggregation: str, value: float) -> None:
    assert Measured([10, 40, 10], 5).aggregated(aggregation) == value


def act(run: Any, world: Any, policy: Policy, told: Any = None, *, token: str = TOKEN, **changes: Any) -> int:
    """The desired capacity of a group of two, one of which is in service, after an alarm had its policy act."""
    account_id = world.one.caller.account_id

    def do(tx: Transaction) -> int:
        group = rows.scaling_group(account_id, **{"desired": 2, "cooldown": 300} | changes)
        tx.session.add(group)
        tx.session.flush()
        tx.session.add(rows.scaling_instance(group, "i-1", in_service=NOW - timedelta(seconds=301)))
        tx.session.add(rows.scaling_instance(group, "i-2", in_service=NOW - timedelta(seconds=301)))
        row = ScalingPolicy(group_id=group.id, name="p", token=TOKEN, kind=policy.kind, enabled=True, alarms=[])
        row.definition = policy.text()
        tx.session.add(row)
        tx.session.flush()
        arn = f"arn:aws:autoscaling:us-east-1:{account_id}:scalingPolicy:{token}:autoScalingGroupName/web:policyName/p"
        action = AlarmAction(account_id=account_id, alarm="a", arn=arn, instance_id="", state="ALARM", since=NOW)
        action.reason_data = None if told is None else json.dumps(told)
        run_for_alarm(tx, action, NOW)
        return group.desired

    found: int = run(do)
    return found


STEPPED = Policy(STEP, Adjusting("ChangeInCapacity", steps=STEPS, aggregation="Maximum"))


@pytest.mark.parametrize(
    "told", [None, [1], {"recentDatapoints": 5, "threshold": 1}, {"recentDatapoints": []}, {"recentDatapoints": [5]}],
    ids=str,
)  # fmt: skip
def test_an_alarm_that_tells_nothing_fails(run: Any, world: Any, told: Any) -> None:
    with pytest.raises(InvalidParameter, match="recentDatapoints"):
        act(run, world, STEPPED, told)


@pytest.mark.parametrize(
    ("values", "changes", "desired"),
    [
        ([1, 59], {}, 3),
        ([60], {}, 5),
        ([49], {}, 1),
        ([60], {"max_size": 4}, 4),
        ([49], {"min_size": 2}, 2),
        ([60], {"suspended": {"AlarmNotification": "why"}}, 2),
        ([60], {"warmup": 301}, 5),
        ([60], {"warmup": 302}, 3),
        ([59], {"warmup": 302}, 2),
        ([60], {"warmup": 300, "cooldown": 999}, 5),
        ([49], {"warmup": 302}, 2),
    ],
    ids=str,
)
def test_steps(run: Any, world: Any, values: list[float], changes: Any, desired: int) -> None:
    told = {"recentDatapoints": values, "threshold": 50}
    assert act(run, world, STEPPED, told, **changes) == desired


def test_the_warm_up_of_a_policy_comes_before_that_of_its_group(run: Any, world: Any) -> None:
    policy = Policy(STEP, STEPPED.adjusting, warmup=0)
    assert act(run, world, policy, {"recentDatapoints": [60], "threshold": 50}, warmup=999) == 5


@pytest.mark.parametrize(
    ("scaled", "cooldown", "desired"),
    [(None, None, 3), (299, None, 2), (300, None, 3), (10, 9, 3), (10, 11, 2)],
    ids=str,
)
def test_a_simple_policy_waits_for_its_cooldown_or_the_groups(
    run: Any, world: Any, *, scaled: int | None, cooldown: int | None, desired: int
) -> None:
    policy = Policy(SIMPLE, Adjusting("ChangeInCapacity", 1, cooldown=cooldown))
    at = None if scaled is None else NOW - timedelta(seconds=scaled)
    assert act(run, world, policy, scaled=at) == desired


def test_a_policy_of_another_token_is_another_one(run: Any, world: Any) -> None:
    with pytest.raises(NotFound):
        act(run, world, STEPPED, token=TOKEN.replace("a", "b"))


def test_a_group_that_is_being_deleted_does_nothing(run: Any, world: Any) -> None:
    with pytest.raises(SteadError, match="pending delete"):
        act(run, world, STEPPED, {"recentDatapoints": [60], "threshold": 50}, deleting=True)
