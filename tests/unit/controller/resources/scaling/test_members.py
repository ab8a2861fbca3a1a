"""Instances of a group as users find, protect, attach, detach, rest and end them, and what of it is refused."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from stead_controller.db.tables import LifecycleAction, LifecycleHook, ScalingActivity, ScalingInstance, ScalingPolicy
from stead_controller.errors import InvalidParameter, NotFound, SteadError, WrongState
from stead_controller.resources.scaling import activities, members
from stead_controller.resources.scaling.activities import Event
from stead_controller.resources.scaling.policy import TRACKING, Policy, Tracking
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.web_group import WebGroup

SECOND = timedelta(seconds=1)
NO_INSTANCE = "i-00000000000000000"


class Web(WebGroup):
    """The group, whose instances are moved by its user."""

    def move(self, how: Callable[..., Any], *ids: str, **given: Any) -> Any:
        return self.run(how, self.caller, "web", list(ids), now=NOW, **given)

    def refused(self, error: type[SteadError], words: str, how: Callable[..., Any], *ids: str, **given: Any) -> None:
        """Check that this is refused, which leaves the group as it is."""
        before = self.row.desired, self.states()
        with pytest.raises(error, match=words):
            self.move(how, *ids, **given)
        assert (self.row.desired, self.states()) == before

    def terminate(self, instance_id: str, *, shrink: bool = False) -> ScalingActivity:
        found = self.run(members.terminate, self.caller, self.world.cloud, instance_id, NOW, shrink=shrink)
        assert isinstance(found, ScalingActivity)
        return found

    def set_health(self, instance_id: str, *, healthy: bool = False, respect_grace: bool = True) -> bool:
        """Tell whether it is healthy after that."""
        self.run(members.set_health, self.caller, instance_id, healthy=healthy, respect_grace=respect_grace, now=NOW)
        row = self.member(instance_id)
        assert row is not None
        return row.healthy

    def begin_launch(self, instance_id: str) -> None:
        """Write that the launch of an instance is under way."""

        def do(tx: Any) -> None:
            row = tx.session.get_one(ScalingInstance, instance_id)
            group = self.row_of(tx)
            event = Event("Launching", "why", instance_id)
            row.activity_id = activities.begin(tx, group, event, activities.STARTING, NOW).id

        self.run(do)


@pytest.fixture
def web(run: Any, world: Any) -> Web:
    return Web(run, world, desired=3, max_size=4, min_size=1)


def listed(web: Web, *ids: str, after: str | None = None, limit: int = 9, whose: Any = None) -> list[str]:
    found = web.run(members.describe, whose or web.caller, ids, after=after, limit=limit)
    assert {name for _, name in found} <= {"web"}
    return [row.instance_id for row, _ in found]


def test_instances_are_listed_by_id_all_or_some_in_pages_to_their_owner_alone(web: Web) -> None:
    one, two, three = sorted(web.add() for _ in range(3))
    assert listed(web) == [one, two, three]
    assert listed(web, three, one, NO_INSTANCE) == [one, three]
    assert listed(web, limit=2) == [one, two]
    assert listed(web, after=two) == [three]
    assert listed(web, whose=web.world.other.caller) == []


def test_an_instance_is_found_with_its_group_by_its_owner_alone(web: Web) -> None:
    one, alone = web.add(), web.own()
    group, row = web.run(members.find, web.caller, one)
    assert (group.name, row.instance_id) == ("web", one)
    for caller, instance_id in ((web.world.other.caller, one), (web.caller, alone)):
        with pytest.raises(NotFound, match=f"No managed instance found for instance ID: {instance_id}"):
            web.run(members.find, caller, instance_id)
        assert web.run(members.group_of, caller, instance_id) is None
    assert web.run(members.group_of, web.caller, one) == "web"


def test_an_ended_instance_leaves_the_capacity_unless_the_group_is_to_shrink(web: Web) -> None:
    one, two, three = (web.add(until=NOW, since=NOW - SECOND) for _ in range(3))
    web.begin_launch(one)
    web.change_instance(one, disable_api_termination=True)
    told = web.terminate(one)
    assert told.cause.endswith(f"instance {one} was taken out of service in response to a user request.")
    assert web.activities() == {"Launching": "Cancelled", f"Terminating EC2 instance: {one}": "InProgress"}
    row = web.member(one)
    assert row is not None
    assert (row.lifecycle_state, row.since, row.until, row.activity_id) == ("Terminating", NOW, None, told.id)
    assert (web.row.desired, web.row.due) == (3, NOW)
    assert web.instance(one).state == "shutting-down"
    assert "shrinking the capacity from 3 to 2." in web.terminate(two, shrink=True).cause
    web.terminate(three, shrink=True)
    assert web.row.desired == 1


@pytest.mark.parametrize("state", ["Terminating", "Terminating:Wait", "Terminating:Proceed", "Warmed:Stopped"])
def test_what_ends_already_or_is_in_a_warm_pool_is_not_ended_by_its_user(web: Web, state: str) -> None:
    one = web.add(state)
    with pytest.raises(WrongState, match="in a warm pool" if "Warmed" in state else "is being terminated already"):
        web.terminate(one, shrink=True)
    assert (web.row.desired, web.instance(one).state) == (3, "running")


def test_no_instance_ends_below_the_groups_minimum(web: Web) -> None:
    one = web.add()
    web.change(min_size=3)
    with pytest.raises(InvalidParameter, match=r"desiredSize equals 3\. .*min size constraint"):
        web.terminate(one, shrink=True)
    assert web.states() == {one: "InService"}


@pytest.mark.parametrize("launching", [False, True])
def test_an_instance_that_its_user_ends_waits_for_hooks_of_ends(web: Web, launching: bool) -> None:
    one = web.add()
    group_id = web.row.id
    hook = LifecycleHook(group_id=group_id, name="h", launching=launching, heartbeat=60, default_result="CONTINUE")
    web.run(lambda tx: tx.session.add(hook))
    web.run(
        lambda tx: tx.session.add(
            LifecycleAction(
                token="old", instance_id=one, hook="h", heartbeat=60, default_result="ABANDON", until=NOW, latest=NOW
            )
        )
    )
    web.terminate(one)
    waits = web.run(lambda tx: tx.session.scalars(select(LifecycleAction.default_result)).all())
    state, aim = ("Terminating", None) if launching else ("Terminating:Wait", "Terminated")
    assert (web.states()[one], waits) == (state, [] if launching else ["CONTINUE"])
    assert web.instance(one).target_lifecycle_state == aim
    assert web.instance(one).state == ("shutting-down" if launching else "running")


def test_an_instance_is_sick_when_its_user_says_so_but_not_within_the_grace_period(web: Web) -> None:
    web.change(health_grace=300)
    young = web.add(in_service=NOW - 299 * SECOND)
    coming = web.add("Pending", in_service=None)
    old = web.add(in_service=NOW - 300 * SECOND)
    warm = web.add("Warmed:Running", in_service=None)
    assert [web.set_health(one) for one in (young, coming)] == [True, True]
    assert web.row.due is None
    assert [web.set_health(one) for one in (old, warm)] == [False, False]
    assert web.row.due == NOW
    assert not web.set_health(young, respect_grace=False)
    assert web.set_health(young, healthy=True)


def test_instances_in_service_and_on_their_way_into_it_are_protected(web: Web) -> None:
    some = [web.add(state) for state in ("InService", "Pending", "Pending:Wait", "Pending:Proceed")]
    other = web.add()
    for protected in (True, False):
        web.change(due=None)
        web.move(members.protect, *some, protected=protected)
        assert {row.protected for one in some if (row := web.member(one))} == {protected}
        assert web.row.due == NOW
    assert not web.run(lambda tx: tx.session.get_one(ScalingInstance, other).protected)


@pytest.mark.parametrize(
    ("state", "words"),
    [("Standby", "not in InService or Pending, but in Standby"), ("Warmed:Running", "in a warm pool")],
)
def test_others_are_not_protected(web: Web, state: str, words: str) -> None:
    one = web.add(state)
    web.refused(WrongState, words, members.protect, one, protected=True)


def test_fifty_instances_are_protected_in_one_request(web: Web) -> None:
    one = web.add()
    web.move(members.protect, *[one] * 50, protected=True)
    web.refused(InvalidParameter, "At most 50", members.protect, *[one] * 51, protected=True)


@pytest.mark.parametrize("how", [members.attach, members.detach, members.enter_standby, members.exit_standby])
def test_from_one_to_twenty_instances_are_moved_in_one_request(web: Web, how: Callable[..., Any]) -> None:
    given = {"shrink": False} if how in (members.detach, members.enter_standby) else {}
    one = web.own() if how is members.attach else web.add("Standby" if how is members.exit_standby else "InService")
    web.refused(InvalidParameter, "At least one", how, **given)
    web.refused(InvalidParameter, "At most 20", how, *[one] * 21, **given)
    web.move(how, *[one] * 20, **given)  # each counts once
    assert web.row.desired == (3 if given else 4)


def test_a_group_grows_by_what_is_attached(web: Web) -> None:
    web.change(desired=0)
    one = web.own(launch_time=NOW - SECOND)
    spot = web.own(spot_request_id="sir-1", zone="us-east-1a")
    web.move(members.attach, one, spot)
    first, second = web.member(one), web.member(spot)
    assert first is not None
    assert second is not None
    assert (first.lifecycle_state, first.launched, first.in_service) == ("InService", NOW - SECOND, NOW)
    assert (first.spot, second.spot) == (False, True)
    assert (web.row.desired, web.row.due) == (2, NOW)
    assert web.activities() == {f"Attaching an existing EC2 instance: {each}": "Successful" for each in (one, spot)}
    causes = web.run(lambda tx: tx.session.scalars(select(ScalingActivity.cause)).all())
    assert {cause.rpartition("capacity ")[2] for cause in causes} == {"from 0 to 1.", "from 1 to 2."}
    assert web.instance(one).target_lifecycle_state == "InService"


@pytest.mark.parametrize("metric", ["ASGAverageCPUUtilization", "ASGAverageCPUUtilizationHighResolution"])
def test_what_is_attached_is_measured_as_the_groups_policies_ask(web: Web, metric: str) -> None:
    policy = {"kind": TRACKING, "definition": Policy(TRACKING, tracking=Tracking(50, metric)).text()}
    more = {"name": "p", "token": "t", "enabled": True, "alarms": []}
    web.run(lambda tx: tx.session.add(ScalingPolicy(group_id=web.row_of(tx).id, **policy, **more)))
    one = web.own()
    web.move(members.attach, one)
    assert bool(web.instance(one).measured_closely) == metric.endswith("HighResolution")


def test_what_a_group_cannot_have_is_not_attached(web: Web) -> None:
    theirs = web.run(lambda tx: rows.launch(tx, web.world, web.world.other).id)
    mine, inside = web.own(), web.add()
    elsewhere = web.own(zone="us-east-1b")
    asleep = web.own(state="stopped")
    for one in (theirs, NO_INSTANCE):
        web.refused(InvalidParameter, rf"Invalid Instance ID\(s\): \[{one}\]", members.attach, one)
    web.refused(WrongState, "in the state stopped, not running", members.attach, asleep)
    web.refused(WrongState, "already part of an AutoScalingGroup", members.attach, inside)
    web.refused(InvalidParameter, "in the zone us-east-1b, where web is not", members.attach, elsewhere)
    web.change(desired=4)
    web.refused(InvalidParameter, r"max-size=4: 1 instance\(s\) more", members.attach, mine)


def test_what_is_detached_runs_on_and_counts_if_it_was_in_service(web: Web) -> None:
    one, rests, other = web.add(), web.add("Standby"), web.add()
    web.change_instance(one, measured_closely=True)
    done = web.move(members.detach, one, rests, shrink=True)
    assert [each.description for each in done] == [f"Detaching EC2 instance: {each}" for each in (one, rests)]
    assert [each.cause.partition("user request")[2] for each in done] == [", shrinking the capacity from 3 to 2.", "."]
    assert (web.row.desired, web.row.due, web.states()) == (2, NOW, {other: "InService"})
    for each in (one, rests):
        assert (web.instance(each).state, web.instance(each).target_lifecycle_state) == ("running", "Detached")
    assert not web.instance(one).measured_closely
    web.move(members.detach, other, shrink=False)
    assert (web.row.desired, web.states()) == (2, {})


def test_not_all_can_be_detached(web: Web) -> None:
    one, two, rests, coming = web.add(), web.add(), web.add("Standby"), web.add("Pending")
    web.refused(WrongState, "not in InService or Standby, but in Pending", members.detach, coming, shrink=False)
    web.refused(NotFound, f"{NO_INSTANCE} is not part of Auto Scaling group web", members.detach, NO_INSTANCE, shrink=False)  # fmt: skip
    web.change(min_size=2)
    web.refused(InvalidParameter, "min size", members.detach, one, two, shrink=True)
    web.move(members.detach, one, rests, shrink=True)
    assert web.row.desired == 2
    web.move(members.detach, two, shrink=False)  # another one comes
    assert web.row.desired == 2


def test_instances_of_another_group_are_not_moved(web: Web) -> None:
    one = web.add()
    other = rows.scaling_group(web.caller.account_id, id="another", name="another", max_size=9)
    web.run(lambda tx: tx.session.add(other))
    web.run(lambda tx: setattr(tx.session.get_one(ScalingInstance, one), "group_id", "another"))
    for how in (members.detach, members.enter_standby):
        web.refused(NotFound, "not part of", how, one, shrink=False)


def test_instances_rest_in_standby_and_come_back(web: Web) -> None:
    one, two = web.add(until=NOW, since=NOW - SECOND), web.add()
    done = web.move(members.enter_standby, one, shrink=True)
    assert (done[0].description, done[0].status) == (f"Moving EC2 instance to Standby: {one}", "Successful")
    assert done[0].cause.endswith("shrinking the capacity from 3 to 2.")
    row = web.member(one)
    assert row is not None
    assert (row.lifecycle_state, row.since, row.until) == ("Standby", NOW, None)
    assert (web.row.desired, web.row.due) == (2, NOW)
    assert web.instance(one).target_lifecycle_state == "Standby"
    web.move(members.enter_standby, two, shrink=False)
    assert web.row.desired == 2
    web.refused(WrongState, "is not in InService, but in Standby", members.enter_standby, one, shrink=False)
    web.set_health(one)
    web.change(due=None)
    back = web.move(members.exit_standby, one, two)
    assert [each.cause.rpartition("capacity ")[2] for each in back] == ["from 2 to 3.", "from 3 to 4."]
    row = web.member(one)
    assert row is not None
    assert (row.lifecycle_state, row.healthy, row.activity_id) == ("Pending", True, back[0].id)
    assert (web.row.desired, web.row.due) == (4, NOW)
    assert web.instance(one).target_lifecycle_state == "InService"


def test_standby_keeps_a_group_within_its_sizes(web: Web) -> None:
    one, two, three, rests = web.add(), web.add(), web.add(), web.add("Standby")
    web.refused(InvalidParameter, "min size", members.enter_standby, one, two, three, shrink=True)
    web.refused(WrongState, "is not in Standby, but in InService", members.exit_standby, one)
    web.change(desired=4)
    web.refused(InvalidParameter, r"max-size=4: 1 instance\(s\) more", members.exit_standby, rests)
    web.change(desired=1)
    web.move(members.enter_standby, one, shrink=False)  # another one comes
    web.change(desired=3)
    web.move(members.enter_standby, two, three, shrink=True)
    assert web.row.desired == 1
