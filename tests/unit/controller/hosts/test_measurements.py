"""Measurements become data of the right account, or none."""

import asyncio
import logging
import math
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Instance, NatGateway, Volume
from stead_controller.hosts import measurements, status_checks
from stead_controller.hosts.measurements import MeasurementIntake
from stead_controller.metrics.datum import Datum, Identity, MetricsUnavailable, single
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import NOW

BAD = 666
AT = int(NOW.timestamp() * 1000) - 60_000


class Recorded:
    """A store that remembers, or is away."""

    def __init__(self):
        self.data = []
        self.away = False
        self.writes = 0

    async def write(self, data):
        if self.away:
            raise MetricsUnavailable("on purpose")
        self.writes += 1
        if any(math.isclose(datum.total, BAD) for datum in data):
            raise ValueError("a fault of ours")
        self.data += data


@pytest.fixture
def store():
    return Recorded()


@pytest.fixture
def instance_id(world, run):
    return run(lambda tx: rows.launch(tx, world, world.one).id)


@pytest.fixture
def volume_id(world, run, instance_id):
    def attach(tx):
        tx.session.execute(
            update(Volume).where(Volume.instance_id == instance_id).values(attached_host_id=world.host_id)
        )
        return tx.session.scalars(select(Volume.id).where(Volume.instance_id == instance_id)).one()

    return run(attach)


def _measured(name, values, *, at=AT):
    return pb.Measured(id=name, at=at, metrics=list(values), values=list(values.values()))


def _identity(world, namespace, name, dimension, value):
    return Identity(world.one.caller.account_id, namespace, name, ((dimension, value),))


async def test_they_are_metrics_of_the_account_in_cloudwatchs_words(database, world, store, instance_id, volume_id):
    intake = MeasurementIntake(database, store, lambda: NOW)
    message = pb.Measurements(
        measured=[
            _measured(instance_id, {pb.METRIC_PROCESSORS: 12.5, pb.METRIC_READS: 3, 999: 1}),
            _measured(volume_id, {pb.METRIC_READS: 4, pb.METRIC_PROCESSORS: 5}),
        ]
    )
    assert await intake.take(world.host_id, message)
    assert store.data == [
        single(_identity(world, "AWS/EC2", "CPUUtilization", "InstanceId", instance_id), AT, "Percent", 12.5),
        single(_identity(world, "AWS/EC2", "EBSReadOps", "InstanceId", instance_id), AT, "Count", 3),
        single(_identity(world, "AWS/EBS", "VolumeReadOps", "VolumeId", volume_id), AT, "Count", 4),
    ]
    of_instance, of_volume = intake._owners[world.host_id][1].values()
    assert of_instance is of_volume  # as for all of an account: there may be tens of thousands


async def test_a_nat_gateway_is_measured_by_its_home_host_alone(database, world, run, store):
    gateway_id = "nat-0123456789abcdef0"

    def add(tx):
        times = {"created": NOW, "state_changed": NOW}
        places = {"vpc_id": world.one.vpc_id, "subnet_id": world.one.subnet_ids[0], "host_id": world.host_id}
        account = world.one.caller.account_id
        tx.session.add(
            NatGateway(id=gateway_id, account_id=account, connectivity="private", state="available", **places, **times)
        )

    run(add)
    intake = MeasurementIntake(database, store, lambda: NOW)
    values = {pb.METRIC_FROM_SOURCE_BYTES: 60, pb.METRIC_FLOWS_WITHOUT_PORT: 2, pb.METRIC_PROCESSORS: 5}
    message = pb.Measurements(measured=[_measured(gateway_id, values)])
    assert await intake.take("h-00000000000000000", message)
    assert store.data == []
    assert await intake.take(world.host_id, message)
    assert store.data == [
        single(_identity(world, "AWS/NATGateway", "BytesInFromSource", "NatGatewayId", gateway_id), AT, "Bytes", 60),
        single(_identity(world, "AWS/NATGateway", "ErrorPortAllocation", "NatGatewayId", gateway_id), AT, "Count", 2),
    ]


