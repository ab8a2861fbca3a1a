"""What hosts have and an older database does not know: which belong together, and what goes with what."""

from collections import defaultdict

import pytest

from stead_controller.db.tables import HostResource
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.operators import unclaimed_resources
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import kept, rows
from tests.support.rows import NOW

ACCOUNT = "111111111111"


def machine(name, *volumes, interfaces=()):
    found = desired.Resource(id=name)
    found.machine.metadata.account_id = ACCOUNT
    for volume in volumes:
        found.machine.disks.add(volume_id=volume)
    for interface in interfaces:
        found.machine.interfaces.add(interface_id=interface)
    return found


def volume(name, *, base="", remote="", ends=True, account=""):
    found = desired.Resource(id=name)
    found.volume.base_id = base
    found.volume.record.delete_on_termination, found.volume.record.account_id = ends, account
    if remote:
        found.volume.remote.home_host_id = remote
    return found


def base(name):
    return desired.Resource(id=name, base=desired.Base(size=1))


def interface(name):
    return desired.Resource(id=name, interface=desired.Interface(instance_id="i-1"))


@pytest.fixture
def other(run):
    """Another host."""
    return run(lambda tx: tx.session.add(row := rows.host()) or tx.session.flush() or row.id)


@pytest.fixture
def keeps(database):
    """Let a host report what it keeps."""
    return lambda host_id, *resources: kept.report(database, kept.of(host_id, *resources))


@pytest.fixture
def gone(run):
    """Remove some, and return what goes, by host."""

    def call(*ids, host_id=""):
        found = defaultdict(set)
        for each in run(unclaimed_resources.remove, ids, host_id):
            assert run(lambda tx, key=each.key: tx.session.get_one(HostResource, key).body) is None
            found[each.host_id].add(each.id)
        return dict(found)

    return call


def listed(run, host_id=""):
    return [
        (each.host_id, each.id, each.part_of, each.account_id) for each in run(unclaimed_resources.list_all, host_id)
    ]


def test_each_instance_is_followed_by_its_parts(run, world, other, keeps):
    here, there = sorted([world.host_id, other])
    keeps(
        here,
        volume("vol-2"),
        machine("i-9", "vol-2", interfaces=["eni-1"]),
        interface("eni-1"),
        machine("i-1", "vol-9"),
    )
    keeps(here, volume("vol-9", account="222222222222"), volume("vol-5", account=ACCOUNT), base("snap-1"))
    keeps(there, volume("vol-7"))
    mine = [
        (here, "i-1", "", ACCOUNT),
        (here, "vol-9", "i-1", ACCOUNT),
        (here, "i-9", "", ACCOUNT),
        (here, "eni-1", "i-9", ACCOUNT),
        (here, "vol-2", "i-9", ACCOUNT),
        (here, "snap-1", "", ""),
        (here, "vol-5", "", ACCOUNT),
    ]
    assert listed(run, here) == mine
    assert listed(run) == [*mine, (there, "vol-7", "", "")]
    assert listed(run, there) == [(there, "vol-7", "", "")]


def test_one_is_found_on_each_host_that_has_it(run, world, other, keeps):
    keeps(world.host_id, machine("i-1", "vol-1"), volume("vol-1"), volume("vol-3"))
    keeps(other, volume("vol-1"), volume("vol-2"))
    found = run(unclaimed_resources.find, "vol-1")
    assert {(each.host_id, each.id, each.part_of) for each in found} == {
        (world.host_id, "vol-1", "i-1"),
        (other, "vol-1", ""),
    }
    assert [each.host_id for each in run(unclaimed_resources.find, "vol-2")] == [other]
    with pytest.raises(NotFound, match="No host has an unclaimed vol-9"):
        run(unclaimed_resources.find, "vol-9")


def test_what_a_host_fails_at_is_another_matter(run, world, keeps):
    failed = pb.ResourceStatus(kind=desired.KIND_VOLUME, id="vol-1", condition=pb.CONDITION_FAILED, error="no room")
    run(apply_progress, [(world.host_id, [failed])], NOW)
    assert listed(run) == []


