"""Lifecycle hooks: what they are made of, which instances wait for them, for how long, and who may end a wait."""

from datetime import timedelta
from typing import Any

import pytest

from stead_controller.db.tables import LifecycleAction, LifecycleHook, ScalingInstance
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling import lifecycle_hooks
from stead_controller.resources.scaling.hook_notices import INTO_GROUP, OUT_OF_GROUP, Way
from stead_controller.resources.scaling.lifecycle_hooks import MOST, ActionName, HookRequest
from stead_controller.resources.scaling.plan import Wait
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.web_group import WebGroup

LATER = NOW + timedelta(seconds=50)


class Hooked(WebGroup):
    """The group, with hooks and instances that wait for them."""

    def __init__(self, run: Any, world: Any) -> None:
        super().__init__(run, world)
        self.waiting = self.add("Pending:Wait")

    def put(self, name: str = "up", *, launching: bool | None = True, **asked: Any) -> LifecycleHook:
        request = HookRequest(name, launching, **asked)
        self.run(lambda tx: lifecycle_hooks.put(tx, self.world.cloud, self.row_of(tx), request, NOW))
        return self.hook(name)

    def hook(self, name: str = "up") -> LifecycleHook:
        found: LifecycleHook = self.run(lambda tx: lifecycle_hooks.find(tx, self.row_of(tx), name))
        return found

    def begin(self, instance_id: str | None = None, way: Way = INTO_GROUP) -> Any:
        row = self.member(instance_id or self.waiting)
        return self.run(lifecycle_hooks.begin, row, way, NOW)

    def waits(self) -> dict[str, LifecycleAction]:
        """The waits by hook and instance."""
        found = self.run(lambda tx: tx.session.query(LifecycleAction).all())
        return {f"{one.hook} {one.instance_id}": one for one in found}

    def wait(self, hook: str = "up") -> LifecycleAction:
        return self.waits()[f"{hook} {self.waiting}"]

    def complete(self, hook: str = "up", result: str = "CONTINUE", **named: Any) -> None:
        name = ActionName(hook, named.get("token"), named.get("instance_id"))
        self.run(lambda tx: lifecycle_hooks.complete(tx, self.row_of(tx), name, result, LATER))

    def beat(self, now: Any) -> None:
        name = ActionName("up", None, self.waiting)
        self.run(lambda tx: lifecycle_hooks.beat(tx, self.row_of(tx), name, now))

    def remove(self) -> None:
        self.run(lambda tx: lifecycle_hooks.remove(tx, self.row_of(tx), "up", LATER))


@pytest.fixture
def web(run: Any, world: Any) -> Hooked:
    return Hooked(run, world)


def test_a_new_hook_waits_an_hour_and_abandons(web: Hooked) -> None:
    made = web.put()
    assert (made.launching, made.heartbeat, made.default_result, made.details) == (True, 3600, "ABANDON", None)
    assert web.put("down", launching=False).launching is False


def test_a_hook_keeps_what_a_change_does_not_name(web: Hooked) -> None:
    web.put(heartbeat=60, default_result="CONTINUE", details="about it")
    kept = web.put(launching=None)
    assert (kept.launching, kept.heartbeat, kept.default_result) == (True, 60, "CONTINUE")
    assert kept.details == "about it"
    changed = web.put(launching=False, heartbeat=90, default_result="ABANDON", details="")
    assert (changed.launching, changed.heartbeat, changed.default_result) == (False, 90, "ABANDON")
    assert changed.details is None