async def test_instances_in_service_count_for_their_groups(database, world, run, store):
    first, second, late, standby, stranger = run(
        lambda tx: [rows.launch(tx, world, world.one, number=number).id for number in range(5)]
    )
    since = NOW - timedelta(seconds=400)

    def group(tx):
        row = rows.scaling_group(world.one.caller.account_id, warmup=300)
        tx.session.add(row)
        tx.session.flush()
        for name, state, began in (
            (first, "InService", since), (second, "InService", since), (late, "InService", NOW - timedelta(seconds=30)),
            (standby, "Standby", since),
        ):  # fmt: skip
            tx.session.add(rows.scaling_instance(row, name, lifecycle_state=state, in_service=began))

    run(group)
    intake = MeasurementIntake(database, store, lambda: NOW)
    names = (first, second, late, standby, stranger)
    message = [_measured(name, {pb.METRIC_PROCESSORS: 10.0 * (n + 1)}) for n, name in enumerate(names)]
    assert await intake.take(world.host_id, pb.Measurements(measured=message))
    [of_group] = [datum for datum in store.data if datum.source]
    identity = _identity(world, "AWS/EC2", "CPUUtilization", "AutoScalingGroupName", "web")
    assert of_group == Datum(identity, AT, "Percent", 60, 2, 30, 10, 20, source=world.host_id)
    assert len(store.data) == 6


async def test_a_host_speaks_of_its_own_guests_only_and_of_now(database, world, store, instance_id, volume_id):
    intake = MeasurementIntake(database, store, lambda: NOW)
    good = {pb.METRIC_READS: 3.0}
    whole = pb.Measurements(measured=[_measured(instance_id, good), _measured(volume_id, good)])
    assert await intake.take("h-00000000000000000", whole)
    wrong = [
        _measured("i-0123456789abcdef0", good),
        _measured(instance_id, good, at=AT - 3 * 3_600_000),
        _measured(instance_id, good, at=AT + 3_600_000),
        _measured(instance_id, {pb.METRIC_READS: -1}),
        _measured(instance_id, {pb.METRIC_READS: math.nan}),
        _measured(instance_id, {pb.METRIC_READS: math.inf}),
    ]
    assert await intake.take(world.host_id, pb.Measurements(measured=wrong))
    assert store.data == []


async def test_owners_are_asked_for_when_a_host_has_others_or_after_a_while(
    database, world, run, store, *, instance_id, monkeypatch
):
    intake = MeasurementIntake(database, store, lambda: NOW)
    other = run(lambda tx: rows.launch(tx, world, world.other, number=1).id)

    async def accounts(*names):
        store.data.clear()
        measured = [_measured(name, {pb.METRIC_READS: 3}) for name in names]
        assert await intake.take(world.host_id, pb.Measurements(measured=measured))
        return [datum.identity.account for datum in store.data]

    one, two = world.one.caller.account_id, world.other.caller.account_id
    assert await accounts(instance_id) == [one]
    assert await accounts(instance_id, other) == [one, two]
    run(lambda tx: tx.session.execute(update(Instance).values(host_id=None)) and None)
    assert await accounts(instance_id) == [one]
    monkeypatch.setattr(measurements, "_KNOWN_SECONDS", 0)
    intake._owners.clear()
    assert await accounts(instance_id) == []
    run(lambda tx: tx.session.execute(update(Instance).values(host_id=world.host_id)) and None)
    assert await accounts(instance_id) == [one]


async def test_what_cannot_be_stored_is_to_be_sent_again_and_logged_once(database, world, store, instance_id, caplog):
    intake = MeasurementIntake(database, store, lambda: NOW)
    message = pb.Measurements(measured=[_measured(instance_id, {pb.METRIC_READS: 3})])
    store.away = True
    with caplog.at_level(logging.INFO):
        assert not await intake.take(world.host_id, message)
        assert not await intake.take(world.host_id, message)
        store.away = False
        assert await intake.take(world.host_id, message)
        assert await intake.take(world.host_id, message)
    assert [each.message for each in caplog.records] == ["measurements_not_stored", "measurements_stored_again"]
    assert len(store.data) == 2


