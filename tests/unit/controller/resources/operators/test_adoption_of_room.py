"""Room in pools, the reservation and the names of what is adopted; and what is said where all is as it was."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Instance, Reservation, StoragePool, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import WrongState
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances
from stead_controller.resources.network.private_names import NameOptions
from stead_proto.v1.desired_pb2 import KIND_VOLUME
from tests.support import kept
from tests.support.rows import GIB, NOW
from tests.unit.controller.resources.operators import lost_changes as lost
from tests.unit.controller.resources.operators.test_adoption import hibernating


@pytest.fixture
def pool(run, world):
    """A pool of the world's host; tells how much of it is promised."""

    def add(tx):
        size = {"total": 900 * GIB, "free": 900 * GIB}
        made = {"host_id": world.host_id, "name": "main", "backend": "directory", "shared_id": "", "is_default": True}
        tx.session.add(StoragePool(**made, **size))

    run(add)
    return lambda: run(lambda tx: tx.session.scalar(select(StoragePool.provisioned)))


@pytest.fixture
def lose(database, world, life):
    """Lose what a function does in a transaction; its host reports what it keeps, as `change` leaves it."""

    def call(make, change=lambda _before: None):
        before = kept.lose(database, world.cloud, [world.host_id], make)
        change(before)
        kept.report(database, before)
        return before

    return call


def loose(tx, world):
    """Make a volume with a home."""
    volume = tx.session.get_one(Volume, lost.create_volume(tx, world, size=4))
    volume.host_id, volume.pool = world.host_id, "main"
    desired_state.refresh_volume(tx, volume)
    return volume.id


@pytest.mark.parametrize("kind", ["m5d.large", "stead.tiny"])
def test_its_room_in_pools_is_taken_once(run, world, lose, pool, kind):
    before = lose(lambda tx: [lost.launch(tx, world, instance_type=kind), loose(tx, world)])
    promised = sum(row["provisioned"] for row in before.rows["storage_pools"]) + 4 * GIB
    assert pool() == promised, "by what its host says"
    for each in before.made:
        assert run(lost.adopt, world, each) == []
        assert pool() == promised, "by the rows"


def test_the_memory_that_it_saves_takes_room_too(run, world, lose, pool):
    before = lose(lambda tx: hibernating(tx, world))
    [had] = before.rows["storage_pools"]
    run(lost.adopt, world, before.made)
    assert pool() == had["provisioned"] > 5 * GIB


def test_a_volume_that_would_change_stays_as_it_is(run, world, lose, pool):
    def change(before):
        before.resource(KIND_VOLUME, before.made).volume.size += 1

    before = lose(lambda tx: loose(tx, world), change)
    with pytest.raises(WrongState, match=r"would change it on its host \(size\)"):
        run(lost.adopt, world, before.made)
    assert run(lambda tx: tx.session.scalars(select(Volume)).all()) == []


def test_instances_of_one_reservation_are_in_it_again(run, world, lose):
    def make(tx):
        request = LaunchRequest(world.image_id, "stead.tiny", 2, 2)
        reservation_id = run_instances(tx, world.one.caller, world.cloud, request, NOW)
        return tx.session.scalars(select(Instance.id).where(Instance.reservation_id == reservation_id)).all()

    before = lose(make)
    for each in before.made:
        run(lost.adopt, world, each)
    [row] = run(lambda tx: tx.session.scalars(select(Reservation)).all())
    [had] = before.rows["reservations"]
    assert (row.id, row.account_id, row.created) == (had["id"], had["account_id"], lost.LATER)
    assert set(run(lambda tx: tx.session.scalars(select(Instance.reservation_id)).all())) == {row.id}


@pytest.mark.parametrize("kind", ["resource-name", "ip-name"])
def test_its_host_name_is_of_the_same_type(run, world, lose, kind):
    before = lose(lambda tx: lost.launch(tx, world, names=NameOptions(kind)))
    run(lost.adopt, world, before.made)
    assert run(lambda tx: tx.session.get_one(Instance, before.made).hostname_type) == kind
