"""Automatic recovery: what a host's word that a machine's process failed comes to, once and three times a day."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from stead_controller.db.tables import Instance, PublicAddress
from stead_controller.desired import changes, revisions
from stead_controller.placement.guest_memory import memory_of
from stead_controller.resources.instances.instance_attributes import set_auto_recovery
from stead_controller.resources.instances.reboot_instances import reboot_instances
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import scheduled_stop, stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import NOW

HOUR = timedelta(hours=1)


@pytest.fixture
def instance_id(life):
    """A running instance."""
    [made] = life.launch()
    life.is_running(made)
    return made


def crash(life, instance_id, start_count=None, *, now=NOW):
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_CRASHED, start_count, now=now)


def stored(instance):
    """What a recovery must leave as it is."""
    names = ("state", "host_id", "private_address", "public_address", "launch_time", "identity_issued", "capacity_held")
    return {name: getattr(instance, name) for name in names}


def test_a_failed_machine_is_started_again_with_all_that_the_instance_has(life, instance_id):
    before, host = life.instance(instance_id), life.host()
    known = life.run(revisions.current)
    crash(life, instance_id)
    after = life.instance(instance_id)
    assert stored(after) == stored(before)
    assert (after.start_count, after.recovery_began, after.state_reason_code) == (2, NOW, "")
    assert life.host().memory_free == host.memory_free
    sent = life.run(lambda tx: changes.changes_since(tx, life.world.host_id, known)).message.state.resources
    [machine] = [each.machine for each in sent if each.id == instance_id]
    assert (machine.power, machine.start_count) == (desired.POWER_RUNNING, 2)
    life.is_running(instance_id)
    assert life.instance(instance_id).recovery_began is None
    assert stored(life.instance(instance_id)) == stored(before)


def test_one_failure_is_one_recovery_however_often_and_late_it_is_reported(life, instance_id, unchanged):
    crash(life, instance_id)
    unchanged()
    crash(life, instance_id, start_count=1)
    unchanged()
    life.is_running(instance_id)
    crash(life, instance_id, start_count=1)
    running = life.instance(instance_id)
    assert (running.state, running.start_count, len(running.recoveries)) == ("running", 2, 1)


def test_the_fourth_failure_of_a_day_stops_the_instance(life, instance_id):
    for hours in (0, 1, 23):
        crash(life, instance_id, now=NOW + hours * HOUR)
        assert life.instance(instance_id).state == "running"
        life.is_running(instance_id)
    crash(life, instance_id, now=NOW + 24 * HOUR)  # the first one is a day ago
    assert life.instance(instance_id).state == "running"
    crash(life, instance_id, now=NOW + 24.5 * HOUR)
    stopped = life.instance(instance_id)
    assert (stopped.state, stopped.state_reason_code) == ("stopped", "Server.InternalError")
    assert (stopped.recovery_began, stopped.capacity_held, stopped.public_address) == (None, False, None)
    assert life.host().memory_reserved == 0
    assert life.wanted()[0][instance_id].machine.power == desired.POWER_STOPPED
    life.run(start_instances, life.caller, life.world.cloud, [instance_id], NOW + 25 * HOUR)
    life.is_running(instance_id)
    assert life.instance(instance_id).state == "running"


def test_one_that_fails_before_it_was_seen_running_is_recovered_too(life):
    [instance_id] = life.launch()
    crash(life, instance_id)
    assert life.instance(instance_id).state == "pending"
    life.is_running(instance_id)
    running = life.instance(instance_id)
    assert (running.state, running.start_count, running.recovery_began) == ("running", 2, None)


@pytest.mark.parametrize("asked", [{"auto_recovery": False}, {"instance_type": "m5d.large"}], ids=["disabled", "store"])
def test_who_is_not_recovered_is_stopped(life, asked):
    """An instance store is lost with a machine, so EC2 recovers no instance of a type that has one."""
    [instance_id] = life.launch(**asked)
    life.is_running(instance_id)
    crash(life, instance_id)
    stopped = life.instance(instance_id)
    assert (stopped.state, stopped.state_reason_code) == ("stopped", "Server.InternalError")
    assert stopped.recoveries == []


def test_the_setting_at_the_failure_counts(life, instance_id):
    life.run(set_auto_recovery, life.caller, instance_id, False)
    life.run(set_auto_recovery, life.caller, instance_id, True)
    crash(life, instance_id)
    life.is_running(instance_id)
    life.run(set_auto_recovery, life.caller, instance_id, False)
    crash(life, instance_id)
    assert life.instance(instance_id).state == "stopped"


def test_one_that_is_recovered_may_be_rebooted_stopped_and_terminated(life, instance_id):
    crash(life, instance_id)
    life.run(reboot_instances, life.caller, [instance_id])
    assert life.wanted()[0][instance_id].machine.reboot_count == 1
    life.run(stop_instances, life.caller, [instance_id], NOW)
    sent = life.run(revisions.current)
    # It was not started again before it was to stop: its host says that what it began last is off.
    off = pb.MachineStatus(power=pb.MACHINE_POWER_OFF, start_count=1, off_reason=pb.OFF_REASON_CRASHED)
    life.report(desired.KIND_MACHINE, instance_id, machine=off, revision=sent - 1)
    assert life.instance(instance_id).state == "stopping"
    life.report(desired.KIND_MACHINE, instance_id, machine=off, revision=sent)
    stopped = life.instance(instance_id)
    assert (stopped.state, stopped.state_reason_code) == ("stopped", "Client.UserInitiatedShutdown")
    assert (stopped.recovery_began, stopped.capacity_held) == (None, False)

    [another] = life.launch()
    life.is_running(another)
    crash(life, another)
    life.run(terminate_instances, life.caller, [another], NOW)
    crash(life, another, start_count=1)
    life.is_absent(desired.KIND_MACHINE, another)
    assert life.instance(another).state == "terminated"


def test_one_that_was_stopped_before_it_ever_started_is_stopped(life):
    [instance_id] = life.launch()
    life.run(lambda tx: scheduled_stop(tx, tx.session.get_one(Instance, instance_id), NOW))
    sent = life.run(revisions.current)
    never = pb.MachineStatus(power=pb.MACHINE_POWER_OFF)
    life.report(desired.KIND_MACHINE, instance_id, machine=never, revision=sent)
    assert life.instance(instance_id).state == "stopped"


def test_a_recovery_that_its_host_cannot_do_is_given_up(life, instance_id):
    crash(life, instance_id)
    settings = Settings(Path("/nowhere"))
    late = NOW + timedelta(seconds=settings.launch_deadline_seconds)
    life.run(clean_up, settings, late)  # nobody says that it fails: its host may be lost
    assert life.instance(instance_id).state == "running"
    life.report(desired.KIND_MACHINE, instance_id, pb.CONDITION_FAILED, error="no space left on device")
    life.run(clean_up, settings, late - timedelta(seconds=1))
    assert life.instance(instance_id).state == "running"
    life.run(clean_up, settings, late)
    assert life.instance(instance_id).state == "stopping"
    sent = life.run(revisions.current)
    off = pb.MachineStatus(power=pb.MACHINE_POWER_OFF, start_count=1, off_reason=pb.OFF_REASON_CRASHED)
    life.report(desired.KIND_MACHINE, instance_id, machine=off, revision=sent)
    stopped = life.instance(instance_id)
    assert (stopped.state, stopped.state_reason_code) == ("stopped", "Server.InternalError")


def test_a_clock_that_was_set_forward_makes_no_launch_and_no_recovery_late(life, instance_id):
    crash(life, instance_id)
    [launched] = life.launch()
    for each in (instance_id, launched):
        life.report(desired.KIND_MACHINE, each, pb.CONDITION_FAILED, error="no space left on device")
    settings = Settings(Path("/nowhere"))
    late = NOW + timedelta(seconds=settings.launch_deadline_seconds) + HOUR
    life.run(clean_up, settings, late - timedelta(seconds=1), HOUR)
    assert [life.instance(each).state for each in (instance_id, launched)] == ["running", "pending"]
    life.run(clean_up, settings, late, HOUR)
    assert [life.instance(each).state for each in (instance_id, launched)] == ["stopping", "shutting-down"]


def test_what_the_guest_or_an_operator_or_the_host_ends_is_no_failure(life):
    for reason, state in (
        (pb.OFF_REASON_GUEST, "stopped"),
        (pb.OFF_REASON_ASKED, "stopped"),
        (pb.OFF_REASON_UNSPECIFIED, "running"),
    ):
        [instance_id] = life.launch()
        life.is_running(instance_id)
        life.power(instance_id, pb.MACHINE_POWER_OFF, reason)
        ended = life.instance(instance_id)
        assert (ended.state, ended.start_count, ended.recoveries) == (state, 1, [])


def test_nothing_is_counted_twice(life, instance_id):
    crash(life, instance_id)
    life.is_running(instance_id)
    held = select(func.count()).where(Instance.capacity_held.is_(True))
    assert life.run(lambda tx: tx.session.scalar(held)) == 1
    instance = life.instance(instance_id)
    assert life.host().memory_reserved == memory_of(instance.memory, instance.vcpus)
    given = select(func.count()).where(PublicAddress.interface_id.is_not(None))
    assert life.run(lambda tx: tx.session.scalar(given)) == 1
