"""What lives of instances, volumes and NAT gateways write into the ledger."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from stead_controller.db.tables import Host, Instance, UsageLine, UsageMeter, Volume
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.instances.instance_states import change_state
from stead_controller.resources.instances.monitor_instances import set_monitoring
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.network import elastic_address_associations, elastic_addresses
from stead_controller.resources.network.elastic_address_associations import Target
from stead_controller.resources.operators import host_records
from stead_controller.resources.storage import volume_life, volume_modifications
from stead_controller.resources.storage.volume_life import CreateRequest
from stead_controller.resources.storage.volume_modifications import ModifyRequest
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.examples import examples
from tests.support.rows import CLOUD, NOW

ADDRESSES = "PublicIPv4:"


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def lines(life, *, addresses=False):
    """Each line of the ledger: what was used, how much, and from when to when, in seconds from NOW.

    Those of the public addresses that instances have are apart.
    """
    present = int(NOW.timestamp())
    found = life.run(lambda tx: tx.session.scalars(select(UsageLine).order_by(UsageLine.number)).all())
    return [
        (row.usage, row.quantity, row.began - present, row.ended - present)
        for row in found
        if row.usage.startswith(ADDRESSES) == addresses
    ]


def meters(life, *, addresses=False):
    present = int(NOW.timestamp())
    found = life.run(lambda tx: tx.session.scalars(select(UsageMeter).order_by(UsageMeter.usage)).all())
    return [
        (row.usage, row.quantity, row.began - present) for row in found if row.usage.startswith(ADDRESSES) == addresses
    ]


def test_an_instance_is_billed_while_it_runs_and_its_volume_until_it_ends(life):
    (made,) = life.launch(instance_type="t3.micro")
    root = ("EBS:VolumeUsage.gp3", life.run(lambda tx: tx.session.scalars(select(Volume.size)).one()))
    assert meters(life) == [(*root, 0)], "nothing is billed while it is pending"
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    assert meters(life) == [("BoxUsage:t3.micro", 1, 5), (*root, 0)]
    life.run(stop_instances, life.caller, [made], later(105))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 105)]
    life.power(made, pb.MACHINE_POWER_OFF, now=later(110))
    life.run(start_instances, life.caller, CLOUD, [made], later(200))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 105)], "a stop is billed once"
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(210))
    life.run(terminate_instances, life.caller, [made], later(220))
    assert lines(life)[1:] == [("BoxUsage:t3.micro", 1, 210, 270)], "each run is a minute at least"
    life.report(desired.KIND_MACHINE, made, pb.CONDITION_ABSENT, now=later(230))
    assert meters(life) == []
    assert lines(life)[2:] == [(*root, 0, 230)]


@pytest.mark.parametrize(("hibernates", "ended"), [(True, 130), (False, 100)])
def test_one_that_saves_its_memory_is_billed_until_it_has(life, hibernates, ended):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))

    def stop(tx):
        instance = tx.session.get_one(Instance, made)
        instance.hibernate_stop = hibernates
        change_state(tx, instance, "stopping", later(100))

    life.run(stop)
    life.power(made, pb.MACHINE_POWER_OFF, now=later(130))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, ended)]


def off(life, made, reason, *, since, now):
    """Report that an instance's guest is off, since a time in seconds from NOW; None: its host does not know."""
    moment = 0 if since is None else int(NOW.timestamp()) + since
    machine = pb.MachineStatus(
        power=pb.MACHINE_POWER_OFF,
        start_count=life.instance(made).start_count,
        off_reason=reason,
        off_since=moment,
    )
    life.report(desired.KIND_MACHINE, made, now=now, machine=machine)


def test_metrics_of_detailed_monitoring_are_billed_while_an_instance_is(life):
    def monitor(moment, *, enabled):
        life.run(lambda tx: set_monitoring(tx, life.caller, [made], later(moment), enabled=enabled))

    metrics, box = "CW:MetricMonitorUsage", "BoxUsage:t3.micro"
    (made,) = life.launch(instance_type="t3.micro", monitoring=True)
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    assert meters(life)[:2] == [(box, 1, 5), (metrics, 7, 5)]
    monitor(50, enabled=True)
    assert lines(life) == [], "it is what it was"
    monitor(105, enabled=False)
    assert (lines(life), meters(life)[0]) == ([(metrics, 7, 5, 105)], (box, 1, 5))
    monitor(110, enabled=True)
    life.run(stop_instances, life.caller, [made], later(205))
    assert sorted(lines(life)[1:]) == [(box, 1, 5, 205), (metrics, 7, 110, 205)]
    for enabled in (False, True):
        monitor(300, enabled=enabled)
    assert len(meters(life)) == 1, "a stopped instance has no metrics"


