"""Which steps a machine's power needs, as a table and as rules that hold for all of it."""

import itertools

import pytest

from stead_agent.machines.interface import MachineStatus, OffReason, Power
from stead_agent.reconcile.plan import (
    MachineView,
    Step,
    Then,
    VolumeStep,
    contents_of_vpc,
    plan_machine,
    plan_removal,
    plan_volume,
)
from stead_agent.wanted import Key, key_of
from stead_proto.v1 import desired_pb2 as pb
from tests.support import desired_states as make


def _seen(power: Power, start: int = 1, *, reboot: int = 0, reason: OffReason = OffReason.NONE) -> MachineStatus:
    return MachineStatus("i-1", power, start, reboot, reason)


def _wanted(power: "pb.Power.ValueType", start: int = 1, *, reboot: int = 0, force: bool = False) -> pb.Machine:
    return pb.Machine(power=power, start_count=start, reboot_count=reboot, force_stop=force)


RUN = _wanted(pb.POWER_RUNNING)
RUN_2 = _wanted(pb.POWER_RUNNING, 2)
STOP = _wanted(pb.POWER_STOPPED)
PULL = _wanted(pb.POWER_STOPPED, force=True)
SOON = pb.Machine(power=pb.POWER_STOPPED, start_count=1, hasten_stop=True)
SLEEP = pb.Machine(power=pb.POWER_STOPPED, start_count=1, hibernate=True)
OFF, ON, GOING, STILL, DARK = Power.OFF, Power.RUNNING, Power.STOPPING, Power.PAUSED, Power.UNKNOWN
PUT, START, ASK = Step.PUT_METADATA, Step.START, Step.ASK_TO_STOP

TABLE: list[tuple[str, pb.Machine, MachineStatus | None, tuple[Step, ...], Then]] = [
    ("new", RUN, None, (PUT, START), Then.SETTLED),
    ("defined, its start failed", RUN, _seen(OFF, 0), (PUT, START), Then.SETTLED),
    ("runs", RUN, _seen(ON), (PUT, Step.UPDATE), Then.SETTLED),
    ("runs a later start than wanted", RUN, _seen(ON, 3), (PUT, Step.UPDATE), Then.SETTLED),
    ("powered itself off", RUN, _seen(OFF, reason=OffReason.GUEST), (), Then.SETTLED),
    ("crashed", RUN, _seen(OFF, reason=OffReason.CRASHED), (), Then.SETTLED),
    ("was stopped", RUN, _seen(OFF, reason=OffReason.ASKED), (), Then.SETTLED),
    ("went down with the host", RUN, _seen(OFF, reason=OffReason.HOST), (PUT, START), Then.SETTLED),
    ("to be started again", RUN_2, _seen(OFF, reason=OffReason.GUEST), (PUT, START), Then.SETTLED),
    ("to be recovered", RUN_2, _seen(OFF, reason=OffReason.CRASHED), (PUT, START), Then.SETTLED),
    ("an earlier start runs", RUN_2, _seen(ON), (ASK,), Then.WAITING_FOR_END),
    ("an earlier start ends", RUN_2, _seen(GOING), (), Then.WAITING_FOR_END),
    ("ends while it should run", RUN, _seen(GOING), (PUT,), Then.WAITING_FOR_END),
    ("paused", RUN, _seen(STILL), (PUT, Step.UPDATE), Then.SETTLED),
    ("reboot", _wanted(pb.POWER_RUNNING, reboot=2), _seen(ON, reboot=1), (PUT, Step.UPDATE, Step.REBOOT), Then.SETTLED),
    ("stop", STOP, _seen(ON), (ASK, PUT), Then.WAITING_FOR_END),
    ("stop, asked before", STOP, _seen(GOING), (PUT,), Then.WAITING_FOR_END),
    ("stop, paused", STOP, _seen(STILL), (ASK, PUT), Then.WAITING_FOR_END),
    ("pull", PULL, _seen(ON), (Step.PULL_PLUG, PUT), Then.WAITING_FOR_END),
    ("pull, asked before", PULL, _seen(GOING), (Step.PULL_PLUG, PUT), Then.WAITING_FOR_END),
    ("soon", SOON, _seen(ON), (Step.HASTEN_STOP, PUT), Then.WAITING_FOR_END),
    ("soon, asked before", SOON, _seen(GOING), (Step.HASTEN_STOP, PUT), Then.WAITING_FOR_END),
    ("soon, and it is off", SOON, _seen(OFF, reason=OffReason.ASKED), (PUT,), Then.SETTLED),
    ("hibernate", SLEEP, _seen(ON), (Step.HIBERNATE, PUT), Then.WAITING_FOR_END),
    ("hibernate, while it was being saved", SLEEP, _seen(STILL), (Step.HIBERNATE, PUT), Then.WAITING_FOR_END),
    ("hibernate, asked to stop before", SLEEP, _seen(GOING), (PUT,), Then.WAITING_FOR_END),
    ("hibernated", SLEEP, _seen(OFF, reason=OffReason.ASKED), (PUT,), Then.SETTLED),
    ("stopped", STOP, _seen(OFF, reason=OffReason.ASKED), (PUT,), Then.SETTLED),
    ("stopped, never there", STOP, None, (), Then.SETTLED),
    ("reboot of one that is off", _wanted(pb.POWER_STOPPED, reboot=1), _seen(OFF), (Step.REBOOT, PUT), Then.SETTLED),
    ("libvirt away", RUN, _seen(DARK), (), Then.UNCERTAIN),
    ("libvirt away, to be stopped", STOP, _seen(DARK), (), Then.UNCERTAIN),
]