async def test_status_checks_are_written_of_all_that_run(database, world, run, store, *, monkeypatch, instance_id):
    monkeypatch.setattr(status_checks, "_AT_ONCE", 2)
    silent, starting, hung = run(
        lambda tx: [
            rows.launch(tx, world, world.one, number=number, **changes).id
            for number, changes in enumerate(({"answers": "no"}, {"answers": "starting"}, {"hung_since": NOW}), 1)
        ]
    )
    run(lambda tx: rows.launch(tx, world, world.other, number=9, state="stopped").id)
    await status_checks.write(database, store, lambda: NOW)
    found = {}
    for datum in store.data:
        assert datum.at == int(NOW.timestamp() // 60 * 60_000)
        [(_, name)] = datum.identity.dimensions
        found.setdefault(name, {})[datum.identity.name.removeprefix("StatusCheckFailed")] = datum.total
    well = {"_Instance": 0, "_System": 0, "_AttachedEBS": 0, "": 0}
    assert found == {
        instance_id: well,
        silent: well | {"_Instance": 1, "": 1},
        starting: {"_System": 0, "_AttachedEBS": 0, "": 0},
        hung: well | {"_System": 1, "": 1},
    }
    store.away = True
    await status_checks.write(database, store, lambda: NOW)


async def test_of_a_lost_host_only_the_check_of_the_host_is_known(database, world, run, store, instance_id):
    run(lambda tx: tx.session.execute(update(Instance).values(host_id=None)) and None)
    await status_checks.write(database, store, lambda: NOW)
    found = {datum.identity.name: datum.total for datum in store.data}
    assert found == {"StatusCheckFailed_System": 1, "StatusCheckFailed": 1}


@pytest.fixture
def two_hosts(world, run):
    """The ids of two hosts, and of an instance on each."""

    def build(tx):
        tx.session.add(rows.host(id="h-other"))
        here, there = (rows.launch(tx, world, world.one, number=number) for number in (0, 1))
        there.host_id = "h-other"
        return {world.host_id: here.id, "h-other": there.id}

    return run(build)


async def _told(intake, said):
    """Let hosts tell at the same time; give what each is answered, or the exception."""
    messages = [
        (host_id, pb.Measurements(measured=[_measured(name, {pb.METRIC_READS: value})]))
        for host_id, name, value in said
    ]
    return await asyncio.gather(*(intake.take(*each) for each in messages), return_exceptions=True)


async def test_what_hosts_tell_at_the_same_time_is_written_together_and_of_no_other_host(database, store, two_hosts):
    intake = MeasurementIntake(database, store, lambda: NOW)
    (one, mine), (other, theirs) = two_hosts.items()
    assert await _told(intake, [(one, mine, 1), (other, theirs, 2), (one, theirs, 3), (other, mine, 4)]) == [True] * 4
    assert [datum.total for datum in store.data] == [1, 2]
    assert store.writes == 1


async def test_so_much_is_written_together_and_no_more(database, store, two_hosts, monkeypatch):
    monkeypatch.setattr(measurements, "_TOGETHER", 2)
    intake = MeasurementIntake(database, store, lambda: NOW)
    [(host_id, mine), _] = two_hosts.items()
    assert await _told(intake, [(host_id, mine, number) for number in range(5)]) == [True] * 5
    assert [datum.total for datum in store.data] == [0, 1, 2, 3, 4]
    assert store.writes == 3


async def test_a_fault_with_one_hosts_data_holds_up_no_other_host(database, store, two_hosts):
    intake = MeasurementIntake(database, store, lambda: NOW)
    (one, mine), (other, theirs) = two_hosts.items()
    bad, good = await _told(intake, [(one, mine, BAD), (other, theirs, 2)])
    assert isinstance(bad, ValueError)
    assert good is True
    assert [datum.total for datum in store.data] == [2]
    [alone] = await _told(intake, [(one, mine, BAD)])
    assert isinstance(alone, ValueError)
    assert await _told(intake, [(one, mine, 5)]) == [True]