@pytest.mark.parametrize("reason", [pb.OFF_REASON_GUEST, pb.OFF_REASON_CRASHED, pb.OFF_REASON_ASKED])
def test_one_that_ended_while_nobody_could_be_told_is_billed_until_it_did(life, reason):
    (made,) = life.launch(instance_type="t3.micro", auto_recovery=False)
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    off(life, made, reason, since=100, now=later(5320))
    assert life.instance(made).state == "stopped"
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 100)]


def test_one_that_terminates_itself_is_billed_until_it_did(life):
    (made,) = life.launch(instance_type="t3.micro", shutdown_behavior="terminate")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    off(life, made, pb.OFF_REASON_GUEST, since=100, now=later(5320))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 100)]


def test_one_that_is_recovered_is_not_billed_while_it_does_not_run(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    off(life, made, pb.OFF_REASON_CRASHED, since=20, now=later(5320))
    assert life.instance(made).state == "running"
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 20)], "its user has ended nothing: no minute at least"
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5330))
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5340))
    assert ("BoxUsage:t3.micro", 1, 5330) in meters(life)
    assert len(lines(life)) == 1


def test_one_whose_host_was_down_is_not_billed_while_it_does_not_run(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    off(life, made, pb.OFF_REASON_UNSPECIFIED, since=100, now=later(300))
    off(life, made, pb.OFF_REASON_UNSPECIFIED, since=100, now=later(310))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 100)]
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(320))
    assert ("BoxUsage:t3.micro", 1, 320) in meters(life)
    life.run(stop_instances, life.caller, [made], later(500))
    assert lines(life)[1:] == [("BoxUsage:t3.micro", 1, 320, 500)]


def runs_again(life, made, since, until, *, now):
    """Report that an instance's guest runs, and that its host was down from and until a time in seconds from NOW."""
    present = int(NOW.timestamp())
    machine = pb.MachineStatus(
        power=pb.MACHINE_POWER_RUNNING,
        start_count=life.instance(made).start_count,
        lost_since=present + since,
        lost_until=present + until,
    )
    life.report(desired.KIND_MACHINE, made, now=now, machine=machine)


def test_one_whose_host_was_down_while_nobody_could_be_told_is_not_billed_for_it(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    for moment in (5000, 5100):
        runs_again(life, made, 100, 4000, now=later(moment))
        assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 100)]
        assert ("BoxUsage:t3.micro", 1, 4000) in meters(life)
    life.run(stop_instances, life.caller, [made], later(6000))
    assert lines(life)[1:] == [("BoxUsage:t3.micro", 1, 4000, 6000)]


def test_one_that_was_reported_off_is_billed_from_when_its_host_started_it(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    off(life, made, pb.OFF_REASON_UNSPECIFIED, since=100, now=later(300))
    runs_again(life, made, 100, 310, now=later(400))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 100)]
    assert ("BoxUsage:t3.micro", 1, 310) in meters(life)


@pytest.mark.parametrize(("since", "until"), [(100, 9000), (4000, 100), (3, 4), (-(10**10), -5)])
def test_a_time_that_cannot_be_is_not_left_out(life, since, until):
    """The host's clock is fast, or was set; or the time is before the start."""
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    runs_again(life, made, since, until, now=later(5000))
    assert lines(life) == []
    assert ("BoxUsage:t3.micro", 1, 5) in meters(life)


def test_one_that_saved_its_memory_while_nobody_could_be_told_is_billed_until_it_had(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))

    def stop(tx):
        instance = tx.session.get_one(Instance, made)
        instance.hibernate_stop = True
        change_state(tx, instance, "stopping", later(100))

    life.run(stop)
    off(life, made, pb.OFF_REASON_ASKED, since=130, now=later(5320))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 130)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.none() | st.integers(-(10**9), 10**9), st.booleans())
def test_an_end_lies_between_the_begin_and_now_whatever_its_host_says(life, began, passed, since, recovers):
    now = later(began + passed)

    def live(tx):
        life.database, database = _Within(tx), life.database
        try:
            (made,) = life.launch(instance_type="t3.micro", auto_recovery=recovers)
            life.power(made, pb.MACHINE_POWER_RUNNING, now=later(began))
            off(life, made, pb.OFF_REASON_CRASHED, since=since, now=now)
            return lines(life)
        finally:
            life.database = database

    ((_, _, start, ended),) = life.database.run_blocking(live, dry_run=True)
    assert start == began
    least = began if recovers else began + 60
    told = began + passed if since is None else min(since, began + passed)
    assert ended == max(told, least)


class _Within:
    """A database whose transactions are parts of one that is going on."""

    def __init__(self, tx):
        self._tx = tx

    def run_blocking(self, function):
        return function(self._tx)


