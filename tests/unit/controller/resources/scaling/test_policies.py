"""Scaling policies as users put, find and delete them: by names or ARNs, of their own groups, fifty of each."""

from typing import Any

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Alarm, Instance, ScalingPolicy
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import alarms
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarms import AlarmRequest
from stead_controller.resources.metrics.measures import Measure, Metric
from stead_controller.resources.scaling import policies, policy_alarms
from stead_controller.resources.scaling.policies import MOST, PolicySearch, ShownPolicy
from stead_controller.resources.scaling.policy import HIGH, LOW, SIMPLE, STEP, TRACKING, Adjusting, Policy, Tracking
from stead_controller.resources.scaling.step_adjustment import Step
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.web_group import WebGroup

GROW = Policy(SIMPLE, Adjusting("ChangeInCapacity", 1))
STEPPED = Policy(STEP, Adjusting("ChangeInCapacity", steps=(Step(0, None, 1),)))
CLOSE = "ASGAverageCPUUtilizationHighResolution"
OTHER = "00000000-0000-4000-8000-000000000002"


def tracking(metric: str = "ASGAverageCPUUtilization", *, scales_in: bool = True) -> Policy:
    return Policy(TRACKING, tracking=Tracking(50, metric, scales_in=scales_in))


class Web(WebGroup):
    """The group, and another one of the same tenant called other."""

    def __init__(self, run: Any, world: Any) -> None:
        super().__init__(run, world)
        self.run(lambda tx: tx.session.add(rows.scaling_group(self.caller.account_id, id=OTHER, name="other")))

    def put(self, name: str = "p", policy: Policy = GROW, group: str = "web", *, enabled: bool = True) -> ShownPolicy:
        cloud = self.world.cloud
        made = self.run(policies.put, self.caller, cloud, group, name, policy, NOW, enabled=enabled)
        assert isinstance(made, ShownPolicy)
        return made

    def search(self, *names: str, whose: Any = None, after: Any = None, limit: int = 99, **asked: Any) -> list[str]:
        search = PolicySearch(names=names, **asked)
        found = self.run(policies.search, whose or self.caller, self.world.cloud, search, after=after, limit=limit)
        return [f"{one.group} {one.name}" for one in found]

    def remove(self, name: str, group: str | None = None, caller: Any = None) -> None:
        self.run(policies.remove, caller or self.caller, group, name, NOW)

    def alarms(self) -> dict[str, Alarm]:
        """The alarms by name."""
        return {one.name: one for one in self.run(lambda tx: tx.session.query(Alarm).order_by(Alarm.name).all())}

    def alarm(self, name: str, *arns: str) -> None:
        """Have an own alarm name policies."""
        measure = Measure(Metric("Own", "load"), "Average", 60)
        definition = Definition(measure, (), 1, None, 1, "GreaterThanThreshold")
        request = AlarmRequest(name, None, True, {"ALARM": list(arns)})
        self.run(alarms.put_metric_alarm, self.caller, self.world.cloud, request, definition, NOW)


@pytest.fixture
def web(run: Any, world: Any) -> Web:
    return Web(run, world)


def test_a_policy_is_put_changed_and_shown_with_the_same_arn(web: Web) -> None:
    made = web.put()
    assert made.arn.startswith(f"arn:aws:autoscaling:us-east-1:{web.caller.account_id}:scalingPolicy:")
    assert made.arn.endswith(":autoScalingGroupName/web:policyName/p")
    assert (made.enabled, made.policy, made.alarms) == (True, GROW, ())
    shrink = Policy(SIMPLE, Adjusting("ChangeInCapacity", -1))
    changed = web.put(policy=shrink, enabled=False)
    assert (changed.arn, changed.enabled, changed.policy) == (made.arn, False, shrink)
    assert policies.group_of_arn(made.arn) == "web"
    assert policies.group_of_arn(f"{made.arn[:-3]}") is None
    assert web.search() == ["web p"]