def test_a_part_of_which_the_instance_is_gone_goes_alone(world, keeps, gone, life):
    keeps(world.host_id, machine("i-1", "vol-1"), volume("vol-1", ends=False), volume("vol-2"))
    assert gone("i-1") == {world.host_id: {"i-1"}}
    life.is_absent(desired.KIND_MACHINE, "i-1")
    assert gone("vol-1") == {world.host_id: {"vol-1"}}


def test_parts_of_another_hosts_instance_stay(world, other, keeps, gone):
    """Such as of one that was moved, and is unclaimed on both."""
    for host_id in (world.host_id, other):
        keeps(host_id, machine("i-1", "vol-1", interfaces=["eni-1"]), volume("vol-1"), interface("eni-1"))
    assert gone("i-1", host_id=other) == {other: {"i-1", "vol-1", "eni-1"}}
    assert gone("i-1") == {one: {"i-1", "vol-1", "eni-1"} for one in (world.host_id, other)}


def test_the_use_of_a_volume_elsewhere_goes_and_the_volume_stays(world, other, keeps, gone):
    keeps(
        world.host_id,
        machine("i-1", "vol-1", "vol-2"),
        volume("vol-1", remote=other, ends=False),
        volume("vol-2", ends=False),
    )
    keeps(other, volume("vol-1"))
    assert gone("i-1") == {world.host_id: {"i-1", "vol-1"}}


def test_a_disk_of_which_nothing_is_known_stays(world, keeps, gone):
    large = volume("vol-1")
    large.volume.record.kms_key_id = "x" * (1 << 20)
    keeps(world.host_id, machine("i-1", "vol-1"), large)
    assert gone("i-1") == {world.host_id: {"i-1"}}


def test_a_base_goes_with_the_last_disk_over_it_on_its_host(world, other, keeps, gone):
    keeps(world.host_id, base("snap-1"), base("snap-2"), volume("vol-1", base="snap-1"), volume("vol-2", base="snap-1"))
    keeps(other, base("snap-1"), volume("vol-3", base="snap-1"), volume("vol-2"))
    assert gone("vol-1") == {world.host_id: {"vol-1"}}
    assert gone("vol-2", host_id=other) == {other: {"vol-2"}}
    assert gone("vol-1", "vol-2", host_id=world.host_id) == {world.host_id: {"vol-1", "vol-2", "snap-1"}}
    assert gone("vol-3") == {other: {"vol-3", "snap-1"}}
    assert gone("snap-2") == {world.host_id: {"snap-2"}}, "nothing is laid over it"


def test_a_base_stays_below_a_disk_that_the_database_knows(run, world, other, keeps, gone):
    def know(tx):
        known = rows.launch(tx, world, world.one)
        disk = rows.volume(known, world, id="vol-00000000000000009", snapshot_id="snap-1")
        tx.session.add(disk)
        tx.session.flush()

    run(know)
    keeps(world.host_id, base("snap-1"), volume("vol-1", base="snap-1"), base("snap-2"), volume("vol-2", base="snap-2"))
    keeps(other, base("snap-1"), volume("vol-3", base="snap-1"))
    assert gone("vol-1") == {world.host_id: {"vol-1"}}
    with pytest.raises(InvalidParameter, match=r"vol-0+9, vol-1 is laid over snap-1"):
        gone("snap-1", host_id=world.host_id)
    assert gone("vol-2") == {world.host_id: {"vol-2", "snap-2"}}
    assert gone("snap-1", "vol-3", host_id=other) == {other: {"vol-3", "snap-1"}}


def test_a_part_goes_with_its_instance_only(world, other, keeps, gone):
    keeps(world.host_id, machine("i-1", "vol-1"), volume("vol-1", ends=False))
    keeps(other, volume("vol-1", ends=False), machine("i-2"))
    for host_id in (world.host_id, other):
        with pytest.raises(InvalidParameter, match="vol-1 is a part of i-1"):
            gone("vol-1", host_id=host_id)
    assert gone("vol-1", "i-1") == {world.host_id: {"vol-1", "i-1"}, other: {"vol-1"}}
