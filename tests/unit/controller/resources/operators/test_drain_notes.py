"""What is said of each volume and guest on a host that is drained: how far it is, or why it stays."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Instance, Snapshot, StoragePool, Volume, VolumeMove
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.storage import volume_life
from tests.support.rows import GIB, NOW
from tests.unit.controller.resources.operators.drained_cloud import (
    DrainedCloud,
    complete,
    fail_snapshots,
    hidden,
    instance,
    make_loose,
    moves,
    stopped,
    volume,
)
from tests.unit.controller.resources.test_volumes_on_three_hosts import begun


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts with two instances each; those of the first are numbers 0 and 3."""
    made = begun(DrainedCloud, tmp_path / "stead.sqlite", empty_database_file)
    yield made
    made.database.close()


@pytest.fixture
def loose(cloud):
    """A volume of the first host that nobody uses; nothing else is there."""
    return make_loose(cloud)


def test_without_room_elsewhere_it_waits_where_it_is(cloud, loose):
    full = update(StoragePool).where(StoragePool.host_id != cloud.hosts[0].id)
    cloud.run(lambda tx: tx.session.execute(full.values(total=0)) and None)
    cloud.drain()
    cloud.settle_all()
    assert volume(cloud, loose).host_id == cloud.hosts[0].id
    (use,) = cloud.shown().uses
    assert use.percent is None
    assert use.note.startswith("it waits for a place on another host: ")
    cloud.run(lambda tx: tx.session.execute(full.values(total=1000 * GIB)) and None)
    cloud.settle_all()
    assert volume(cloud, loose).host_id != cloud.hosts[0].id


def test_what_could_not_be_read_is_said_and_tried_again_when_it_is_asked_for(cloud, loose):
    cloud.drain()
    cloud.empty()
    fail_snapshots(cloud)
    for _ in range(2):
        cloud.empty()
    assert moves(cloud) == [(loose, "the disk is broken")]
    (use,) = cloud.shown().uses
    assert (use.percent, use.note) == (
        None,
        "it did not move, drain the host again to try once more: the disk is broken",
    )
    assert hidden(cloud) == []
    cloud.drain()
    assert moves(cloud) == []
    cloud.settle_all()
    assert volume(cloud, loose).home_count == 1


def test_what_becomes_of_each_is_said(cloud):
    loose = cloud.create()
    home = update(Volume).where(Volume.id == loose).values(host_id=cloud.hosts[0].id, pool="main")
    cloud.run(lambda tx: tx.session.execute(home) and None)

    def said():
        return {use.resource_id: (use.note, use.percent) for use in cloud.shown().uses}

    assert set(said().values()) == {("", None)}  # it is not drained
    cloud.drain()
    assert said()[loose] == ("it waits its turn", 0)
    cloud.empty()
    half = update(Snapshot).where(Snapshot.state == "pending").values(progress=45)
    cloud.run(lambda tx: tx.session.execute(half) and None)
    assert said()[loose] == ("it moves to another host", 45)
    for (name,) in cloud.all(select(VolumeMove.snapshot_id)):
        cloud.run(complete, name)
    assert said()[loose] == ("it moves to another host", 99)


def test_what_is_said_of_guests(cloud):
    def said():
        return {use.kind: (use.note, use.percent) for use in cloud.shown().uses if use.resource_id in mine}

    mine = {
        cloud.instances[0],
        *(each for (each,) in cloud.all(select(Volume.id).where(Volume.instance_id == cloud.instances[0]))),
    }
    cloud.drain()
    assert said() == {
        "instance": ("it runs here: stop it, or drain the host with --stop", None),
        "volume": (f"{cloud.instances[0]} uses it: detach it, or stop that", None),
    }
    cloud.run(stop_instances, cloud.caller, [cloud.instances[0]], NOW)
    assert said() == {"instance": ("it is stopping", 0), "volume": (f"{cloud.instances[0]} is stopping", 0)}
    cloud.settle()
    assert said() == {"instance": ("it leaves with its volumes", 0), "volume": ("it waits its turn", 0)}


def test_one_whose_machine_binds_it_stays_with_its_volumes_and_says_why(cloud):
    bound = update(Instance).where(Instance.id == cloud.instances[0])
    cloud.run(lambda tx: tx.session.execute(bound.values(memory_saved=True)) and None)
    stopped(cloud)
    cloud.run(lambda tx: tx.session.execute(bound.values(memory_saved=True)) and None)
    cloud.run(terminate_instances, cloud.caller, [cloud.instances[3]], NOW)
    cloud.settle()
    for (root,) in cloud.all(select(Volume.id).where(Volume.instance_id.is_(None), Volume.host_id.is_not(None))):
        cloud.run(volume_life.delete, cloud.caller, root, NOW)
    cloud.settle()
    cloud.drain()
    cloud.settle_all()
    uses = {use.kind: use for use in cloud.shown().uses}
    assert {kind: use.percent for kind, use in uses.items()} == {"instance": None, "volume": None}
    assert uses["instance"].note == (
        "it stays, since its memory is saved there: uncordon the host, start it, and stop it without hibernation"
    )
    assert uses["volume"].note == f"it stays with {cloud.instances[0]}"
    assert instance(cloud, 0).host_id == cloud.hosts[0].id
