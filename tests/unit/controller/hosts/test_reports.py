"""What hosts report of parts of VPCs: only failures are stored."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostError, SecurityGroup, Volume
from stead_controller.desired import host_errors, topics
from stead_controller.hosts.reports import apply_progress, is_news
from stead_controller.resources.operators import host_records
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW

GROUP = (desired.KIND_SECURITY_GROUP, "sg-0123456789abcdef0")


def status(condition, error="", key=GROUP):
    return pb.ResourceStatus(kind=key[0], id=key[1], condition=condition, error=error)


def stored(run):
    return run(lambda tx: [(row.kind, row.resource_id, row.error) for row in tx.session.scalars(select(HostError))])


def test_that_all_is_well_is_no_news():
    for kind in (desired.KIND_SECURITY_GROUP, desired.KIND_MAPPING, desired.KIND_VPC):
        for condition in (pb.CONDITION_PENDING, pb.CONDITION_READY):
            assert not is_news(status(condition, key=(kind, "x")), set())
    assert not is_news(status(pb.CONDITION_ABSENT), set())
    assert is_news(status(pb.CONDITION_READY, key=(desired.KIND_MACHINE, "i-1")), set())
    for condition in (pb.CONDITION_READY, pb.CONDITION_ABSENT):
        assert is_news(status(condition, key=(desired.KIND_VOLUME, "vol-1")), set())
    # Of a base the controller itself may have noted that its host cannot fetch it.
    assert is_news(status(pb.CONDITION_ABSENT, key=(desired.KIND_BASE, "snap-1")), set())
    assert is_news(status(pb.CONDITION_FAILED), set())
    assert is_news(status(pb.CONDITION_READY), {GROUP})


@pytest.mark.parametrize(
    ("words", "news"),
    [
        ({"start_count": 1}, True),
        ({"start_count": 0}, False),  # its first start is to come
        ({"start_count": 1, "power": pb.MACHINE_POWER_RUNNING}, False),
        ({"start_count": 1, "off_reason": pb.OFF_REASON_ASKED}, False),
    ],
)
def test_that_a_machine_is_off_since_its_host_was_down_is_news(words, news):
    pending = status(pb.CONDITION_PENDING, key=(desired.KIND_MACHINE, "i-1"))
    pending.machine.CopyFrom(pb.MachineStatus(**({"power": pb.MACHINE_POWER_OFF} | words)))
    assert is_news(pending, set()) is news


def test_an_error_is_stored_until_it_is_over(run, world):
    run(apply_progress, [(world.host_id, [status(pb.CONDITION_FAILED, "no such table")])], NOW)
    assert stored(run) == [(*GROUP, "no such table")]
    assert run(host_errors.of_hosts, [world.host_id]) == {world.host_id: {GROUP}}
    run(apply_progress, [(world.host_id, [status(pb.CONDITION_FAILED, "no memory")])], NOW)
    assert stored(run) == [(*GROUP, "no memory")]
    run(apply_progress, [(world.host_id, [status(pb.CONDITION_READY)])], NOW)
    assert stored(run) == []


def test_operators_see_what_hosts_fail_at_and_since_when(run, world):
    def fail(error, seconds, *keys):
        statuses = [status(pb.CONDITION_FAILED, error, key) for key in keys]
        run(apply_progress, [(world.host_id, statuses)], NOW + timedelta(seconds=seconds))

    def shown():
        (record,) = [it for it in run(host_records.list_hosts, CLOUD) if it.host.id == world.host_id]
        return [(it.resource_id, it.error, it.since - NOW) for it in record.errors], record.error_count

    assert shown() == ([], 0)
    volume = (desired.KIND_VOLUME, "vol-0123456789abcdef0")
    fail("no room", 0, volume)
    fail("no such table", 5, GROUP)
    fail("still no room", 9, volume)
    oldest = [(volume[1], "still no room", timedelta()), (GROUP[1], "no such table", timedelta(seconds=5))]
    assert shown() == (oldest, 2)
    fail("many", 20, *((desired.KIND_VOLUME, f"vol-{number:017x}") for number in range(30)))
    seen, count = shown()
    assert (seen[:2], len(seen), count) == (oldest, host_records.ERRORS_SHOWN, 32)


def test_what_the_database_does_not_know_is_listed_apart_and_of_one_host_whole(run, world):
    keys = [(desired.KIND_VOLUME, f"vol-{number:017x}") for number in range(host_records.ERRORS_SHOWN + 1)]
    statuses = [status(pb.CONDITION_UNCLAIMED, key=key) for key in keys]
    run(apply_progress, [(world.host_id, [*statuses, status(pb.CONDITION_FAILED, "no such table")])], NOW)
    (listed,) = [it for it in run(host_records.list_hosts, CLOUD) if it.host.id == world.host_id]
    shown = run(host_records.show_host, CLOUD, world.host_id)
    for record, seen in ((listed, keys[:-1]), (shown, keys)):
        assert [(it.kind, it.resource_id) for it in record.unclaimed] == seen
        assert record.unclaimed_count == len(keys)
        assert ([it.error for it in record.errors], record.error_count) == (["no such table"], 1)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_lost_disk_shows_until_it_is_back_and_only_its_home_knows(run, world, elsewhere):
    def add(tx):
        other = rows.host()
        tx.session.add(other)
        tx.session.flush()
        using = other.id if elsewhere else world.host_id
        made = rows.volume(rows.launch(tx, world, world.one), world, host_id=world.host_id, attached_host_id=using)
        tx.session.add(made)
        tx.session.flush()
        return made.id, other.id

    volume_id, other_id = run(add)

    def report(host_id, seconds, *, lost):
        condition = pb.CONDITION_FAILED if lost else pb.CONDITION_READY
        found = status(condition, key=(desired.KIND_VOLUME, volume_id))
        found.volume.CopyFrom(pb.VolumeStatus(lost=lost))
        run(apply_progress, [(host_id, [found])], NOW + timedelta(seconds=seconds))
        return run(lambda tx: tx.session.get_one(Volume, volume_id).lost_since)

    assert report(other_id, 0, lost=True) is None
    assert report(world.host_id, 1, lost=True) == NOW + timedelta(seconds=1)
    assert report(world.host_id, 2, lost=True) == NOW + timedelta(seconds=1)
    assert report(other_id, 3, lost=False) is not None
    assert report(world.host_id, 4, lost=False) is None


def test_the_errors_of_a_part_that_is_gone_are_forgotten(run, world):
    """Hosts need not say of a part of a VPC that it is gone."""
    (group_id,) = run(
        lambda tx: tx.session.scalars(select(SecurityGroup.id).where(SecurityGroup.vpc_id == world.one.vpc_id))
    )
    run(
        apply_progress,
        [(world.host_id, [status(pb.CONDITION_FAILED, "x", (GROUP[0], group_id))])],
        NOW,
    )
    assert len(stored(run)) == 1
    run(topics.write_part, desired.KIND_SECURITY_GROUP, group_id, world.one.vpc_id, None)
    assert stored(run) == []


def test_the_error_of_an_unknown_host_is_not_stored(run, world):
    run(apply_progress, [("h-00000000000000000", [status(pb.CONDITION_FAILED, "x")])], NOW)
    assert stored(run) == []
