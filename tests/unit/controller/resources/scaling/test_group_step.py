"""A step of a group: what it launches, takes into service, ends and replaces, what it says of it, and when it looks again."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import (
    Host,
    InstanceRefresh,
    LifecycleAction,
    LifecycleHook,
    ScalingActivity,
    ScalingGroup,
    ScalingInstance,
    WarmPool,
)
from stead_controller.errors import InvalidParameter
from stead_controller.resources.scaling import group_step, hook_notices, instance_refreshes, members, words
from stead_controller.resources.scaling.hook_notices import FROM_POOL, INTO_GROUP
from stead_controller.resources.scaling.instance_refreshes import Preferences, RefreshRequest
from stead_controller.resources.scaling.plan import BALANCE_PAUSE, PATIENCE
from stead_controller.resources.scaling.termination import Distribution
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.launch_ways import LaunchWays
from tests.unit.controller.resources.scaling.web_group import WebGroup

HERE, THERE = "us-east-1a", "us-east-1b"
SECOND = timedelta(seconds=1)


class Web(WebGroup):
    """The group, whose steps are taken by hand."""

    def __init__(self, run: Any, world: Any) -> None:
        super().__init__(run, world, health_grace=0)
        self.ways = LaunchWays(world.image_id)
        self.now: datetime = NOW

    def step(self, seconds: float = 1, **values: Any) -> None:
        """Let time pass, give the group other values, and have it take a step."""
        self.now += seconds * SECOND
        self.change(due=self.now, **values)
        self.run(group_step.run, self.world.cloud, self.ways.read, self.row.id, self.now)

    def become(self, state: str, *ids: str) -> None:
        """Have instances, or else those that come, in a state, and take a step."""
        for one in ids or [each for each, at in self.states().items() if at == "Pending"]:
            self.change_instance(one, state=state)
        self.step()

    def grow(self, desired: int) -> list[str]:
        """Want so many, and have those that are launched in service."""
        before = set(self.states())
        self.step(desired=desired)
        self.become("running")
        return sorted(set(self.states()) - before)

    def told(self) -> list[tuple[str, str, str]]:
        """Description, status and cause of what the group did, the first first; without the times of the causes."""
        query = select(ScalingActivity).order_by(ScalingActivity.started, ScalingActivity.description)
        found = self.run(lambda tx: list(tx.session.scalars(query)))
        return [(one.description, one.status, self.untimed(one.cause)) for one in found]

    @staticmethod
    def untimed(cause: str) -> str:
        return "  ".join(part.partition("Z ")[2] or part for part in cause.split("  "))

    def hook(self, *, launching: bool) -> None:
        hook = {"name": f"h{launching}", "launching": launching, "heartbeat": 60, "default_result": "CONTINUE"}
        self.run(lambda tx: tx.session.add(LifecycleHook(group_id=self.row_of(tx).id, **hook)))

    def waits(self) -> list[str]:
        return list(self.run(lambda tx: tx.session.scalars(select(LifecycleAction.instance_id)).all()))

    def complete(self, result: str = "CONTINUE") -> None:
        self.run(lambda tx: tx.session.execute(update(LifecycleAction).values(result=result)) and None)
        self.step()

    def room(self, cpus: int) -> None:
        self.run(lambda tx: tx.session.execute(update(Host).values(**rows.offered({"cpus_free": cpus}))) and None)

    def pool(self, **values: Any) -> None:
        known = {"min_size": 0, "max_prepared": None, "state": "Running", "deleting": False, "failures": 0}
        self.run(lambda tx: tx.session.add(WarmPool(group_id=self.row_of(tx).id, **known | values)))

    def warm_pool(self) -> WarmPool | None:
        found: WarmPool | None = self.run(lambda tx: tx.session.get(WarmPool, self.row_of(tx).id))
        return found

    def balances_at(self) -> datetime | None:
        return self.row.balance_at

    def ec2(self, instance_id: str) -> str:
        return self.instance(instance_id).state


@pytest.fixture
def web(run: Any, world: Any) -> Web:
    return Web(run, world)


@pytest.mark.parametrize("due", [None, NOW + SECOND])
def test_a_group_that_is_not_due_or_not_there_is_left_alone(web: Web, due: Any) -> None:
    web.change(desired=1, due=due)
    for group_id in (web.row.id, "gone"):
        web.run(group_step.run, web.world.cloud, web.ways.read, group_id, NOW)
    assert (web.states(), web.row.due) == ({}, due)


def test_a_group_launches_what_is_missing_and_says_so(web: Web) -> None:
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert list(web.states().values()) == ["Pending", "Pending"]
    assert web.row.why == ""
    grown = f"somebody wanted it.  {words.grown(0, 2)}"
    assert web.told() == [
        (f"Launching a new EC2 instance: {one}", "PreInService", grown) for one in sorted(web.states())
    ]
    web.become("running")
    assert list(web.states().values()) == ["InService", "InService"]
    assert {status for _, status, _ in web.told()} == {"Successful"}
    assert web.row.scaled == web.now
    for one in web.states():
        row = web.member(one)
        assert row is not None
        assert (row.since, row.in_service, row.activity_id, row.spot, row.weight) == (web.now, web.now, None, False, 1)
    [first, *_] = web.grow(3)
    assert web.told()[-1] == (f"Launching a new EC2 instance: {first}", "Successful", words.grown(2, 3))


def test_instances_of_weights_and_markets_are_counted_by_them(web: Web) -> None:
    web.ways.weight = 2
    web.ways.distribution = Distribution(2, 0)
    web.grow(4)
    assert sorted((row.spot, row.weight) for one in web.states() if (row := web.member(one))) == [(False, 2), (True, 2)]
    assert {cause for _, _, cause in web.told()} == {words.grown(0, 4)}
    web.grow(6)
    assert [row.spot for one in web.states() if (row := web.member(one))].count(True) == 2


def test_a_group_shrinks_by_what_its_policies_choose_and_says_so(web: Web) -> None:
    first, second = web.grow(2)
    web.change(termination_policies=["OldestInstance"])
    web.run(
        lambda tx: tx.session.query(ScalingInstance).filter_by(instance_id=second).update({"launched": NOW - SECOND})
    )
    web.change_instance(second, disable_api_termination=True)
    web.step(desired=1, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert web.states() == {first: "InService", second: "Terminating"}
    assert web.ec2(second) == "shutting-down"
    cause = f"somebody wanted it.  {words.shrunk(2, 1)}  {words.selected(second)}"
    assert web.told()[-1] == (f"Terminating EC2 instance: {second}", "InProgress", cause)
    assert web.row.why == ""
    web.change(scaled=NOW)
    web.become("terminated", second)
    assert web.states() == {first: "InService"}
    assert web.told()[-1][1] == "Successful"
    assert web.row.scaled == web.now


def test_what_the_group_launches_now_stays_where_the_older_ends(web: Web) -> None:
    web.change(termination_policies=["OldestLaunchTemplate"])
    [old] = web.grow(1)
    web.ways.version = 2
    [new] = web.grow(2)
    web.step(desired=1)
    assert web.states() == {old: "Terminating", new: "InService"}


def test_what_cannot_be_read_any_more_does_not_keep_a_group_from_shrinking(web: Web) -> None:
    web.grow(2)
    web.ways.refused[None] = InvalidParameter("The template is gone.")
    web.step(desired=1)
    assert sorted(web.states().values()) == ["InService", "Terminating"]


def test_the_type_that_a_policy_likes_least_ends_first(web: Web) -> None:
    web.ways.distribution = Distribution(9, 100)
    web.change(termination_policies=["AllocationStrategy"])
    web.ways.types = ["stead.tiny"]
    [small] = web.grow(1)
    web.ways.types = ["t3.micro"]
    [large] = web.grow(2)
    web.ways.types = ["t3.micro", "stead.tiny"]
    web.step(desired=1)
    assert web.states() == {large: "Terminating", small: "InService"}


def test_a_sick_instance_is_replaced(web: Web) -> None:
    [one] = web.grow(1)
    web.run(lambda tx: tx.session.query(ScalingInstance).update({"healthy": False}))
    web.step()
    [new] = set(web.states()) - {one}
    assert web.states() == {one: "Terminating", new: "Pending"}
    told = {description.split(":")[0]: cause for description, _, cause in web.told()[1:]}
    assert told == {
        "Terminating EC2 instance": "an instance was taken out of service in response to a user health-check.",
        "Launching a new EC2 instance": words.REPLACED,
    }


def test_the_capacity_that_is_told_is_without_what_ends(web: Web) -> None:
    [one] = web.grow(1)
    web.run(lambda tx: tx.session.query(ScalingInstance).update({"healthy": False}))
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    new = sorted(set(web.states()) - {one})
    grown = f"somebody wanted it.  {words.grown(0, 2)}"
    assert [told for told in web.told() if told[2] == grown] == [
        (f"Launching a new EC2 instance: {each}", "PreInService", grown) for each in new
    ]


def test_what_ends_in_the_warm_pool_was_no_capacity(web: Web) -> None:
    web.grow(1)
    web.pool(min_size=1, max_prepared=0)
    web.step()
    [warm] = [each for each, state in web.states().items() if state == "Warmed:Pending"]
    web.become("running", warm)
    web.run(lambda tx: tx.session.query(ScalingInstance).filter_by(instance_id=warm).update({"healthy": False}))
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert web.states()[warm] == "Warmed:Terminating"
    assert f"somebody wanted it.  {words.grown(1, 2)}" in {cause for _, _, cause in web.told()}


def test_an_instance_that_stopped_is_shown_as_unhealthy_and_replaced(web: Web) -> None:
    [one] = web.grow(1)
    web.become("stopped", one)
    row = web.member(one)
    assert row is not None
    assert (row.lifecycle_state, row.healthy) == ("Terminating", False)
    assert len(web.states()) == 2


def test_a_failing_check_is_waited_for_and_forgotten_when_it_is_over(web: Web) -> None:
    [one] = web.grow(1)
    web.change_instance(one, answers="no")

    def until() -> Any:
        row = web.member(one)
        assert row is not None
        return row.until

    web.step()
    assert until() == web.now + PATIENCE
    assert web.row.due == web.now + PATIENCE
    web.change_instance(one, answers="yes")
    web.step()
    assert until() is None
    assert web.states() == {one: "InService"}


def test_instances_wait_for_hooks_before_they_serve_and_before_they_end(web: Web) -> None:
    web.hook(launching=True)
    web.hook(launching=False)
    [one] = web.grow(1)
    assert (web.states(), web.waits(), web.row.due) == ({one: "Pending:Wait"}, [one], web.now)
    assert web.told()[0][1] == "MidLifecycleAction"
    began = web.now
    web.step()
    assert (web.states(), web.row.due) == ({one: "Pending:Wait"}, began + 60 * SECOND)
    web.run(lambda tx: setattr(web.row_of(tx), "failures", 2))
    web.complete()
    assert (web.states(), web.waits(), web.row.failures) == ({one: "InService"}, [], 0)
    web.step(desired=0)
    assert (web.states(), web.waits(), web.ec2(one)) == ({one: "Terminating:Wait"}, [one], "running")
    assert web.instance(one).target_lifecycle_state == "Terminated"
    assert web.row.due == web.now + 60 * SECOND
    web.complete()
    assert (web.states(), web.waits(), web.ec2(one)) == ({one: "Terminating"}, [], "shutting-down")


def test_what_is_gone_waits_for_no_hook_and_is_looked_at_again(web: Web) -> None:
    web.hook(launching=False)
    [one] = web.grow(1)
    web.become("terminated", one)
    assert web.states()[one] == "Terminating"
    assert (web.waits(), web.row.due) == ([], web.now)
    web.step()
    assert one not in web.states()


def test_an_abandoned_launch_ends_without_hooks_and_another_is_tried_at_once(web: Web) -> None:
    web.hook(launching=True)
    web.hook(launching=False)
    [one] = web.grow(1)
    web.complete("ABANDON")
    assert web.states()[one] == "Terminating"
    assert (web.waits(), web.ec2(one), len(web.states())) == ([], "shutting-down", 2)
    assert (web.row.failures, web.row.retry_at) == (0, None)
    assert (f"Launching a new EC2 instance: {one}", "Cancelled", words.grown(0, 1)) in web.told()


def test_a_launch_that_fails_is_told_and_the_next_waits(web: Web) -> None:
    web.step(desired=1)
    [one] = web.states()
    web.change_instance(one, state_reason_message="Server.InternalError")
    web.become("terminated", one)
    failed = web.run(lambda tx: tx.session.query(ScalingActivity).filter_by(status="Failed").one())
    assert failed.message == words.never_in_service("Server.InternalError")
    assert (web.row.failures, web.row.retry_at) == (1, web.now + 5 * SECOND)
    web.step()
    assert web.states() == {}
    assert web.row.due == web.row.retry_at
    web.step(3)
    assert web.states() == {}
    web.step()
    assert list(web.states().values()) == ["Pending"]
    web.become("running")
    assert (web.row.failures, web.row.retry_at) == (0, None)


def test_a_launch_without_room_is_told_and_backs_off_longer_each_time(web: Web) -> None:
    web.room(0)
    web.step(desired=1)
    [(description, status, cause)] = web.told()
    assert description.startswith("Launching a new EC2 instance.  Status Reason: ")
    assert description.endswith(words.REFUSED)
    assert (status, cause) == ("Failed", words.grown(0, 1))
    assert (web.row.failures, web.row.due, web.row.retry_at) == (1, web.now + 5 * SECOND, web.now + 5 * SECOND)
    web.step(4)
    assert len(web.told()) == 1
    web.step(1)
    assert (len(web.told()), web.row.retry_at) == (2, web.now + 10 * SECOND)


def test_what_there_is_room_for_is_launched_and_the_rest_told(web: Web) -> None:
    web.room(1)
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert len(web.states()) == 1
    assert [status for _, status, _ in web.told()] == ["Failed", "PreInService"]
    assert web.row.why != ""  # not all is there


def test_an_instance_that_has_lived_its_time_is_not_replaced_while_launches_fail(web: Web) -> None:
    [one] = web.grow(1)
    web.step(max_lifetime=1, min_healthy=100, max_healthy=200, retry_at=web.now + 9 * SECOND)
    assert web.states() == {one: "InService"}
    assert web.row.due == web.now + 8 * SECOND
    web.step(8)
    assert sorted(web.states().values()) == ["InService", "Pending"]


def test_zones_are_balanced_and_why(web: Web) -> None:
    web.grow(2)
    web.step(zones=[HERE, THERE])
    failed = web.told()[-1]
    assert failed[1] == "Failed"
    assert failed[2] == words.balanced({HERE: 2, THERE: 0})
    assert (web.row.failures, web.row.retry_at) == (0, None)
    assert web.row.balance_at == web.row.due == web.now + BALANCE_PAUSE
    count = len(web.told())
    web.step(BALANCE_PAUSE.total_seconds() - 1)
    assert web.row.balance_at == web.now + SECOND
    web.step(1)
    assert web.row.balance_at == web.now + BALANCE_PAUSE
    web.step(2 * BALANCE_PAUSE.total_seconds() - 1)
    assert len(web.told()) == count  # that was told
    web.step(2 * BALANCE_PAUSE.total_seconds())
    assert len(web.told()) == count + 1
    web.run(lambda tx: tx.session.add(rows.host(zone=THERE, hostname="other")))
    web.step(BALANCE_PAUSE.total_seconds())
    assert sorted(web.states().values()) == ["InService", "InService", "Pending"]
    assert web.told()[-1][2] == words.balanced({HERE: 2, THERE: 0})
    assert (web.balances_at(), web.untimed(web.row.why)) == (None, words.above_desired(THERE))
    web.become("running")
    web.step()
    assert sorted(web.states().values()) == ["InService", "InService", "Terminating"]
    assert web.told()[-1][2].startswith(words.above_desired(THERE))


def test_a_group_that_is_deleted_ends_all_and_then_itself(web: Web) -> None:
    web.hook(launching=False)
    one = ready(web)
    web.grow(1)
    [warm] = [each for each in web.states() if each != one]
    web.step(desired=0, deleting=True)
    assert web.states() == {one: "Terminating", warm: "Warmed:Terminating"}
    assert {cause for description, _, cause in web.told() if description.startswith("Terminating")} == {
        "an instance was taken out of service in response to the deletion of the AutoScalingGroup."
    }
    for each in (one, warm):
        web.change_instance(each, state="terminated")
    web.step()
    assert web.run(lambda tx: tx.session.query(ScalingGroup).count()) == 0


def ready(web: Web, **values: Any) -> str:
    """An instance that is ready in a new warm pool, of a group of none."""
    web.pool(min_size=1, max_prepared=0, **values)
    web.step()
    [one] = web.states()
    web.change_instance(one, state="running")
    web.step()
    if values.get("state") == "Stopped":
        web.change_instance(one, state="stopped")
        web.step()
    assert web.states() == {one: f"Warmed:{values.get('state', 'Running')}"}
    return one


def test_a_warm_instance_is_taken_first_and_replaced_in_its_pool(web: Web) -> None:
    one = ready(web)
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    grown = f"somebody wanted it.  {words.grown(0, 2)}"
    new = [each for each, state in web.states().items() if state == "Pending" and each != one]
    causes = {description: cause for description, _, cause in web.told()[1:]}
    assert causes[words.from_pool(one)] == grown
    assert [causes[f"Launching a new EC2 instance: {each}"] for each in new] == [
        f"somebody wanted it.  {words.grown(1, 2)}"
    ]
    [filling] = [each for each, state in web.states().items() if state == "Warmed:Pending"]
    assert causes[words.into_pool(filling)] == words.warmed(0, 1)


def test_a_warm_instance_waits_for_hooks_on_its_way_into_the_group(web: Web) -> None:
    one = ready(web)
    web.hook(launching=True)
    web.step(desired=1)
    web.step()
    assert web.states()[one] == "Pending:Wait"


def test_an_instance_that_has_no_room_to_start_stays_in_the_pool_and_another_is_launched(web: Web) -> None:
    one = ready(web, state="Stopped")
    web.change_instance(one, root_device_name="/dev/none")
    web.step(desired=2)
    assert web.states().pop(one) == "Warmed:Stopped"
    assert list(web.states().values()).count("Pending") == 2


def test_hooks_are_told_from_where_an_instance_comes(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(hook_notices, "tell", lambda _, __, action, way, ___: told.append((action.instance_id, way)))
    one = ready(web)
    web.hook(launching=True)
    web.grow(2)
    web.step()
    new = [each for each, state in web.states().items() if state == "Pending:Wait" and each != one]
    assert [way for each, way in told if each == one] == [FROM_POOL]
    assert [way for each, way in told if each in new] == [INTO_GROUP]
    told.clear()
    web.complete()
    web.run(members.enter_standby, web.caller, "web", new, web.now, shrink=True)
    web.step()
    web.run(members.exit_standby, web.caller, "web", new, web.now)
    web.step()
    assert [way for each, way in told if each in new] == [INTO_GROUP]


def test_an_instance_that_comes_back_from_standby_serves_since_it_first_did(web: Web) -> None:
    [one] = web.grow(1)
    first = web.now
    web.run(members.enter_standby, web.caller, "web", [one], web.now, shrink=True)
    web.step()
    web.run(members.exit_standby, web.caller, "web", [one], web.now)
    web.step()
    row = web.member(one)
    assert row is not None
    assert (row.lifecycle_state, row.since, row.in_service) == ("InService", web.now, first)


def test_what_shrinks_returns_to_a_pool_that_reuses(web: Web) -> None:
    one, two = web.grow(2)
    web.pool(min_size=2, max_prepared=0, reuse=True)
    web.step(desired=0, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert set(web.states().values()) == {"Warmed:Running"}
    cause = f"somebody wanted it.  {words.shrunk(2, 0)}  {words.selected(one)}  {words.selected(two)}"
    assert [each for each in web.told() if each[0].startswith("Returning")] == [
        (words.returning(each), "Successful", cause) for each in (one, two)
    ]
    assert web.row.why == ""


def test_a_pool_that_is_too_large_or_deleted_ends_its_instances(web: Web) -> None:
    one = ready(web)
    web.hook(launching=False)
    web.run(lambda tx: tx.session.query(WarmPool).update({"min_size": 0}))
    web.step()
    assert web.states() == {one: "Warmed:Terminating:Wait"}
    assert web.instance(one).target_lifecycle_state == "Warmed:Terminated"
    assert web.told()[-1][2] == words.COOLED
    web.complete()
    assert web.states() == {one: "Warmed:Terminating"}
    web.change_instance(one, state="terminated")
    web.change(scaled=None)
    web.step()
    assert (web.states(), web.row.scaled) == ({}, None)
    assert web.warm_pool() is not None


def test_a_pool_that_is_deleted_waits_for_no_hooks_and_goes_with_its_last_instance(web: Web) -> None:
    one = ready(web)
    web.hook(launching=False)
    web.run(lambda tx: tx.session.query(WarmPool).update({"deleting": True}))
    web.step()
    assert web.states() == {one: "Warmed:Terminating"}
    assert web.told()[-1][2] == words.POOL_DELETED
    assert web.warm_pool() is not None
    web.change_instance(one, state="terminated")
    web.step()
    assert web.warm_pool() is None


def test_a_launch_into_the_pool_that_fails_holds_up_the_pool_alone(web: Web) -> None:
    web.pool(min_size=1, max_prepared=0)
    web.step()
    [one] = web.states()
    web.change_instance(one, state="terminated")
    web.step()
    pool = web.warm_pool()
    assert pool is not None
    assert (pool.failures, pool.retry_at) == (1, web.now + 5 * SECOND)
    assert (web.row.failures, web.row.retry_at) == (0, None)
    assert "Failed" in {status for _, status, _ in web.told()}


def refresh(web: Web, **preferences: Any) -> None:
    asked = RefreshRequest(Preferences(healthy=(0, 100), warmup=0, **preferences))
    web.run(instance_refreshes.start, web.caller, "web", asked, web.now)


def refreshed(web: Web) -> str:
    return str(web.run(lambda tx: tx.session.query(InstanceRefresh).one().status))


def test_a_refresh_replaces_what_is_not_as_the_group_launches_now(web: Web) -> None:
    [old] = web.grow(1)
    web.ways.version = 2
    [new] = web.grow(2)
    refresh(web, skip_matching=True)
    web.step()
    assert web.states()[old] == "Terminating"
    ended = f"an instance was taken out of service in response to an instance refresh.  {words.selected(old)}"
    assert (f"Terminating EC2 instance: {old}", "InProgress", ended) in web.told()
    web.become("terminated", old)
    [newer] = set(web.states()) - {new}
    assert (f"Launching a new EC2 instance: {newer}", "PreInService", words.REFRESHED) in web.told()
    web.become("running")
    web.step()
    assert web.states() == {new: "InService", newer: "InService"}
    assert refreshed(web) == "Successful"


def test_what_is_of_another_type_or_of_nothing_that_can_be_read_does_not_match(web: Web) -> None:
    one, two = web.grow(2)
    web.run(
        lambda tx: tx.session.query(ScalingInstance).filter_by(instance_id=one).update({"instance_type": "t3.nano"})
    )
    web.ways.broken = InvalidParameter("There is no such type.")
    refresh(web, skip_matching=True, checkpoints=[100])
    web.step()
    assert (web.states()[one], web.states()[two]) == ("Terminating", "InService")


def test_a_refresh_of_what_cannot_be_launched_replaces_all(web: Web) -> None:
    one, two = web.grow(2)
    web.ways.refused[None] = InvalidParameter("The template is gone.")
    refresh(web, skip_matching=True)
    web.step()
    assert set(web.states().values()) == {"Terminating"}
    assert sorted(web.states()) == [one, two]


def test_a_refresh_is_looked_at_when_its_pause_is_over(web: Web) -> None:
    one, two = web.grow(2)
    refresh(web, checkpoints=[50, 100], delay=30)
    web.step()
    [old] = [each for each, state in web.states().items() if state == "Terminating"]
    assert web.row.due == web.now - SECOND + timedelta(hours=1)  # when it fails
    web.become("terminated", old)
    web.become("running")
    web.step()
    assert web.row.due == web.now + 30 * SECOND
    assert sorted({one, two} & set(web.states())) == sorted({one, two} - {old})


def test_a_cancelled_refresh_ends_when_all_serve(web: Web) -> None:
    web.grow(1)
    web.step(desired=2)
    refresh(web)
    web.run(instance_refreshes.cancel, web.caller, "web", web.now, waits=True)
    web.become("running")
    assert (refreshed(web), web.row.due) == ("Cancelling", web.now)
    web.step()
    assert refreshed(web) == "Cancelled"


def test_a_refresh_replaces_the_warm_pool_after_the_group(web: Web) -> None:
    one = ready(web)
    refresh(web)
    web.step()
    assert web.states()[one] == "Warmed:Terminating"
    web.change_instance(one, state="terminated")
    web.step()
    [new] = web.states()
    web.become("running", new)
    web.step()
    assert (web.states(), refreshed(web)) == ({new: "Warmed:Running"}, "Successful")


def test_a_group_that_is_deleted_is_not_refreshed(web: Web) -> None:
    web.grow(1)
    refresh(web)
    web.step(deleting=True, desired=0)
    assert refreshed(web) == "Pending"


def test_a_suspended_process_and_a_grace_period_are_regarded(web: Web) -> None:
    [one] = web.grow(1)
    web.run(lambda tx: tx.session.query(ScalingInstance).update({"healthy": False}))
    web.step(suspended={"ReplaceUnhealthy": "why"})
    assert web.states() == {one: "InService"}
    web.step(suspended={"Launch": "why"}, desired=2)
    assert web.states() == {one: "Terminating"}
