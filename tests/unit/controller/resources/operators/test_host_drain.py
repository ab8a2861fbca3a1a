"""A drain with --stop: guests are shut down and start elsewhere, by themselves, unless their users want them off."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select, update

from stead_controller.db.tables import Host, Instance, Volume, VolumeMove
from stead_controller.resources import quotas
from stead_controller.resources.instances import instance_events
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import drain_moves, host_drain, host_records
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from tests.support.rows import CLOUD, NOW
from tests.unit.controller.resources.operators.drained_cloud import DrainedCloud
from tests.unit.controller.resources.test_volumes_on_three_hosts import begun

REASON = "Server.ScheduledStop"


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts with two instances each; those of the first are numbers 0 and 3."""
    made = begun(DrainedCloud, tmp_path / "stead.sqlite", empty_database_file)
    yield made
    made.database.close()


def instance(cloud, number):
    return cloud.run(lambda tx: tx.session.get_one(Instance, cloud.instances[number]))


def drain(cloud, *, stop=True):
    first = cloud.hosts[0]
    record = cloud.run(host_records.drain_host, CLOUD, first.id, NOW, stop=stop)
    cloud.settle()
    return record


def states(cloud):
    return [instance(cloud, number).state for number in (0, 3)]


def test_without_it_nothing_is_stopped(cloud):
    assert drain(cloud, stop=False).state == "draining"
    cloud.run(host_drain.start_elsewhere, CLOUD, NOW)
    assert states(cloud) == ["running", "running"]


def test_guests_are_stopped_and_start_on_other_hosts(cloud):
    set_instance(cloud, 3, disable_api_stop=True)  # does not hold for this
    assert not cloud.run(host_drain.DUE.is_met, NOW)
    drained = drain(cloud)
    assert {use.state for use in drained.uses if use.kind == "instance"} == {"stopping"}
    assert cloud.run(host_drain.DUE.is_met, NOW)
    assert states(cloud) == ["stopped", "stopped"]
    assert {instance(cloud, number).state_reason_code for number in (0, 3)} == {REASON}
    others = [instance(cloud, number) for number in (1, 2, 4, 5)]
    assert {each.state for each in others} == {"running"}
    cloud.settle_all()
    assert states(cloud) == ["running", "running"]
    assert {instance(cloud, number).host_id for number in (0, 3)} <= {host.id for host in cloud.hosts[1:]}
    assert instance(cloud, 0).state_reason_code == ""
    left = cloud.run(host_records.show_host, CLOUD, cloud.hosts[0].id)
    assert (left.state, left.instances, left.uses) == ("drained", 0, [])


def set_instance(cloud, number, **values):
    mine = update(Instance).where(Instance.id == cloud.instances[number]).values(**values)
    cloud.run(lambda tx: tx.session.execute(mine) and None)


def test_one_that_can_start_nowhere_holds_up_no_other_and_starts_when_its_host_may_again(cloud):
    set_instance(cloud, 0, boot_mode="uefi")
    drain(cloud)
    cloud.settle_all()
    assert states(cloud) == ["stopped", "running"]
    assert instance(cloud, 0).state_reason_code == REASON
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    cloud.settle_all()
    assert (states(cloud), instance(cloud, 0).host_id) == (["running", "running"], cloud.hosts[0].id)


@pytest.mark.parametrize("when", ["stopping", "stopped"])
def test_one_that_its_user_wants_off_stays_off(cloud, when):
    if when == "stopping":
        cloud.run(host_records.drain_host, CLOUD, cloud.hosts[0].id, NOW, stop=True)
    else:
        drain(cloud)
    assert instance(cloud, 0).state == when
    cloud.run(stop_instances, cloud.caller, cloud.instances[:1], NOW)
    cloud.settle()
    cloud.settle_all()
    assert states(cloud) == ["stopped", "running"]
    assert instance(cloud, 0).state_reason_code == "Client.UserInitiatedShutdown"
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.settle()
    assert states(cloud) == ["running", "running"]


def test_what_is_off_already_or_has_ended_is_left_alone(cloud):
    cloud.run(stop_instances, cloud.caller, cloud.instances[:1], NOW)
    cloud.run(terminate_instances, cloud.caller, [cloud.instances[3]], NOW)
    cloud.settle()
    drain(cloud)
    cloud.settle_all()
    assert states(cloud) == ["stopped", "terminated"]
    assert instance(cloud, 0).state_reason_code == "Client.UserInitiatedShutdown"


def test_one_that_is_still_stopping_waits_also_where_nothing_has_to_leave_any_more(cloud):
    cloud.run(host_records.drain_host, CLOUD, cloud.hosts[0].id, NOW, stop=True)
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    cloud.run(host_drain.start_elsewhere, CLOUD, NOW)
    assert states(cloud) == ["stopping", "stopping"]
    cloud.settle()
    cloud.run(host_drain.start_elsewhere, CLOUD, NOW)
    cloud.settle()
    assert states(cloud) == ["running", "running"]


