"""Warm pools as users make, change, find and delete them: what is kept, what is refused, and what is left to the group."""

from datetime import timedelta
from typing import Any

import pytest

from stead_controller.db.tables import InstanceRefresh, WarmPool
from stead_controller.errors import InUse, InvalidParameter, NotFound, WrongState
from stead_controller.resources.scaling import activities, warm_pools
from stead_controller.resources.scaling.activities import Event
from stead_controller.resources.scaling.warm_pool_plan import Pool
from stead_controller.resources.scaling.warm_pools import PoolRequest
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.web_group import WebGroup

LATER = NOW + timedelta(seconds=5)


class Web(WebGroup):
    """The group, of two of ten instances."""

    def put(self, **asked: Any) -> WarmPool:
        self.run(warm_pools.put, self.caller, "web", PoolRequest(**asked), NOW)
        found = self.pool
        assert found is not None
        return found

    @property
    def pool(self) -> WarmPool | None:
        found: WarmPool | None = self.run(warm_pools.of, self.row.id)
        return found

    def is_deleting(self) -> bool:
        pool = self.pool
        assert pool is not None
        return warm_pools.seen(self.row, pool).deleting

    def remove(self, *, force: bool = False) -> None:
        self.run(warm_pools.remove, self.caller, "web", LATER, force=force)

    def begin_activity(self) -> None:
        event = Event("Doing", "why")
        self.run(lambda tx: activities.begin(tx, self.row_of(tx), event, activities.IN_PROGRESS, NOW) and None)


@pytest.fixture
def web(run: Any, world: Any) -> Web:
    return Web(run, world, desired=2)


def test_a_new_pool_stops_its_instances_and_keeps_as_many_as_are_missing_to_the_maximum(web: Web) -> None:
    made = web.put()
    assert (made.min_size, made.max_prepared, made.state, made.reuse, made.deleting) == (
        0,
        None,
        "Stopped",
        None,
        False,
    )
    assert web.row.due == NOW
    assert warm_pools.seen(web.row, made) == Pool(8, reuse=False, retry_at=None, deleting=False)


def test_a_pool_keeps_what_a_change_does_not_name_and_tries_again(web: Web) -> None:
    web.put(min_size=1, max_prepared=4, state="Running", reuse=True)
    web.run(lambda tx: tx.session.query(WarmPool).update({"failures": 3, "retry_at": LATER}))
    kept = web.put()
    assert (kept.min_size, kept.max_prepared, kept.state, kept.reuse) == (1, 4, "Running", True)
    assert (kept.failures, kept.retry_at) == (0, None)
    assert warm_pools.seen(web.row, kept) == Pool(2, reuse=True, retry_at=None, deleting=False)
    changed = web.put(min_size=0, max_prepared=-1, state="Hibernated", reuse=False)
    assert (changed.min_size, changed.max_prepared, changed.state, changed.reuse) == (0, None, "Hibernated", False)
    assert web.put(max_prepared=0).max_prepared == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"min_size": -1}, "The MinSize -1 of a warm pool is negative"),
        ({"max_prepared": -2}, "The MaxGroupPreparedCapacity -2 is less than -1"),
        ({"state": "Frozen"}, "The PoolState Frozen is not one of Stopped, Running, Hibernated"),
    ],
)
def test_what_no_pool_can_be_is_refused(web: Web, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        web.put(**asked)
    assert web.pool is None


def test_a_pool_is_not_changed_while_it_is_deleted_or_its_group_is_refreshed(web: Web) -> None:
    web.put()
    refresh = {"status": "InProgress", "reason": "", "started": NOW, "preferences": "{}", "total": 0, "left": 0}
    more = {"unready": 0, "warm_total": 0, "warm_left": 0, "checkpoint": 0, "progressed": NOW}
    web.run(lambda tx: tx.session.add(InstanceRefresh(id="r", group_id=web.row_of(tx).id, **refresh, **more)))
    with pytest.raises(WrongState, match="An active instance refresh already exists") as refusal:
        web.put(min_size=1)
    assert refusal.value.code == "InstanceRefreshInProgress"
    web.run(lambda tx: tx.session.query(InstanceRefresh).delete())
    web.run(lambda tx: tx.session.query(WarmPool).update({"deleting": True}))
    with pytest.raises(WrongState, match="pending delete"):
        web.put(min_size=1)


def test_an_empty_pool_is_deleted_at_once(web: Web) -> None:
    web.put()
    web.remove()
    assert web.pool is None
    assert web.row.due == LATER
    with pytest.raises(InvalidParameter, match="No warm pool found for the Auto Scaling group: web"):
        web.remove()


def test_a_pool_with_instances_is_deleted_by_force_with_them(web: Web) -> None:
    web.put()
    web.add("InService")
    web.add("Warmed:Stopped")
    with pytest.raises(InUse, match="still in the warm pool"):
        web.remove()
    assert not web.is_deleting()
    web.remove(force=True)
    assert web.is_deleting()
    assert web.row.due == LATER


def test_a_pool_of_a_group_that_does_something_is_deleted_by_force_alone(web: Web) -> None:
    web.put()
    web.begin_activity()
    with pytest.raises(WrongState, match="scaling activities in progress") as refusal:
        web.remove()
    assert refusal.value.code == "ScalingActivityInProgress"
    web.remove(force=True)
    assert web.pool is None


def test_only_what_is_in_the_pool_is_listed_with_it_in_pages(web: Web) -> None:
    web.add("InService")
    one, two, three = sorted(web.add(f"Warmed:{state}") for state in ("Stopped", "Pending", "Terminating"))

    def listed(after: str = "", limit: int = 9) -> list[str]:
        pool, found = web.run(warm_pools.describe, web.caller, "web", after=after, limit=limit)
        assert pool is None
        return [row.instance_id for row in found]

    assert listed() == [one, two, three]
    assert listed(limit=2) == [one, two]
    assert listed(after=two) == [three]
    with pytest.raises(NotFound, match="AutoScalingGroup 'web' not found"):
        web.run(warm_pools.describe, web.world.other.caller, "web", after="", limit=1)


def test_what_is_in_the_pool_of_another_group_is_not_listed(web: Web) -> None:
    web.add("Warmed:Stopped")
    assert web.run(warm_pools.instance_ids, "another", limit=9) == []