@pytest.mark.parametrize(
    ("name", "policy", "words"),
    [
        ("a:b", GROW, "PolicyName must not contain a colon"),
        ("p", Policy(SIMPLE, Adjusting("Sideways", 1)), "AdjustmentType"),
        ("there", STEPPED, "The type of a policy cannot be changed: there is of the type SimpleScaling"),
    ],
)
def test_what_no_policy_can_be_is_refused(web: Web, name: str, policy: Policy, words: str) -> None:
    web.put("there")
    with pytest.raises(InvalidParameter, match=words):
        web.put(name, policy)


def test_a_group_has_at_most_fifty_policies_which_can_still_be_changed(web: Web) -> None:
    web.put("of another group", group="other")
    for number in range(MOST):
        web.put(f"p{number}")
    with pytest.raises(LimitExceeded, match="at most 50 scaling policies"):
        web.put("one more")
    assert web.put("p7", enabled=False).enabled is False


def test_policies_are_found_by_group_name_arn_and_type(web: Web) -> None:
    first, second, third = web.put("a"), web.put("b", STEPPED), web.put("a", group="other")
    assert web.search() == ["other a", "web a", "web b"]
    assert web.search(group="web") == ["web a", "web b"]
    assert web.search("a") == ["other a", "web a"]
    assert web.search(first.arn, "b") == ["web a", "web b"]
    assert web.search(third.arn, second.arn, group="web") == ["web b"]
    assert web.search("none") == []
    assert web.search(kinds=[STEP]) == ["web b"]
    assert web.search("a", kinds=[STEP, TRACKING]) == []
    assert web.search(whose=web.world.other.caller) == []
    with pytest.raises(NotFound, match="AutoScalingGroup 'nowhere' not found"):
        web.search(group="nowhere")


def test_policies_come_in_pages_by_their_groups_and_names(web: Web) -> None:
    for group in ("web", "other"):
        for name in ("b", "a"):
            web.put(name, group=group)
    assert web.search(limit=3) == ["other a", "other b", "web a"]
    assert web.search(after=("other", "a")) == ["other b", "web a", "web b"]
    assert web.search(after=("other", "b")) == ["web a", "web b"]
    assert web.search(after=("web", "a")) == ["web b"]


def test_a_policy_is_named_by_its_group_or_its_arn(web: Web) -> None:
    arn = web.put().arn
    token = arn.split(":")[6]
    with pytest.raises(InvalidParameter, match="Without AutoScalingGroupName the policy must be named by its ARN"):
        web.remove("p")
    for name, group in (
        ("q", "web"),
        (arn, "other"),
        (arn.replace(token, OTHER), None),
        (arn.replace(web.caller.account_id, "222222222222"), None),
        (f"{arn}q", None),
    ):
        with pytest.raises(NotFound, match="Cannot find a scaling policy with the name"):
            web.remove(name, group)
    with pytest.raises(NotFound, match="AutoScalingGroup 'web' not found"):
        web.remove(arn, caller=web.world.other.caller)
    assert web.search() == ["web p"]
    web.remove(arn)
    web.put()
    web.remove("p", "web")
    arn = web.put().arn
    web.remove(arn, "web")
    assert web.search() == []


def test_alarms_that_have_a_policy_act_are_shown_with_it(web: Web) -> None:
    one, two = web.put("one"), web.put("two")
    web.alarm("b", one.arn)
    web.alarm("a", one.arn, two.arn)
    web.alarm("c")

    def shown(*names: str) -> dict[str, list[str]]:
        search = PolicySearch(names=names)
        found = web.run(policies.search, web.caller, web.world.cloud, search, after=None, limit=9)
        return {each.name: list(each.alarms) for each in found}

    assert shown() == {"one": ["a", "b"], "two": ["a"]}
    assert list(web.put("one").alarms) == ["a", "b"]


def test_a_policy_that_tracks_a_target_makes_its_alarms_and_takes_them_with_it(web: Web) -> None:
    made = web.put(policy=tracking())
    high, low = sorted(made.alarms)
    assert high.startswith(f"TargetTracking-web-{HIGH}-")
    assert low.startswith(f"TargetTracking-web-{LOW}-")
    for one in web.alarms().values():
        assert one.description == f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {made.arn}."
        assert (one.actions, one.actions_enabled) == (f'{{"ALARM": ["{made.arn}"]}}', True)
    before = {name: one.definition for name, one in web.alarms().items()}
    web.run(lambda tx: tx.session.query(Alarm).update({"state": "OK"}))
    changed = web.put(policy=Policy(TRACKING, tracking=Tracking(70, "ASGAverageCPUUtilization")), enabled=False)
    assert sorted(changed.alarms) == [high, low]
    assert {name: one.definition == before[name] for name, one in web.alarms().items()} == {high: False, low: False}
    assert {(one.actions_enabled, one.state) for one in web.alarms().values()} == {(False, "OK")}
    web.alarm("own", made.arn)
    web.remove(made.arn)
    assert list(web.alarms()) == ["own"]