@pytest.mark.parametrize(("wanted", "seen", "steps", "then"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_machine(wanted: pb.Machine, seen: MachineStatus | None, steps: tuple[Step, ...], then: Then) -> None:
    plan = plan_machine(wanted, MachineView(seen))
    assert (plan.steps, plan.then) == (steps, then)


def test_a_guest_that_cannot_be_hibernated_is_asked_to_stop() -> None:
    plan = plan_machine(SLEEP, MachineView(_seen(ON), can_hibernate=False))
    assert (plan.steps, plan.then) == ((ASK, PUT), Then.WAITING_FOR_END)
    forced = pb.Machine(power=pb.POWER_STOPPED, start_count=1, hibernate=True, force_stop=True)
    assert plan_machine(forced, MachineView(_seen(ON))).steps == (Step.PULL_PLUG, PUT)


def test_a_stop_is_hastened_once_and_only_where_it_is_one() -> None:
    going = plan_machine(SOON, MachineView(_seen(GOING), metadata_current=True, hastened=True))
    assert (going.steps, going.then) == ((), Then.WAITING_FOR_END)
    both = pb.Machine(power=pb.POWER_STOPPED, start_count=1, hibernate=True, hasten_stop=True)
    assert plan_machine(both, MachineView(_seen(ON))).steps == (Step.HIBERNATE, PUT)
    assert plan_machine(both, MachineView(_seen(ON), can_hibernate=False)).steps == (Step.HASTEN_STOP, PUT)
    at_once = pb.Machine(power=pb.POWER_STOPPED, start_count=1, hasten_stop=True, force_stop=True)
    for power in (ON, GOING):
        assert plan_machine(at_once, MachineView(_seen(power))).steps == (Step.PULL_PLUG, PUT)
    runs = pb.Machine(power=pb.POWER_RUNNING, start_count=1, hasten_stop=True)
    assert plan_machine(runs, MachineView(_seen(ON), up_to_date=True, metadata_current=True)).steps == ()


def test_nothing_starts_without_its_needs() -> None:
    for seen in (None, _seen(OFF, 0), _seen(OFF, reason=OffReason.HOST)):
        plan = plan_machine(RUN, MachineView(seen, needs_met=False))
        assert (plan.steps, plan.then) == ((), Then.WAITING_FOR_NEEDS)
    plan = plan_machine(RUN, MachineView(_seen(ON), needs_met=False))
    assert (plan.steps, plan.then) == ((PUT,), Then.WAITING_FOR_NEEDS)


def test_a_disk_that_is_not_ready_does_not_hold_up_the_others() -> None:
    plan = plan_machine(RUN, MachineView(_seen(ON), needs_met=False, can_update=True))
    assert (plan.steps, plan.then) == ((PUT, Step.UPDATE), Then.WAITING_FOR_NEEDS)


def test_a_guest_that_was_asked_to_release_is_waited_for() -> None:
    plan = plan_machine(RUN, MachineView(_seen(ON), metadata_current=True, releasing=True))
    assert (plan.steps, plan.then) == ((), Then.WAITING_FOR_GUEST)


def test_what_is_so_already_is_not_done_again() -> None:
    view = MachineView(_seen(ON), up_to_date=True, metadata_current=True, reboot_asked=True)
    assert plan_machine(_wanted(pb.POWER_RUNNING, reboot=1), view).steps == ()


def _all_views() -> list[MachineStatus | None]:
    some = [
        _seen(power, start, reboot=reboot, reason=reason)
        for power, start, reboot, reason in itertools.product(Power, (0, 1, 2, 3), (0, 1), OffReason)
    ]
    return [None, *some]


def test_a_guest_is_only_started_when_it_is_off_and_that_start_is_still_owed() -> None:
    for seen in _all_views():
        if Step.START in plan_machine(RUN_2, MachineView(seen)).steps and seen is not None:
            assert seen.power is OFF
            assert seen.start_count < 2 or seen.off_reason is OffReason.HOST


def test_a_guest_of_the_wanted_start_is_never_stopped_while_it_should_run() -> None:
    for seen in _all_views():
        steps = plan_machine(RUN_2, MachineView(seen)).steps
        assert Step.PULL_PLUG not in steps
        if ASK in steps:
            assert seen is not None
            assert seen.start_count < 2


def test_removal_gives_a_running_guest_a_grace() -> None:
    gone = (Step.REMOVE, Step.REMOVE_METADATA)
    for power in Power:
        assert plan_removal(_seen(power), force=True, asked=False, grace_over=False).steps == gone
        assert plan_removal(_seen(power), force=False, asked=True, grace_over=True).steps == gone
    for seen in (None, _seen(OFF), _seen(STILL)):
        assert plan_removal(seen, force=False, asked=False, grace_over=False).steps == gone
    assert plan_removal(_seen(ON), force=False, asked=False, grace_over=False).steps == (ASK,)
    assert plan_removal(_seen(ON), force=False, asked=True, grace_over=False).steps == ()
    assert plan_removal(_seen(GOING), force=False, asked=False, grace_over=False).then is Then.WAITING_FOR_GRACE
    assert plan_removal(_seen(DARK), force=False, asked=False, grace_over=False).then is Then.UNCERTAIN


def test_only_a_disk_in_use_grows_live() -> None:
    assert plan_volume(2, 1, guest_runs=True) is VolumeStep.GROW_LIVE
    for size, runs in ((None, True), (2, True), (3, True), (1, False)):
        assert plan_volume(2, size, guest_runs=runs) is VolumeStep.ENSURE


def test_a_vpc_has_what_a_guest_still_depends_on() -> None:
    remaining = [make.interface("eni-1", "i-1"), make.subnet("subnet-1"), make.group("sg-1")]
    idle = [make.interface("eni-2", "i-2", number=6), make.subnet("subnet-2"), make.group("sg-2")]
    buried = {key: each for each in (*remaining, *idle) if (key := key_of(each))}
    wanted = {Key(pb.KIND_SUBNET, "subnet-3"): make.subnet("subnet-3")}
    contents = contents_of_vpc(wanted, buried, ["eni-1"])
    assert [each.id for each in contents.parts] == ["subnet-1", "subnet-3", "sg-1", "eni-1"]
    assert {key.id for key in contents.gone} == {"eni-2", "subnet-2", "sg-2"}
    assert contents_of_vpc({}, buried, []).is_empty
