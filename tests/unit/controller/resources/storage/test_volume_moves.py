"""When a volume may leave its home, when what was read of it counts, and which hosts it goes to."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import (
    Host,
    HostResource,
    Instance,
    Snapshot,
    UnclaimedResource,
    Volume,
    VolumeModification,
    VolumeMove,
)
from stead_controller.resources.storage import volume_moves
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import CLOUD, GIB, NOW
from tests.unit.controller.resources.operators.drained_cloud import DrainedCloud, hidden, make_loose, stopped
from tests.unit.controller.resources.test_volumes_on_three_hosts import begun

VOLUME_ID, OTHER_ID = "vol-0123456789abcdef0", "vol-0123456789abcdef1"
STOPPED = Instance(state="stopped", start_count=2)


@pytest.mark.parametrize(
    ("values", "instance", "may_leave"),
    [
        ({"state": "available"}, None, True),
        ({"state": "creating"}, None, False),
        ({"state": "deleting"}, None, False),
        ({"instance_id": "i-1", "attachment_state": "attached"}, STOPPED, True),
        ({"instance_id": "i-1", "attachment_state": "attached"}, None, False),
        ({"instance_id": "i-1", "attachment_state": "attached"}, Instance(state="running"), False),
        ({"instance_id": "i-1", "attachment_state": "attached"}, Instance(state="stopping"), False),
        ({"instance_id": "i-1", "attachment_state": "attaching"}, STOPPED, False),
        ({"instance_id": "i-1", "attachment_state": "detaching"}, STOPPED, False),
    ],
)
def test_only_what_nobody_uses_may_leave(values, instance, may_leave):
    assert volume_moves.can_begin(Volume(**values), instance) == may_leave


USED = {"instance_id": "i-1", "attachment_state": "attached", "host_id": "h-1", "generation": 3}
BEGUN = {"host_id": "h-1", "generation": 3, "start_count": 2}


@pytest.mark.parametrize(
    ("of_move", "of_volume", "of_instance", "counts"),
    [
        ({}, {}, {}, True),
        ({"host_id": "h-2"}, {}, {}, False),
        ({"generation": 2}, {}, {}, False),
        ({"start_count": 1}, {}, {}, False),
        ({}, {"host_id": "h-2"}, {}, False),
        ({}, {"generation": 4}, {}, False),
        ({}, {}, {"start_count": 3}, False),
        ({}, {}, {"state": "pending"}, False),
        ({}, {"attachment_state": "detaching"}, {}, False),
    ],
)
def test_what_was_read_counts_while_nobody_has_used_it_since(of_move, of_volume, of_instance, counts):
    move, volume = VolumeMove(**BEGUN | of_move), Volume(**USED | of_volume)
    instance = Instance(**{"state": "stopped", "start_count": 2} | of_instance)
    assert volume_moves.is_current(move, volume, instance) == counts


@pytest.mark.parametrize(("start_count", "counts"), [(0, True), (2, False)])
def test_what_was_read_of_an_attached_one_does_not_count_when_it_is_detached(start_count, counts):
    loose = Volume(state="available", host_id="h-1", generation=3)
    assert volume_moves.is_current(VolumeMove(**BEGUN | {"start_count": start_count}), loose, None) == counts


@pytest.mark.parametrize(
    ("volume_id", "states", "is_busy"),
    [
        (VOLUME_ID, ("completed", "completed"), False),
        (VOLUME_ID, ("pending", "completed"), True),
        (VOLUME_ID, ("completed", "modifying"), True),
        (OTHER_ID, ("pending", "modifying"), False),
    ],
)
def test_it_waits_for_snapshots_and_modifications_of_its_own(run, world, volume_id, states, is_busy):
    account_id, (snapshot, modification) = world.one.caller.account_id, states

    def add(tx):
        instance = rows.launch(tx, world, world.one)
        for number, name in enumerate((VOLUME_ID, OTHER_ID)):
            tx.session.add(rows.volume(instance, world, id=name, device_name=f"/dev/sd{'xy'[number]}"))
        tx.session.flush()
        tx.session.add(rows.snapshot(account_id, volume_id=volume_id, state=snapshot))
        tx.session.add(modification_of(volume_id, account_id, modification))

    run(add)
    assert run(volume_moves.is_busy, Volume(id=VOLUME_ID)) == is_busy


def modification_of(volume_id, account_id, state):
    was = {"original_size": 1, "original_type": "gp3", "original_iops": 3000, "original_throughput": 125}
    to = {"target_size": 2, "target_type": "gp3", "target_iops": 3000, "target_throughput": 125}
    return VolumeModification(volume_id=volume_id, account_id=account_id, state=state, started=NOW, **was, **to)


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts, the first of which is drained; the second would be the first choice of those that are left."""
    made = begun(DrainedCloud, tmp_path / "stead.sqlite", empty_database_file)
    yield made
    made.database.close()


