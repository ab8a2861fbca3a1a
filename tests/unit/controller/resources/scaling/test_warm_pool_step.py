"""A warm pool in a step of its group: what it gives, takes back, fills and ends, and what is said of that."""

from typing import Any

import pytest

from stead_controller.db.tables import (
    ScalingInstance,
    WarmPool,
)
from stead_controller.resources.scaling import hook_notices, members, words
from stead_controller.resources.scaling.hook_notices import FROM_POOL, INTO_GROUP, OUT_OF_GROUP, OUT_OF_POOL
from tests.unit.controller.resources.scaling.stepped_group import SECOND, SteppedGroup, ready


@pytest.fixture
def web(run: Any, world: Any) -> SteppedGroup:
    return SteppedGroup(run, world)


def test_what_ends_in_the_warm_pool_was_no_capacity(web: SteppedGroup) -> None:
    web.grow(1)
    web.pool(min_size=1, max_prepared=0)
    web.step()
    [warm] = [each for each, state in web.states().items() if state == "Warmed:Pending"]
    web.become("running", warm)
    web.run(lambda tx: tx.session.query(ScalingInstance).filter_by(instance_id=warm).update({"healthy": False}))
    web.step(desired=2, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert web.states()[warm] == "Warmed:Terminating"
    causes = {description: cause for description, _, cause in web.told()}
    assert f"somebody wanted it.  {words.grown(1, 2)}" in causes.values()
    assert "an instance was taken out of service in response to a user health-check." in causes.values()
    [filling] = [each for each, state in web.states().items() if state == "Warmed:Pending"]
    assert causes[words.into_pool(filling)] == words.warmed(0, 1)


def test_a_warm_instance_is_taken_first_and_replaced_in_its_pool(web: SteppedGroup) -> None:
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


def test_a_warm_instance_waits_for_hooks_on_its_way_into_the_group(web: SteppedGroup) -> None:
    one = ready(web)
    web.hook(launching=True)
    web.step(desired=1)
    web.step()
    assert web.states()[one] == "Pending:Wait"


def test_an_instance_that_has_no_room_to_start_stays_in_the_pool_and_another_is_launched(web: SteppedGroup) -> None:
    one = ready(web, state="Stopped")
    web.change_instance(one, root_device_name="/dev/none")
    web.step(desired=2)
    assert web.states().pop(one) == "Warmed:Stopped"
    assert list(web.states().values()).count("Pending") == 2


def test_hooks_are_told_from_where_an_instance_comes(web: SteppedGroup, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_hooks_are_told_from_where_an_instance_goes(web: SteppedGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    one = ready(web)
    [new] = [each for each in web.grow(2) if web.states()[each] == "InService"]
    web.hook(launching=False)
    monkeypatch.setattr(hook_notices, "tell", lambda _, __, action, way, ___: told.append((action.instance_id, way)))
    web.run(lambda tx: tx.session.query(WarmPool).update({"min_size": 0}))
    web.step(desired=0)
    assert web.states()[one] == web.states()[new] == "Terminating:Wait"
    assert {way for each, way in told if each in (one, new)} == {OUT_OF_GROUP}
    assert {way for each, way in told if each not in (one, new)} == {OUT_OF_POOL}


def test_what_shrinks_returns_to_a_pool_that_reuses(web: SteppedGroup) -> None:
    one, two = web.grow(2)
    web.pool(min_size=2, max_prepared=0, reuse=True)
    web.step(desired=0, why="At 2026-03-04T05:06:07Z somebody wanted it.")
    assert set(web.states().values()) == {"Warmed:Running"}
    cause = f"somebody wanted it.  {words.shrunk(2, 0)}  {words.selected(one)}  {words.selected(two)}"
    assert [each for each in web.told() if each[0].startswith("Returning")] == [
        (words.returning(each), "Successful", cause) for each in (one, two)
    ]
    assert web.row.why == ""


def test_a_pool_that_is_too_large_or_deleted_ends_its_instances(web: SteppedGroup) -> None:
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


def test_a_pool_that_is_deleted_waits_for_no_hooks_and_goes_with_its_last_instance(web: SteppedGroup) -> None:
    one = ready(web)
    web.hook(launching=False)
    serving = web.add()
    web.run(lambda tx: tx.session.query(WarmPool).update({"deleting": True}))
    web.step()
    assert web.states() == {one: "Warmed:Terminating", serving: "Terminating:Wait"}
    assert words.POOL_DELETED in {cause for _, _, cause in web.told()}
    assert web.warm_pool() is not None
    web.change_instance(one, state="terminated")
    web.step()
    assert web.warm_pool() is None


def test_a_launch_into_the_pool_that_fails_holds_up_the_pool_alone(web: SteppedGroup) -> None:
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


def test_a_launch_into_the_group_that_fails_holds_up_the_group_alone(web: SteppedGroup) -> None:
    ready(web)
    web.step(desired=2)
    for one in [each for each, state in web.states().items() if state == "Pending"]:
        web.change_instance(one, state="terminated")
    web.step()
    pool = web.warm_pool()
    assert pool is not None
    assert (pool.failures, pool.retry_at) == (0, None)
    assert web.row.failures > 0