@pytest.mark.parametrize(
    ("columns", "usage"),
    [({"spot_request_id": "sir-1"}, "SpotUsage:t3.micro"), ({"tenancy": "dedicated"}, "DedicatedUsage:t3.micro")],
)
def test_spot_and_dedicated_instances_are_billed_as_such(life, columns, usage):
    (made,) = life.launch(instance_type="t3.micro")

    def run(tx):
        instance = tx.session.get_one(Instance, made)
        for name, value in columns.items():
            setattr(instance, name, value)
        change_state(tx, instance, "running", NOW)

    life.run(run)
    assert (usage, 1, 0) in meters(life)


def test_a_volume_is_billed_as_it_is_modified_and_deleted(life):
    request = CreateRequest(
        Repeatable("CreateVolume", "", b""), zone=life.world.cloud.zones[0], size=10, volume_type="gp3"
    )
    made = life.run(volume_life.create, life.caller, CLOUD, request, NOW)
    assert meters(life) == [("EBS:VolumeUsage.gp3", 10, 0)]
    life.run(volume_modifications.modify, life.caller, CLOUD, ModifyRequest(made, size=20, iops=4000), later(50))
    assert lines(life) == [("EBS:VolumeUsage.gp3", 10, 0, 50)]
    assert meters(life) == [("EBS:VolumeP-IOPS.gp3", 1000, 50), ("EBS:VolumeUsage.gp3", 20, 50)]
    life.run(volume_life.delete, life.caller, made, later(80))
    assert meters(life) == []
    assert sorted(lines(life)[1:]) == [("EBS:VolumeP-IOPS.gp3", 1000, 50, 80), ("EBS:VolumeUsage.gp3", 20, 50, 80)]


IN_USE, IDLE = f"{ADDRESSES}InUseAddress", f"{ADDRESSES}IdleAddress"


def test_an_automatic_address_is_billed_while_its_interface_has_it(life):
    (made,) = life.launch(instance_type="t3.micro")
    assert meters(life, addresses=True) == [(IN_USE, 1, 0)]
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    life.run(stop_instances, life.caller, [made], later(100))
    life.power(made, pb.MACHINE_POWER_OFF, now=later(110))
    assert (meters(life, addresses=True), lines(life, addresses=True)) == ([], [(IN_USE, 1, 0, 110)])
    life.run(start_instances, life.caller, CLOUD, [made], later(200))
    assert meters(life, addresses=True) == [(IN_USE, 1, 200)]
    life.run(terminate_instances, life.caller, [made], later(300))
    life.report(desired.KIND_MACHINE, made, pb.CONDITION_ABSENT, now=later(310))
    assert (meters(life, addresses=True), lines(life, addresses=True)[1:]) == ([], [(IN_USE, 1, 200, 310)])


def test_an_elastic_address_is_billed_as_in_use_or_idle(life):
    (made,) = life.launch(instance_type="t3.micro")
    caller, cloud = life.caller, life.world.cloud
    first, second = (life.run(elastic_addresses.allocate, caller, cloud, None, {}, NOW).id for _ in range(2))
    told = 0

    def associate(allocation_id, moment):
        def act(tx):
            elastic = elastic_addresses.find(tx, caller, allocation_id, None)
            return elastic_address_associations.associate(tx, caller, elastic, Target(instance_id=made), moment)

        return life.run(act)

    def new():
        nonlocal told
        found = sorted(lines(life, addresses=True)[told:])
        told += len(found)
        return found

    associate(first, later(10))
    assert new() == [(IDLE, 1, 0, 10), (IN_USE, 1, 0, 10)], "the automatic address is gone"
    associate(first, later(15))
    association = associate(second, later(20))
    assert new() == [(IDLE, 1, 0, 20), (IN_USE, 1, 10, 20)]
    life.run(elastic_address_associations.disassociate, caller, association, None, later(30))
    life.run(elastic_address_associations.release, caller, second, None, later(40))
    assert new() == [(IDLE, 1, 30, 40), (IN_USE, 1, 20, 30)]
    associate(first, later(50))
    life.run(terminate_instances, caller, [made], later(60))
    life.report(desired.KIND_MACHINE, made, pb.CONDITION_ABSENT, now=later(70))
    assert new() == [(IDLE, 1, 20, 50), (IN_USE, 1, 50, 70)]
    assert meters(life, addresses=True) == [(IDLE, 1, 70)]


def test_what_is_lost_with_its_host_is_billed_no_more(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))

    def fail(tx):
        host = tx.session.get_one(Host, life.world.host_id)
        host.state, host.last_seen = "down", later(300)

    life.run(fail)
    life.run(host_records.remove_host, CLOUD, life.world.host_id, later(500), lost=True)
    assert meters(life) == meters(life, addresses=True) == []
    assert {(usage, ended) for usage, _, _, ended in lines(life)} == {
        ("BoxUsage:t3.micro", 300), ("EBS:VolumeUsage.gp3", 500),
    }  # fmt: skip