@pytest.fixture
def loose(cloud):
    """A volume of the first host whose content is in the block store."""
    volume_id = make_loose(cloud)
    less = update(Host).where(Host.id == cloud.hosts[2].id).values(memory_reserved=Host.memory_reserved + GIB)
    cloud.run(lambda tx: tx.session.execute(less) and None)
    cloud.drain()
    cloud.empty()
    for _ in range(2):
        cloud.act(cloud.hosts[0])
    return volume_id


def had(tx, host_id, resource_id, **changes):
    """Let a host have something still to remove."""
    row = {"kind": int(desired.KIND_VOLUME), "body": None, "revision": 1} | changes
    tx.session.add(HostResource(host_id=host_id, resource_id=resource_id, **row))


def unclaimed(tx, host_id, resource_id):
    found = {"vcpus": 0, "memory": 0, "disk": GIB, "pool": "main", "kind": int(desired.KIND_VOLUME)}
    tx.session.add(UnclaimedResource(host_id=host_id, resource_id=resource_id, **found))


def change_home(cloud, volume_id, preferred=None):
    def change(tx):
        volume, move = tx.session.get_one(Volume, volume_id), tx.session.get_one(VolumeMove, volume_id)
        volume_moves.change_home(tx, CLOUD, move, volume, preferred)

    cloud.run(change)
    return cloud.run(lambda tx: tx.session.get_one(Volume, volume_id))


def test_it_goes_to_the_host_that_is_preferred(cloud, loose):
    assert change_home(cloud, loose, cloud.hosts[2].id).host_id == cloud.hosts[2].id


@pytest.mark.parametrize("preferred", [False, True])
@pytest.mark.parametrize("rest", [had, unclaimed])
def test_a_host_that_may_still_have_an_older_disk_of_it_is_no_home(cloud, loose, rest, preferred):
    second, third = (host.id for host in cloud.hosts[1:])
    cloud.run(rest, second, loose)
    assert change_home(cloud, loose, second if preferred else None).host_id == third


@pytest.mark.parametrize("changes", [{"resource_id": OTHER_ID}, {"kind": int(desired.KIND_SNAPSHOT)}, {"body": b"x"}])
def test_what_a_host_has_or_removes_of_others_is_no_hindrance(cloud, loose, changes):
    second = cloud.hosts[1].id
    cloud.run(lambda tx: had(tx, second, **{"resource_id": loose} | changes))
    assert change_home(cloud, loose).host_id == second


def test_the_move_ends_with_it_and_its_snapshot_is_what_it_is_laid_over(cloud, loose):
    (snapshot_id,) = next(iter(cloud.all(select(VolumeMove.snapshot_id))))
    row = change_home(cloud, loose)
    assert (row.home_count, row.former_homes, row.snapshot_id, row.origin_id) == (1, "", snapshot_id, "")
    assert cloud.all(select(VolumeMove.volume_id)) == []
    assert cloud.run(lambda tx: tx.session.get_one(Snapshot, snapshot_id)).state == "deleting"


def test_what_it_was_made_of_first_is_remembered(cloud, loose):
    cloud.run(
        lambda tx: tx.session.execute(update(Volume).where(Volume.id == loose).values(origin_id="snap-1")) and None
    )
    assert change_home(cloud, loose).origin_id == "snap-1"


def test_a_move_that_is_of_no_use_leaves_nothing(cloud, loose):
    cloud.run(lambda tx: volume_moves.cancel(tx, tx.session.get_one(VolumeMove, loose)))
    assert (cloud.all(select(VolumeMove.volume_id)), hidden(cloud)) == ([], [])


def test_what_is_read_of_a_stopped_instance_is_of_its_last_start(cloud):
    stopped(cloud)
    cloud.drain()
    cloud.empty()
    assert {count for (count,) in cloud.all(select(VolumeMove.start_count))} == {1}