@pytest.mark.parametrize("stuck", [0, 3])
def test_where_few_are_tried_at_a_time_one_that_can_start_nowhere_is_not_always_the_one(cloud, monkeypatch, stuck):
    monkeypatch.setattr(host_drain, "_AT_ONCE", 1)
    set_instance(cloud, stuck, boot_mode="uefi")
    drain(cloud)
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    set_all_hosts(cloud, cloud.hosts[0].id, schedulable=False)
    for _ in range(50):
        cloud.run(host_drain.start_elsewhere, CLOUD, NOW)
    assert instance(cloud, 3 - stuck).state == "pending"
    assert instance(cloud, stuck).state == "stopped"


def set_all_hosts(cloud, host_id, **values):
    cloud.run(lambda tx: tx.session.execute(update(Host).where(Host.id == host_id).values(**values)) and None)


def test_only_a_volume_of_its_own_that_cannot_leave_ends_the_wait(cloud):
    drain(cloud)
    cloud.run(drain_moves.take_steps, CLOUD, NOW)
    roots = {number: select(Volume.id).where(Volume.instance_id == cloud.instances[number]) for number in (0, 3)}
    moves = update(VolumeMove).where(VolumeMove.volume_id.in_(roots[0])).values(failure="the disk is broken")
    cloud.run(host_drain.start_elsewhere, CLOUD, NOW)
    assert states(cloud) == ["stopped", "stopped"]
    cloud.run(lambda tx: tx.session.execute(moves) and None)
    cloud.run(host_drain.start_elsewhere, CLOUD, NOW)
    assert states(cloud) == ["pending", "stopped"]


def test_above_its_accounts_quota_it_stays_stopped(cloud):
    drain(cloud)
    cloud.run(quotas.use_vcpus, instance(cloud, 0).account_id, 1 << 20)
    cloud.settle_all()
    assert states(cloud) == ["stopped", "stopped"]


def test_without_its_root_volume_it_stays_stopped(cloud):
    drain(cloud)
    root = update(Volume).where(Volume.instance_id == cloud.instances[0]).values(device_name="/dev/sdf")
    cloud.run(lambda tx: tx.session.execute(root) and None)
    cloud.settle_all()
    assert states(cloud) == ["stopped", "running"]


def test_only_what_drains_have_stopped_is_read(cloud):
    statements = []
    event.listen(cloud.database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    cloud.run(host_drain.start_elsewhere, CLOUD, NOW)
    (read,) = [each for each in statements if each.startswith("SELECT instances")]
    with cloud.database.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {read}", (None,) * read.count("?")).all()
    assert "ix_instances_scheduled_stop" in " ".join(row[-1] for row in plan)


def test_the_hosts_of_others_are_left_alone(cloud):
    before = cloud.run(lambda tx: tx.session.execute(select(Host.id, Host.schedulable).order_by(Host.id)).all())
    drain(cloud)
    after = cloud.run(lambda tx: tx.session.execute(select(Host.id, Host.schedulable).order_by(Host.id)).all())
    assert {tuple(row) for row in set(before) - set(after)} == {(cloud.hosts[0].id, True)}


def test_a_drain_at_a_time_is_announced_and_carried_out_then(cloud):
    first, later = cloud.hosts[0], NOW + timedelta(days=1)

    def states():
        events = cloud.run(instance_events.of_instances, cloud.instances)
        return [[event.state for event in events.get(each, ())] for each in cloud.instances]

    when = host_records.StopTime(later)
    record = cloud.run(host_records.drain_host, CLOUD, first.id, NOW, stop=True, when=when)
    assert record.state == "draining"
    assert {use.state for use in record.uses if use.kind == "instance"} == {"running"}
    assert states() == [["active"], [], [], ["active"], [], []]
    cloud.run(host_records.set_schedulable, CLOUD, first.id, NOW, schedulable=True)
    assert states() == [["canceled"], [], [], ["canceled"], [], []]
    cloud.run(host_records.drain_host, CLOUD, first.id, NOW, stop=True, when=when)
    cloud.run(host_records.drain_host, CLOUD, first.id, NOW, when=when)  # without stopping anything
    assert instance(cloud, 0).state == "running"
    cloud.run(lambda tx: clean_up(tx, Settings(state_dir=Path("/nowhere")), later))
    assert (instance(cloud, 0).state, instance(cloud, 0).state_reason_code) == ("stopping", REASON)
    assert sorted(states()[0]) == ["canceled", "completed"]


def test_a_drain_now_is_what_was_announced(cloud):
    first = cloud.hosts[0]
    when = host_records.StopTime(NOW + timedelta(days=1))
    cloud.run(host_records.drain_host, CLOUD, first.id, NOW, stop=True, when=when)
    drain(cloud)
    assert [event.state for event in cloud.run(instance_events.of_instance, cloud.instances[0])] == ["completed"]


def test_an_instance_that_starts_elsewhere_is_not_concerned_any_more(cloud):
    when = host_records.StopTime(NOW + timedelta(days=1))
    cloud.run(host_records.drain_host, CLOUD, cloud.hosts[0].id, NOW, stop=True, when=when)
    instance_id = cloud.instances[0]

    cloud.run(stop_instances, cloud.world.one.caller, [instance_id], NOW)
    cloud.settle()
    cloud.run(start_instances, cloud.world.one.caller, CLOUD, [instance_id], NOW)
    assert instance(cloud, 0).host_id != cloud.hosts[0].id
    assert [event.state for event in cloud.run(instance_events.of_instance, instance_id)] == ["canceled"]
