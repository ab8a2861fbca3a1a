"""Which resource is next: never twice at a time, failures later and later, waiting until another has run."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stead_agent.reconcile.schedule import LAST_RETRY_SECONDS, Schedule, ScheduledUnit
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb

VOLUME = Key(pb.KIND_VOLUME, "vol-1")
VPC = Key(pb.KIND_VPC, "vpc-1")
MACHINE = Key(pb.KIND_MACHINE, "i-1")


def _schedule(**limits: int) -> Schedule:
    kinds = {pb.KIND_VPC: 4, pb.KIND_VOLUME: 4, pb.KIND_MACHINE: 4}
    kinds.update({pb.Kind.Value(f"KIND_{name}"): limit for name, limit in limits.items()})
    return Schedule(kinds, random.Random(1))


def _take_all(schedule: Schedule, now: float = 0.0) -> list[Key]:
    taken = []
    while (scheduled := schedule.take(now)) is not None:
        taken.append(scheduled.unit)
    return taken


def test_a_unit_that_is_touched_twice_runs_once() -> None:
    schedule = _schedule()
    schedule.touch(VPC)
    schedule.touch(VPC)
    assert _take_all(schedule) == [VPC]
    schedule.settle(VPC)
    assert _take_all(schedule) == []


def test_a_unit_that_is_touched_while_it_runs_runs_again_after_it() -> None:
    schedule = _schedule()
    schedule.touch(VPC)
    assert schedule.take(0) == ScheduledUnit(VPC)
    schedule.touch(VPC)
    assert schedule.take(0) is None
    schedule.settle(VPC)
    assert schedule.take(0) == ScheduledUnit(VPC)


def test_kinds_have_limits_and_an_order() -> None:
    schedule = _schedule(VOLUME=2)
    machines = [Key(pb.KIND_MACHINE, f"i-{number}") for number in range(2)]
    volumes = [Key(pb.KIND_VOLUME, f"vol-{number}") for number in range(3)]
    for unit in (*machines, *volumes, VPC):
        schedule.touch(unit)
    assert _take_all(schedule) == [VPC, *volumes[:2], *machines]
    schedule.settle(volumes[1])
    assert _take_all(schedule) == [volumes[2]]


def test_failures_come_later_and_later_up_to_a_minute() -> None:
    schedule = _schedule()
    schedule.touch(VPC)
    now, delays = 0.0, []
    for _ in range(12):
        assert schedule.take(now) == ScheduledUnit(VPC)
        delays.append(schedule.fail(VPC, now))
        assert schedule.take(now + delays[-1] - 0.001) is None
        assert schedule.next_time() == now + delays[-1]
        now += delays[-1]
    assert 0.4 <= delays[0] <= 0.6
    assert delays[:6] == sorted(delays[:6])
    assert max(delays) <= LAST_RETRY_SECONDS * 1.2


def test_a_change_forgets_failures() -> None:
    schedule = _schedule()
    schedule.touch(VPC)
    schedule.take(0)
    for _ in range(8):
        schedule.fail(VPC, 0)
        schedule.touch(VPC)
        assert schedule.take(0) == ScheduledUnit(VPC)
    assert schedule.fail(VPC, 0) <= 0.6


def test_what_a_failing_try_causes_itself_makes_it_look_and_not_try() -> None:
    schedule = _schedule()
    schedule.touch(MACHINE)
    schedule.take(0)
    schedule.notice(MACHINE)
    delay = schedule.fail(MACHINE, 0)
    assert schedule.take(0) == ScheduledUnit(MACHINE, look_only=True)
    schedule.looked(MACHINE)
    assert schedule.take(0) is None
    schedule.notice(MACHINE)
    assert schedule.take(0) == ScheduledUnit(MACHINE, look_only=True)
    assert schedule.take(delay) is None  # its time comes while it looks
    schedule.looked(MACHINE)
    assert schedule.take(delay) == ScheduledUnit(MACHINE)


def test_a_waiting_unit_goes_on_when_the_other_has_run() -> None:
    schedule = _schedule()
    schedule.touch(MACHINE)
    schedule.take(0)
    schedule.wait(MACHINE, [VPC, VOLUME], until=30)
    assert schedule.take(0) is None
    schedule.touch(VPC)
    schedule.take(0)
    schedule.fail(VPC, 0)
    assert schedule.take(0) == ScheduledUnit(MACHINE)


def test_a_waiting_unit_looks_again_after_a_while() -> None:
    schedule = _schedule()
    schedule.touch(MACHINE)
    schedule.take(0)
    schedule.wait(MACHINE, [VPC], until=30)
    assert schedule.next_time() == 30
    assert schedule.take(29.9) is None
    assert schedule.take(30) == ScheduledUnit(MACHINE)


@given(
    st.lists(
        st.tuples(st.sampled_from(["touch", "notice", "take", "settle", "wait", "fail"]), st.integers(0, 3)),
        max_size=80,
    )
)
def test_no_unit_is_lost_or_runs_twice(moves: list[tuple[str, int]]) -> None:
    schedule = _schedule(VOLUME=2)
    units = [VPC, VOLUME, MACHINE, Key(pb.KIND_VOLUME, "vol-2")]
    running: dict[Key, ScheduledUnit] = {}
    owed: set[Key] = set()
    now = 0.0
    for move, number in moves:
        unit = units[number]
        if move in {"touch", "notice"}:
            getattr(schedule, move)(unit)
            owed.add(unit)
        elif move == "take":
            now += number
            scheduled = schedule.take(now)
            if scheduled is not None:
                assert scheduled.unit not in running
                running[scheduled.unit] = scheduled
                owed.discard(scheduled.unit)
        elif unit in running:
            _end(schedule, move, running.pop(unit), now)
    for scheduled in running.values():
        schedule.settle(scheduled.unit)
    for _ in range(10):
        taken = _take_all(schedule, now + 1000)
        owed -= set(taken)
        for unit in taken:
            schedule.settle(unit)
    assert owed == set()
    assert schedule.running == 0
    assert schedule.next_time() is None


def _end(schedule: Schedule, how: str, scheduled: ScheduledUnit, now: float) -> Any:
    if scheduled.look_only:
        return schedule.looked(scheduled.unit)
    if how == "fail":
        return schedule.fail(scheduled.unit, now)
    if how == "wait":
        return schedule.wait(scheduled.unit, [VPC], now + 30)
    return schedule.settle(scheduled.unit)
