"""A step of a group: what it launches, takes into service, ends and replaces, what it says of it, and when it looks again."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from stead_controller.db.tables import (
    InstanceRefresh,
    LifecycleAction,
    ScalingActivity,
    ScalingGroup,
    ScalingInstance,
    ScalingPolicy,
)
from stead_controller.errors import InvalidParameter
from stead_controller.resources.scaling import group_step, instance_refreshes, members, words
from stead_controller.resources.scaling.instance_refreshes import Preferences, RefreshRequest
from stead_controller.resources.scaling.plan import BALANCE_PAUSE, PATIENCE
from stead_controller.resources.scaling.policy import TRACKING, Policy, Tracking
from stead_controller.resources.scaling.termination import Distribution
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.stepped_group import SECOND, SteppedGroup, ready

HERE, THERE = "us-east-1a", "us-east-1b"


@pytest.fixture
def web(run: Any, world: Any) -> SteppedGroup:
    return SteppedGroup(run, world)


@pytest.mark.parametrize("due", [None, NOW + SECOND])
def test_a_group_that_is_not_due_or_not_there_is_left_alone(web: SteppedGroup, due: Any) -> None:
    web.change(desired=1, due=due)
    for group_id in (web.row.id, "gone"):
        web.run(group_step.run, web.world.cloud, web.ways.read, group_id, NOW)
    assert (web.states(), web.row.due) == ({}, due)


def test_a_group_launches_what_is_missing_and_says_so(web: SteppedGroup) -> None:
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


@pytest.mark.parametrize("metric", ["ASGAverageCPUUtilization", "ASGAverageCPUUtilizationHighResolution"])
def test_what_is_launched_is_measured_as_the_groups_policies_ask(web: SteppedGroup, metric: str) -> None:
    policy = {"kind": TRACKING, "definition": Policy(TRACKING, tracking=Tracking(50, metric)).text()}
    more = {"name": "p", "token": "t", "enabled": True, "alarms": []}
    web.run(lambda tx: tx.session.add(ScalingPolicy(group_id=web.row_of(tx).id, **policy, **more)))
    [one] = web.grow(1)
    assert bool(web.instance(one).measured_closely) == metric.endswith("HighResolution")


def test_instances_of_weights_and_markets_are_counted_by_them(web: SteppedGroup) -> None:
    web.ways.weight = 2
    web.ways.distribution = Distribution(2, 0)
    web.grow(4)
    assert sorted((row.spot, row.weight) for one in web.states() if (row := web.member(one))) == [(False, 2), (True, 2)]
    assert {cause for _, _, cause in web.told()} == {words.grown(0, 4)}
    web.grow(6)
    assert [row.spot for one in web.states() if (row := web.member(one))].count(True) == 2


def test_the_markets_shares_are_of_what_there_is_of_each(web: SteppedGroup) -> None:
    web.ways.distribution = Distribution(2, 50)
    web.grow(4)
    new = web.grow(6)
    assert sorted(row.spot for one in new if (row := web.member(one))) == [False, True]


@pytest.mark.parametrize("how", ["is sick", "rests in standby"])
def test_what_replaces_an_instance_is_of_its_market(web: SteppedGroup, how: str) -> None:
    web.ways.distribution = Distribution(2, 0)
    one, *others = sorted(web.grow(3), key=lambda each: web.instance(each).spot_request_id is not None)
    if how == "is sick":
        web.run(lambda tx: tx.session.query(ScalingInstance).filter_by(instance_id=one).update({"healthy": False}))
    else:
        web.run(members.enter_standby, web.caller, "web", [one], web.now, shrink=False)
    web.step()
    [new] = set(web.states()) - {one, *others}
    assert web.instance(new).spot_request_id is None


def test_a_group_shrinks_by_what_its_policies_choose_and_says_so(web: SteppedGroup) -> None:
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


def test_what_the_group_launches_now_stays_where_the_older_ends(web: SteppedGroup) -> None:
    web.change(termination_policies=["OldestLaunchTemplate"])
    [old] = web.grow(1)
    web.ways.version = 2
    [new] = web.grow(2)
    web.step(desired=1)
    assert web.states() == {old: "Terminating", new: "InService"}


def test_what_cannot_be_read_any_more_does_not_keep_a_group_from_shrinking(web: SteppedGroup) -> None:
    web.grow(2)
    web.ways.refused[None] = InvalidParameter("The template is gone.")
    web.step(desired=1)
    assert sorted(web.states().values()) == ["InService", "Terminating"]


def test_the_type_that_a_policy_likes_least_ends_first(web: SteppedGroup) -> None:
    web.ways.distribution = Distribution(9, 100)
    web.change(termination_policies=["AllocationStrategy"])
    web.ways.types = ["stead.tiny"]
    [small] = web.grow(1)
    web.ways.types = ["t3.micro"]
    [large] = web.grow(2)
    web.ways.types = ["t3.micro", "stead.tiny"]
    web.step(desired=1)
    assert web.states() == {large: "Terminating", small: "InService"}


def test_a_sick_instance_is_replaced(web: SteppedGroup) -> None:
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


def test_the_capacity_that_is_told_is_without_what_ends(web: SteppedGroup) -> None:
    [one] = web.grow(1)
    web.run(lambda tx: tx.session.query(ScalingInstance).update({"healthy": False}))
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    new = sorted(set(web.states()) - {one})
    grown = f"somebody wanted it.  {words.grown(0, 2)}"
    assert [told for told in web.told() if told[2] == grown] == [
        (f"Launching a new EC2 instance: {each}", "PreInService", grown) for each in new
    ]


def test_an_instance_that_stopped_is_shown_as_unhealthy_and_replaced(web: SteppedGroup) -> None:
    [one] = web.grow(1)
    web.become("stopped", one)
    row = web.member(one)
    assert row is not None
    assert (row.lifecycle_state, row.healthy) == ("Terminating", False)
    assert len(web.states()) == 2


def test_a_failing_check_is_waited_for_and_forgotten_when_it_is_over(web: SteppedGroup) -> None:
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


def test_instances_wait_for_hooks_before_they_serve_and_before_they_end(web: SteppedGroup) -> None:
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


def test_an_instance_that_ends_while_it_waits_to_serve_waits_for_the_hooks_of_ends_alone(web: SteppedGroup) -> None:
    web.hook(launching=True)
    web.hook(launching=False)
    [one] = web.grow(1)
    web.step(desired=0)
    assert web.states() == {one: "Terminating:Wait"}
    hooks = web.run(lambda tx: tx.session.scalars(select(LifecycleAction.hook)).all())
    assert hooks == ["hFalse"]


def test_what_is_gone_waits_for_no_hook_and_is_looked_at_again(web: SteppedGroup) -> None:
    web.hook(launching=False)
    [one] = web.grow(1)
    web.become("terminated", one)
    assert web.states()[one] == "Terminating"
    assert (web.waits(), web.row.due) == ([], web.now)
    web.step()
    assert one not in web.states()


def test_an_abandoned_launch_ends_without_hooks_and_another_is_tried_at_once(web: SteppedGroup) -> None:
    web.hook(launching=True)
    web.hook(launching=False)
    [one] = web.grow(1)
    web.complete("ABANDON")
    assert web.states()[one] == "Terminating"
    assert (web.waits(), web.ec2(one), len(web.states())) == ([], "shutting-down", 2)
    assert (web.row.failures, web.row.retry_at) == (0, None)
    assert (f"Launching a new EC2 instance: {one}", "Cancelled", words.grown(0, 1)) in web.told()
    assert words.ABANDONED in web.messages()


def test_a_launch_that_fails_is_told_and_the_next_waits(web: SteppedGroup) -> None:
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


def test_a_launch_that_is_no_longer_wanted_is_cut_short_and_no_failure(web: SteppedGroup) -> None:
    web.step(desired=1)
    [one] = web.states()
    web.step(desired=0)
    assert web.states() == {one: "Terminating"}
    assert (f"Launching a new EC2 instance: {one}", "Cancelled", words.grown(0, 1)) in web.told()
    assert (web.row.failures, web.row.retry_at) == (0, None)


def test_a_launch_without_room_is_told_and_backs_off_longer_each_time(web: SteppedGroup) -> None:
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


def test_what_there_is_room_for_is_launched_and_the_rest_told(web: SteppedGroup) -> None:
    web.room(1)
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert len(web.states()) == 1
    assert [status for _, status, _ in web.told()] == ["Failed", "PreInService"]
    assert web.untimed(web.row.why) == "somebody wanted it."  # not all is there


def test_an_instance_that_has_lived_its_time_is_not_replaced_while_launches_fail(web: SteppedGroup) -> None:
    [one] = web.grow(1)
    web.step(max_lifetime=1, min_healthy=100, max_healthy=200, retry_at=web.now + 9 * SECOND)
    assert web.states() == {one: "InService"}
    assert web.row.due == web.now + 8 * SECOND
    web.step(8)
    assert sorted(web.states().values()) == ["InService", "Pending"]


def test_zones_are_balanced_and_why(web: SteppedGroup) -> None:
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


def test_a_group_that_is_deleted_ends_all_and_then_itself(web: SteppedGroup) -> None:
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


def test_an_instance_that_comes_back_from_standby_serves_since_it_first_did(web: SteppedGroup) -> None:
    [one] = web.grow(1)
    first = web.now
    web.run(members.enter_standby, web.caller, "web", [one], web.now, shrink=True)
    web.step()
    web.run(members.exit_standby, web.caller, "web", [one], web.now)
    web.step()
    row = web.member(one)
    assert row is not None
    assert (row.lifecycle_state, row.since, row.in_service) == ("InService", web.now, first)


def refresh(web: SteppedGroup, **preferences: Any) -> None:
    asked = RefreshRequest(Preferences(healthy=(0, 100), warmup=0, **preferences))
    web.run(instance_refreshes.start, web.caller, "web", asked, web.now)


def refreshed(web: SteppedGroup) -> str:
    return str(web.run(lambda tx: tx.session.query(InstanceRefresh).one().status))


def test_a_refresh_replaces_what_is_not_as_the_group_launches_now(web: SteppedGroup) -> None:
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


def test_what_is_of_another_type_or_of_nothing_that_can_be_read_does_not_match(web: SteppedGroup) -> None:
    one, two = web.grow(2)
    web.run(
        lambda tx: tx.session.query(ScalingInstance).filter_by(instance_id=one).update({"instance_type": "t3.nano"})
    )
    web.ways.broken = InvalidParameter("There is no such type.")
    refresh(web, skip_matching=True, checkpoints=[100])
    web.step()
    assert (web.states()[one], web.states()[two]) == ("Terminating", "InService")


def test_a_refresh_of_what_cannot_be_launched_replaces_all(web: SteppedGroup) -> None:
    one, two = web.grow(2)
    web.ways.refused[None] = InvalidParameter("The template is gone.")
    refresh(web, skip_matching=True)
    web.step()
    assert set(web.states().values()) == {"Terminating"}
    assert sorted(web.states()) == [one, two]


def test_a_group_that_grows_while_it_is_refreshed_says_who_wanted_it(web: SteppedGroup) -> None:
    web.grow(1)
    refresh(web, protected="Ignore")
    web.run(lambda tx: tx.session.query(ScalingInstance).update({"protected": True}))
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert web.told()[-1][2] == f"somebody wanted it.  {words.grown(1, 2)}"


def test_a_refresh_is_looked_at_when_its_pause_is_over(web: SteppedGroup) -> None:
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


def test_a_cancelled_refresh_ends_when_all_serve(web: SteppedGroup) -> None:
    web.grow(1)
    web.step(desired=2)
    refresh(web)
    web.run(instance_refreshes.cancel, web.caller, "web", web.now, waits=True)
    web.become("running")
    assert (refreshed(web), web.row.due) == ("Cancelling", web.now)
    web.step()
    assert refreshed(web) == "Cancelled"


def test_a_refresh_replaces_the_warm_pool_after_the_group(web: SteppedGroup) -> None:
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


def test_a_group_that_is_deleted_is_not_refreshed(web: SteppedGroup) -> None:
    web.grow(1)
    refresh(web)
    web.step(deleting=True, desired=0)
    assert refreshed(web) == "Pending"


def test_a_suspended_process_and_a_grace_period_are_regarded(web: SteppedGroup) -> None:
    [one] = web.grow(1)
    web.run(lambda tx: tx.session.query(ScalingInstance).update({"healthy": False}))
    web.step(suspended={"ReplaceUnhealthy": "why"})
    assert web.states() == {one: "InService"}
    web.step(suspended={"Launch": "why"}, desired=2)
    assert web.states() == {one: "Terminating"}