@pytest.mark.parametrize("seconds", [30, 7200])
def test_the_longest_and_the_shortest_heartbeat_are_taken(web: Hooked, seconds: int) -> None:
    assert web.put(heartbeat=seconds).heartbeat == seconds


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"heartbeat": 29}, "HeartbeatTimeout 29 is not from 30 to 7200"),
        ({"heartbeat": 7201}, "HeartbeatTimeout 7201 is not"),
        ({"default_result": "WAIT"}, "The result WAIT is not one of CONTINUE, ABANDON"),
        ({"launching": None}, "LifecycleTransition"),
        ({"role": "arn:aws:iam::111111111111:role/r"}, "A RoleARN is for a lifecycle hook with a NotificationTargetARN"),
        ({"topic": "arn:aws:sns:us-east-1:111111111111:t"}, "needs a RoleARN"),
    ],
)  # fmt: skip
def test_what_no_hook_can_be_is_refused(web: Hooked, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        web.put(**{"launching": True} | asked)


def test_a_group_has_at_most_fifty_hooks_which_can_still_be_changed(web: Hooked) -> None:
    for number in range(MOST):
        web.put(f"h{number}")
    with pytest.raises(LimitExceeded, match="at most 50"):
        web.put("one more")
    assert web.put("h1", heartbeat=60).heartbeat == 60


def test_a_change_of_topic_or_role_is_tried_with_what_is_there(web: Hooked) -> None:
    web.put()
    web.run(lambda tx: tx.session.query(LifecycleHook).update({"topic": "arn:old", "role": "arn:role"}))
    with pytest.raises(InvalidParameter, match="notification target arn:new using IAM role arn:role"):
        web.put(topic="arn:new")
    with pytest.raises(InvalidParameter, match="notification target arn:old using IAM role arn:other"):
        web.put(role="arn:other")
    assert web.put(heartbeat=60).topic == "arn:old"
    emptied = web.put(topic="", role="arn:other")
    assert (emptied.topic, emptied.role) == (None, None)


def test_hooks_are_listed_by_name_all_or_some_and_only_the_groups_own(web: Hooked) -> None:
    web.run(lambda tx: tx.session.add(rows.scaling_group(web.caller.account_id, id="another", name="another")))
    web.run(lambda tx: tx.session.add(LifecycleHook(group_id="another", name="c", launching=True, heartbeat=60, default_result="ABANDON")))  # fmt: skip
    web.put("b")
    web.put("a", launching=False)
    group_id = web.row.id
    assert [one.name for one in web.run(lifecycle_hooks.of_group, group_id)] == ["a", "b"]
    assert [one.name for one in web.run(lifecycle_hooks.of_group, group_id, ["b", "c"])] == ["b"]
    assert web.run(lifecycle_hooks.kinds, group_id) == (True, True)
    assert web.run(lifecycle_hooks.kinds, "another") == (True, False)
    with pytest.raises(NotFound, match="No Lifecycle Hook found with name: c"):
        web.hook("c")


def test_an_instance_waits_for_the_hooks_of_its_way_as_long_as_each_says(web: Hooked) -> None:
    web.put("long", heartbeat=7200, default_result="CONTINUE")
    web.put("short", heartbeat=60)
    web.put("end", launching=False, heartbeat=30)
    assert web.begin() == NOW + timedelta(seconds=60)
    assert sorted(web.waits()) == [f"long {web.waiting}", f"short {web.waiting}"]
    long, short = web.wait("long"), web.wait("short")
    assert (long.until, long.latest) == (NOW + timedelta(hours=2), NOW + timedelta(hours=48))
    assert (short.until, short.latest) == (NOW + timedelta(seconds=60), NOW + timedelta(seconds=6000))
    ends = web.add("Terminating:Wait")
    assert web.begin(ends, OUT_OF_GROUP) == NOW + timedelta(seconds=30)
    found = web.run(lifecycle_hooks.waits, [web.waiting])
    assert found == {web.waiting: [Wait(None, "CONTINUE", long.until), Wait(None, "ABANDON", short.until)]}
    web.run(lifecycle_hooks.forget, web.member(web.waiting))
    assert sorted(web.waits()) == [f"end {ends}"]


def test_a_wait_is_completed_by_its_instance_or_its_token_once(web: Hooked) -> None:
    web.put()
    web.put("other")
    web.begin()
    web.complete(instance_id=web.waiting, result="ABANDON")
    assert (web.wait().result, web.wait("other").result) == ("ABANDON", None)
    assert web.row.due == LATER
    with pytest.raises(NotFound, match=f"No active Lifecycle Action found with instance ID {web.waiting}"):
        web.complete(instance_id=web.waiting)
    web.complete("other", token=web.wait("other").token)
    assert web.wait("other").result == "CONTINUE"


def test_a_wait_must_be_named_with_its_hook_its_instance_and_its_token(web: Hooked) -> None:
    web.put()
    web.put("other")
    web.begin()
    another = web.add("Pending:Wait")
    web.begin(another)
    token = web.wait().token
    with pytest.raises(InvalidParameter, match="Either the LifecycleActionToken or the InstanceId"):
        web.complete()
    with pytest.raises(InvalidParameter, match="The result MAYBE"):
        web.complete(token=token, result="MAYBE")
    with pytest.raises(NotFound, match="No Lifecycle Hook found"):
        web.complete("none", token=token)
    with pytest.raises(NotFound, match=f"found with token {token}"):
        web.complete("other", token=token)
    with pytest.raises(NotFound, match=f"found with token {token}"):
        web.complete(token=token, instance_id=another)
    assert {one.result for one in web.waits().values()} == {None}
    web.complete(token=token, instance_id=web.waiting)
    assert {name for name, one in web.waits().items() if one.result} == {f"up {web.waiting}"}


def test_waits_of_another_group_are_neither_found_nor_ended(web: Hooked) -> None:
    web.put()
    web.begin()
    token, theirs = web.wait().token, rows.scaling_group(web.caller.account_id, id="another", name="another")

    def move(tx: Transaction) -> None:
        tx.session.add(theirs)
        tx.session.flush()
        tx.session.get_one(ScalingInstance, web.waiting).group_id = "another"

    web.run(move)
    with pytest.raises(NotFound, match="No active"):
        web.complete(token=token)
    web.remove()
    assert web.wait().result is None


def test_who_puts_or_deletes_a_hook_sees_it_in_the_same_transaction(web: Hooked) -> None:
    def kinds(tx: Transaction) -> list[tuple[bool, bool]]:
        group = web.row_of(tx)
        lifecycle_hooks.put(tx, web.world.cloud, group, HookRequest("up", True), NOW)
        found = [lifecycle_hooks.kinds(tx, group.id)]
        lifecycle_hooks.remove(tx, group, "up", NOW)
        return [*found, lifecycle_hooks.kinds(tx, group.id)]

    assert web.run(kinds) == [(True, False), (False, False)]


def test_heartbeats_make_a_wait_longer_up_to_its_latest_end(web: Hooked) -> None:
    web.put(heartbeat=60)
    web.begin()
    web.beat(LATER)
    assert web.wait().until == LATER + timedelta(seconds=60)
    assert web.row.due == LATER
    web.beat(NOW + timedelta(seconds=5990))
    assert web.wait().until == NOW + timedelta(seconds=6000)


def test_who_waits_for_a_hook_that_is_deleted_goes_on(web: Hooked) -> None:
    web.put()
    web.put("other")
    another = web.add("Pending:Wait")
    for one in (web.waiting, another):
        web.begin(one)
    web.complete(instance_id=another, result="ABANDON")
    web.change(due=None)
    web.remove()
    assert {name: one.result for name, one in web.waits().items()} == {
        f"up {web.waiting}": "CONTINUE",
        f"up {another}": "ABANDON",
        f"other {web.waiting}": None,
        f"other {another}": None,
    }
    assert web.row.due == LATER
    with pytest.raises(NotFound):
        web.hook()
