"""A step of an instance refresh: what is to be replaced, what it waits for, where it pauses, and how it ends."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stead_controller.db.tables import InstanceRefresh
from stead_controller.resources.scaling import words
from stead_controller.resources.scaling.instance_refreshes import Preferences
from stead_controller.resources.scaling.member import Member
from stead_controller.resources.scaling.plan import Plan
from stead_controller.resources.scaling.refresh_step import RefreshStep
from stead_controller.resources.scaling.rolling import Rolling
from tests.support import rows
from tests.support.rows import NOW

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
TOLD = "No instance could be replaced for 60 minutes."


def one(name: str, state: str = "InService", *, protected: bool = False) -> Member:
    return Member(name, "us-east-1a", state, True, protected, NOW, ("lt-1", 1), "stead.tiny")


class Refreshed:
    """A refresh of a group of two, which began an hour ago; `fits` are what the group launches now."""

    def __init__(self, fits: str = "", *, group: Any = None, row: Any = None, **preferences: Any) -> None:
        chosen = replace(Preferences(healthy=(50, 100)), **preferences)
        about = {name: getattr(chosen, name) for name in Preferences.__dataclass_fields__}
        self.group = rows.scaling_group(
            "1" * 12, **{"desired": 2, "launch": "old", "refreshing": "new"} | (group or {})
        )
        values = {
            "status": "InProgress", "reason": "", "targets": None, "total": 0, "left": 0, "unready": 0,
            "warm_targets": None, "warm_total": 0, "warm_left": 0, "checkpoint": 0, "progressed": NOW - HOUR,
        }  # fmt: skip
        self.row = InstanceRefresh(preferences=json.dumps(about), **values | (row or {}))
        self.fits = fits.split()

    def step(self) -> RefreshStep:
        return RefreshStep(self.group, self.row, NOW, lambda member: member.id in self.fits)

    def see(self, *members: Member, served: Any = None) -> Rolling:
        found = self.step().see(members, served or dict.fromkeys((each.id for each in members), NOW - HOUR))
        assert found is not None
        return found

    def see_warm(self, *members: Member) -> RefreshStep:
        step = self.step()
        step.see_warm(members)
        return step

    def settle(self, *members: Member, refreshed: bool = False, **seen: Any) -> Any:
        """See what there is, if anything, and settle."""
        step = self.step()
        step.see(members, dict.fromkeys((each.id for each in members), NOW - HOUR))
        step.see_warm(seen.get("warm", ()))
        found = step.settle(Plan(refreshed=refreshed), members)
        assert step.ends_warm == seen.get("ends_warm", False)
        return found

    def targets(self) -> list[str]:
        return sorted(json.loads(self.row.targets or "[]"))


def test_what_serves_and_what_comes_is_replaced_and_what_comes_later_is_not() -> None:
    refresh = Refreshed(row={"status": "Pending"})
    states = ("InService", "Pending", "Pending:Wait", "Pending:Proceed", "Terminating", "Terminating:Wait")
    members = [one(f"i-{number}", state) for number, state in enumerate(states)]
    assert refresh.see(*members).stale == {"i-0", "i-1", "i-2", "i-3"}
    assert (refresh.row.status, refresh.row.total, refresh.row.left) == ("InProgress", 4, 4)
    assert refresh.see(*members[1:], one("i-9")).stale == {"i-1", "i-2", "i-3"}
    assert (refresh.targets(), refresh.row.total, refresh.row.left) == (["i-0", "i-1", "i-2", "i-3"], 4, 3)
    assert refresh.see(one("i-1", "Terminating"), *members[2:]).stale == {"i-2", "i-3"}
    assert refresh.row.left == 2


@pytest.mark.parametrize("status", ["Baking", "Cancelling"])
def test_one_that_bakes_or_is_cancelled_replaces_nothing(status: str) -> None:
    refresh = Refreshed(row={"status": status})
    step = refresh.step()
    assert step.see([one("a")], {"a": NOW}) is None
    step.see_warm([one("b", "Warmed:Stopped")])
    assert (refresh.row.targets, refresh.row.warm_targets, step.stale_warm) == (None, None, frozenset())


@pytest.mark.parametrize(
    ("status", "skip", "stale"),
    [
        ("InProgress", False, {"a", "b"}),
        ("InProgress", True, {"b"}),
        ("RollbackInProgress", False, {"b"}),
        ("RollbackInProgress", True, {"b"}),
    ],
)
def test_those_that_match_stay_if_that_is_asked_or_it_is_rolled_back(status: str, skip: bool, stale: set[str]) -> None:
    refresh = Refreshed("a", row={"status": status}, skip_matching=skip)
    assert refresh.see(one("a"), one("b")).stale == stale
    step = refresh.see_warm(one("a", "Warmed:Stopped"), one("b", "Warmed:Running"))
    assert step.stale_warm == stale
    assert refresh.row.warm_total == len(stale)


@pytest.mark.parametrize(
    ("choice", "stale", "waiting"),
    [("Ignore", {"a"}, set()), ("Wait", {"a"}, {"s"}), ("Terminate", {"a", "s"}, set())],
)
def test_instances_in_standby_are_left_out_waited_for_or_replaced(
    choice: str, stale: set[str], waiting: set[str]
) -> None:
    found = Refreshed(standby=choice).see(one("a"), one("s", "Standby"))
    assert found.stale == stale
    assert found.waiting == waiting


@pytest.mark.parametrize(
    ("choice", "stale", "waiting"),
    [("Ignore", {"a"}, set()), ("Wait", {"a"}, {"p"}), ("Refresh", {"a", "p"}, set())],
)
def test_protected_instances_are_left_out_waited_for_or_replaced(
    choice: str, stale: set[str], waiting: set[str]
) -> None:
    found = Refreshed(protected=choice).see(one("a"), one("p", protected=True))
    assert found.stale == stale
    assert found.waiting == waiting


def test_it_gets_on_when_fewer_are_left() -> None:
    refresh = Refreshed()
    refresh.see(one("a"), one("b"))
    assert refresh.row.progressed == NOW - HOUR
    refresh.see(one("a"), one("b"), one("c"))
    assert refresh.row.progressed == NOW - HOUR
    refresh.see(one("a"), one("c"))
    assert refresh.row.progressed == NOW


@pytest.mark.parametrize(
    ("resumes", "expected"),
    [(NOW, (1, None, NOW)), (NOW + SECOND, (0, NOW + SECOND, NOW - HOUR)), (None, (0, None, NOW - HOUR))],
)
def test_it_goes_on_when_its_pause_is_over(resumes: Any, expected: Any) -> None:
    refresh = Refreshed(row={"resumes": resumes}, checkpoints=[50, 100])
    refresh.see(one("a"), one("b"))
    assert (refresh.row.checkpoint, refresh.row.resumes, refresh.row.progressed) == expected


@pytest.mark.parametrize(
    ("status", "checkpoint", "gone", "budget"),
    [
        ("InProgress", 0, 0, 1),
        ("InProgress", 0, 1, 0),
        ("InProgress", 0, 2, 0),
        ("InProgress", 1, 1, 3),
        ("RollbackInProgress", 0, 1, 3),
    ],
)
def test_no_more_are_replaced_than_up_to_the_next_checkpoint(
    status: str, checkpoint: int, gone: int, budget: int
) -> None:
    members = [one(name) for name in "abcd"]
    refresh = Refreshed(row={"status": status, "checkpoint": checkpoint}, checkpoints=[25, 100])
    refresh.see(*members)
    assert refresh.see(*members[gone:]).budget == budget


@pytest.mark.parametrize(
    ("own", "of_group", "seconds"), [(7, 30, 7), (0, 30, 0), (None, 30, 30), (None, 0, 0), (None, None, 90)]
)
def test_instances_warm_up_as_long_as_the_refresh_the_group_or_its_grace_says(
    own: Any, of_group: Any, seconds: int
) -> None:
    found = Refreshed(group={"warmup": of_group, "health_grace": 90}, warmup=own).see(one("a"))
    assert found == Rolling(frozenset("a"), 1, (50, 100), timedelta(seconds=seconds))


def test_those_that_are_replaced_count_when_the_new_ones_serve() -> None:
    refresh = Refreshed(warmup=60)
    refresh.see(one("a"), one("b"))
    assert (refresh.row.unready, refresh.row.reason) == (0, "")
    served = {"b": NOW - HOUR, "c": NOW - 59 * SECOND}
    refresh.see(one("b"), one("c"), served=served)
    assert (refresh.row.unready, refresh.row.reason) == (1, words.warms_up("c"))
    refresh.see(one("b"), one("c", "Pending"), served={"b": NOW, "c": None})
    assert (refresh.row.unready, refresh.row.reason) == (1, words.is_pending("c"))
    refresh.see(one("b"), one("c"))
    assert (refresh.row.unready, refresh.row.reason) == (0, "")
    refresh.see(one("b"))
    assert refresh.row.unready == 1
    refresh.group.desired = 9
    refresh.see(one("b"))
    assert refresh.row.unready == 1  # no more than were replaced


def test_what_is_in_neither_service_nor_on_its_way_is_not_waited_for() -> None:
    refresh = Refreshed(row={"targets": "[]"})
    refresh.see(one("a", "Terminating"), one("b", "Standby"))
    assert refresh.row.reason == ""


@pytest.mark.parametrize("member", [one("s", "Standby"), one("p", protected=True)], ids=["standby", "protected"])
def test_it_says_for_whom_it_waits_when_all_others_are_replaced(member: Member) -> None:
    refresh = Refreshed(group={"desired": 1})
    refresh.see(one("a"), member)
    assert refresh.row.reason == ""
    refresh.see(one("new"), member)
    assert refresh.row.reason == (words.stands_by("s") if member.id == "s" else words.is_protected("p"))


def test_the_warm_pool_is_counted_apart() -> None:
    refresh = Refreshed(row={"targets": '["back"]'})
    warm = [
        one(name, f"Warmed:{state}") for name, state in (("w", "Stopped"), ("x", "Pending"), ("gone", "Terminating"))
    ]
    assert refresh.see_warm(*warm).stale_warm == {"w", "x"}
    assert (refresh.row.warm_total, refresh.row.warm_left, refresh.row.progressed) == (2, 2, NOW - HOUR)
    step = refresh.see_warm(*warm[:1], one("back", "Warmed:Stopped"), one("new", "Warmed:Stopped"))
    assert step.stale_warm == {"w", "back"}  # one of the group has come back
    assert (refresh.row.warm_left, refresh.row.progressed) == (2, NOW - HOUR)
    more = refresh.see_warm(*warm[:2], one("back", "Warmed:Stopped"))
    assert more.stale_warm == {"w", "x", "back"}
    assert refresh.row.warm_left == 2  # no more than it was of the pool
    refresh.see_warm(one("back", "Warmed:Stopped"))
    assert (refresh.row.warm_left, refresh.row.progressed) == (1, NOW)


@pytest.mark.parametrize(
    ("state", "ended"),
    [("InService", True), ("Standby", True), ("Pending", False), ("Terminating", False), ("Terminating:Wait", False)],
)
def test_a_cancelled_one_is_over_when_nothing_comes_or_goes(state: str, ended: bool) -> None:
    refresh = Refreshed(row={"status": "Cancelling"})
    assert refresh.settle(one("a"), one("b", state)) is None
    expected = ("Cancelled", NOW) if ended else ("Cancelling", None)
    assert (refresh.row.status, refresh.row.ended) == expected


def over(refresh: Refreshed, status: str, reason: str = "") -> bool:
    """Tell whether it is over as it says, and the group launches what is in the end."""
    launches = "new" if status == "Successful" else "old"
    assert (refresh.group.launching, refresh.group.refreshing) == (launches, None)
    assert (refresh.row.resumes, refresh.row.unready) == (None, 0)
    return (refresh.row.status, refresh.row.reason, refresh.row.ended) == (status, reason, NOW)


def test_one_that_bakes_succeeds_at_its_end() -> None:
    refresh = Refreshed(row={"status": "Baking", "resumes": NOW + SECOND, "unready": 1, "reason": "x"})
    assert refresh.settle() == NOW + SECOND
    assert refresh.row.status == "Baking"
    refresh.row.resumes = NOW
    assert refresh.settle() is None
    assert over(refresh, "Successful")


def test_a_pause_is_waited_for_whatever_was_replaced() -> None:
    refresh = Refreshed(row={"resumes": NOW + SECOND}, checkpoints=[50, 100])
    assert refresh.settle(one("a"), refreshed=True) == NOW + SECOND
    assert refresh.row.status == "InProgress"


def test_it_pauses_at_each_checkpoint_but_the_last() -> None:
    refresh = Refreshed(row={"progressed": NOW}, checkpoints=[50, 100], delay=30)
    members = [one("a"), one("b")]
    refresh.see(*members)
    assert refresh.settle(members[1], one("c"), refreshed=True) == NOW + 30 * SECOND
    assert (refresh.row.resumes, refresh.row.status) == (NOW + 30 * SECOND, "InProgress")
    refresh.row.resumes = NOW
    assert refresh.settle(one("c"), one("d"), refreshed=True) is None
    assert over(refresh, "Successful")


def test_a_checkpoint_is_not_reached_while_one_is_waited_for() -> None:
    refresh = Refreshed(row={"progressed": NOW}, checkpoints=[50, 100], delay=30, warmup=0)
    refresh.see(one("s", "Standby"), one("t", "Standby"))
    assert refresh.settle(one("s", "Standby"), one("t", "Standby"), refreshed=True) == NOW + HOUR
    assert (refresh.row.resumes, refresh.row.status) == (None, "InProgress")
    assert refresh.settle(one("s", "Standby"), one("new"), refreshed=True) == NOW + 30 * SECOND
    refresh.row.resumes = NOW
    assert refresh.settle(one("s", "Standby"), one("new"), refreshed=True) == NOW + HOUR
    assert refresh.settle(one("new"), one("newer"), refreshed=True) is None
    assert over(refresh, "Successful")


def test_a_last_checkpoint_before_the_end_is_the_end_whoever_is_waited_for() -> None:
    refresh = Refreshed(checkpoints=[50])
    refresh.see(one("a"), one("s", "Standby"))
    assert refresh.settle(one("b"), one("s", "Standby"), refreshed=True) is None
    assert over(refresh, "Successful")


def test_the_warm_pool_is_replaced_after_the_group() -> None:
    refresh = Refreshed(row={"progressed": NOW}, warmup=0)
    old, new = one("w", "Warmed:Stopped"), one("n", "Warmed:Stopped")
    assert refresh.settle(one("a"), warm=[old]) == NOW + HOUR
    assert refresh.settle(one("b"), warm=[old], refreshed=True, ends_warm=True) == NOW + HOUR
    assert refresh.settle(one("b"), warm=[one("n", "Warmed:Pending")], refreshed=True, ends_warm=True) == NOW + HOUR
    assert refresh.row.status == "InProgress"
    assert refresh.settle(one("b"), warm=[new], refreshed=True) is None
    assert over(refresh, "Successful")


def test_a_pool_of_which_nothing_is_replaced_is_not_waited_for() -> None:
    refresh = Refreshed("n", skip_matching=True)
    assert refresh.settle(one("a"), warm=[one("n", "Warmed:Pending")], refreshed=True) is None
    assert over(refresh, "Successful")


def test_it_bakes_if_that_is_asked_unless_it_is_rolled_back() -> None:
    refresh = Refreshed(bake=30)
    assert refresh.settle(one("a"), refreshed=True) == NOW + 30 * SECOND
    assert (refresh.row.status, refresh.row.resumes) == ("Baking", NOW + 30 * SECOND)
    back = Refreshed(row={"status": "RollbackInProgress"}, group={"refreshing": None}, bake=30, checkpoints=[10, 100])
    back.see(one("a"))
    assert back.settle(one("b"), refreshed=True) is None
    assert over(back, "RollbackSuccessful")


@pytest.mark.parametrize(("age", "fails"), [(0, True), (1, False)])
def test_one_that_replaces_nothing_for_an_hour_and_a_warm_up_fails(age: int, fails: bool) -> None:
    refresh = Refreshed(row={"progressed": NOW - HOUR - 59 * SECOND + (age - 1) * SECOND}, warmup=60)
    assert refresh.settle(one("a")) == (None if fails else NOW + SECOND)
    assert refresh.row.status == ("Failed" if fails else "InProgress")
    if fails:
        assert over(refresh, "Failed", TOLD)


def test_it_says_for_how_many_it_waited_in_vain() -> None:
    refresh = Refreshed(warmup=0)
    refresh.settle(one("s", "Standby"), one("p", protected=True), one("a"))
    waited = f"{TOLD} 2 instance(s) in standby or protected from scaling in are waited for."
    assert over(refresh, "Failed", waited)


def test_a_failed_one_is_rolled_back_if_that_is_asked_and_can_be() -> None:
    refresh = Refreshed(row={"wanted": "new"}, auto_rollback=True)
    assert refresh.settle(one("a")) == NOW
    assert (refresh.row.status, refresh.group.launching) == ("RollbackInProgress", "old")
    assert json.loads(refresh.row.rollback or "")["reason"] == TOLD
    for wanted, asked in (("new", False), (None, True)):
        other = Refreshed(row={"wanted": wanted}, auto_rollback=asked)
        assert other.settle(one("a")) is None
        assert over(other, "Failed", TOLD)
    back = {"status": "RollbackInProgress", "wanted": "new"}
    failed = Refreshed(row=back, group={"refreshing": None}, auto_rollback=True)
    assert failed.settle(one("a")) is None
    assert over(failed, "RollbackFailed", TOLD)