def test_a_policy_that_scales_in_no_more_loses_that_alarm(web: Web) -> None:
    high, low = sorted(web.put(policy=tracking()).alarms)
    assert web.put(policy=tracking(scales_in=False)).alarms == [high]
    again = sorted(web.put(policy=tracking()).alarms)
    assert again[0] == high
    assert again[1] != low
    assert again == sorted(web.alarms())


def test_alarms_that_users_have_deleted_are_not_missed(web: Web) -> None:
    made = web.put(policy=tracking())
    web.run(alarms.remove, web.caller, [min(made.alarms)], NOW)
    web.remove(made.arn)
    assert web.alarms() == {}
    made = web.put(policy=tracking())
    web.run(alarms.remove, web.caller, list(made.alarms), NOW)
    web.remove(made.arn)
    assert web.search() == []


def test_only_the_alarms_of_a_groups_own_policies_end_with_it(web: Web) -> None:
    web.put("a", tracking())
    web.put("b", tracking())
    kept = web.put("a", tracking(), group="other")
    web.alarm("own")
    web.run(lambda tx: policy_alarms.remove_all(tx, web.row_of(tx), NOW))
    assert list(web.alarms()) == [*sorted(kept.alarms), "own"]


def test_many_alarms_are_deleted_some_at_a_time(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_alarms, "_AT_ONCE", 1)
    web.put("a", tracking())
    web.run(lambda tx: policy_alarms.remove_all(tx, web.row_of(tx), NOW))
    assert web.alarms() == {}


def test_a_long_name_of_a_group_is_cut_in_its_alarms(web: Web) -> None:
    web.change(name="w" * 255)
    made = web.put(policy=tracking(), group="w" * 255)
    assert {name[15:-36] for name in made.alarms} == {f"{'w' * 180}-{HIGH}-", f"{'w' * 180}-{LOW}-"}


def test_a_group_scales_in_when_all_of_its_policies_would(web: Web) -> None:
    made = [web.put("a", tracking()), web.put("b", tracking()), web.put("never", tracking(scales_in=False))]
    off, theirs = web.put("off", tracking(), enabled=False), web.put("a", tracking(), group="other")
    web.put("simple")
    lows = [sorted(one.alarms)[1] for one in (*made[:2], off, theirs)]

    def all_are_low(*names: str) -> bool:
        def do(tx: Transaction) -> bool:
            for name, row in {row.name: row for row in tx.session.scalars(select(Alarm))}.items():
                row.state = "ALARM" if name in names else "OK"
            tx.session.flush()
            return policy_alarms.all_are_low(tx, web.row_of(tx))

        found: bool = web.run(do)
        return found

    assert all_are_low(*lows)
    assert all_are_low(*lows[:2])
    assert not all_are_low(lows[0])
    assert not all_are_low(lows[1], lows[2], lows[3])
    rows_of = {row.name: row for row in web.run(lambda tx: tx.session.query(ScalingPolicy).filter_by(group_id=OTHER))}
    assert [policy_alarms.is_low(rows_of["a"], name) for name in (*sorted(theirs.alarms), lows[0])] == [
        False,
        True,
        False,
    ]


def test_instances_are_measured_closely_while_a_policy_asks_for_it(web: Web) -> None:
    one = web.add()

    def closely() -> bool:
        return bool(web.run(lambda tx: tx.session.get_one(Instance, one)).measured_closely)

    arn = web.put(policy=tracking(CLOSE)).arn
    assert closely()
    web.put("simple")
    web.remove("simple", "web")
    assert closely()
    web.remove(arn)
    assert not closely()
